#include <dissent/error.hpp>

#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <string>

#include <jerror.h>
#include <jpeglib.h>

#include "data/images/decode.hpp"

#ifndef LIBJPEG_TURBO_VERSION
#error "libjpeg-turbo is needed: other libjpegs give other pixels and cannot skip rows"
#endif

namespace dissent {
namespace {

// libjpeg reports errors through function pointers that must not return: they jump out of libjpeg's
// frames with longjmp, and the caller throws the exception.
struct Messages : jpeg_error_mgr {
  std::jmp_buf failed;
  char text[JMSG_LENGTH_MAX] = {};
};

void on_error(j_common_ptr info) {
  auto* messages = static_cast<Messages*>(info->err);
  messages->format_message(info, messages->text);
  std::longjmp(messages->failed, 1);
}

// Level -1 is a warning. Warnings about missing data are errors here; others, such as stray bytes
// between markers, do not change a pixel.
void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  const int code = info->err->msg_code;
  if (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE ||
      code == JWRN_MUST_RESYNC)
    on_error(info);
}

void on_output(j_common_ptr) {}

struct JpegDecoder : jpeg_decompress_struct {
  Messages messages;
  JpegDecoder() {
    err = jpeg_std_error(&messages);
    messages.error_exit = on_error;
    messages.emit_message = on_message;
    messages.output_message = on_output;
  }
  ~JpegDecoder() { jpeg_destroy_decompress(this); }
};

// The functions that libjpeg may jump out of must not hold objects with destructors.
bool start(JpegDecoder& decoder, const std::string& bytes) {
  // A file of four channels is decoded as CMYK and converted afterwards, as PIL does; libjpeg has
  // no conversion to RGB for it.
  if (setjmp(decoder.messages.failed) != 0) return false;
  jpeg_create_decompress(&decoder);
  jpeg_mem_src(&decoder, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&decoder, TRUE);
  decoder.out_color_space = decoder.num_components == 1   ? JCS_GRAYSCALE
                            : decoder.num_components == 4 ? JCS_CMYK
                                                          : JCS_RGB;
  return true;
}

// Decodes rows and columns of the part; others stay unset. Smooth upsampling reads one sample
// beyond the part, so two more blocks are decoded at each side.
bool finish(JpegDecoder& decoder, unsigned char* pixels, ImagePart part) {
  if (setjmp(decoder.messages.failed) != 0) return false;
  jpeg_start_decompress(&decoder);

  const auto channels = static_cast<size_t>(decoder.output_components),
             stride = static_cast<size_t>(decoder.output_width) * channels;
  const auto height = decoder.output_height, width = decoder.output_width;

  // Columns: a crop of whole blocks around the part.
  JDIMENSION left = 0;
  if (part.width < width) {
    constexpr int64_t kMargin = 32;
    left = static_cast<JDIMENSION>(std::max<int64_t>(0, part.left - kMargin));
    JDIMENSION count =
        static_cast<JDIMENSION>(std::min<int64_t>(width, part.left + part.width + kMargin)) - left;
    if (count < width)
      jpeg_crop_scanline(&decoder, &left, &count);  // moves `left` to the edge of a block
  }

  // Rows above the part are skipped, rows below it are not read. Finishing reads to the end of the
  // file, so it is done only when the last row was read.
  if (part.top > 0) jpeg_skip_scanlines(&decoder, static_cast<JDIMENSION>(part.top));
  const auto end = static_cast<JDIMENSION>(part.top + part.height);
  while (decoder.output_scanline < end) {
    unsigned char* row = pixels + decoder.output_scanline * stride + left * channels;
    jpeg_read_scanlines(&decoder, &row, 1);
  }
  if (end == height) jpeg_finish_decompress(&decoder);
  return true;
}

// a b / 255, rounded.
int product(int a, int b) {
  const int value = a * b + 128;
  return ((value >> 8) + value) >> 8;
}

// Adobe's files store inverted inks, and PIL treats all CMYK files that way. Ref: Pillow 13.0,
// src/libImaging/Convert.c, cmyk2rgb
at::Tensor rgb_of_cmyk(const at::Tensor& inverted) {
  auto rgb = at::empty({inverted.size(0), inverted.size(1), 3}, at::kByte);
  const auto* in = inverted.const_data_ptr<uint8_t>();
  auto* out = rgb.data_ptr<uint8_t>();
  for (int64_t i = 0; i < inverted.size(0) * inverted.size(1); ++i, in += 4)
    for (int c = 0; c < 3; ++c)
      *out++ = static_cast<uint8_t>(std::clamp(in[3] - product(255 - in[c], in[3]), 0, 255));
  return rgb;
}

}  // namespace

at::Tensor decode_jpeg(const std::string& bytes, const std::string& name,
                       const NeededPart& needed) {
  JpegDecoder decoder;
  DISSENT_CHECK(start(decoder, bytes), kData, "{}: damaged: {}", name, decoder.messages.text);

  const int64_t height = decoder.image_height, width = decoder.image_width,
                channels = decoder.num_components;
  check_image_size(height, width, name);
  DISSENT_CHECK(channels == 1 || channels == 3 || channels == 4, kData,
                "{}: expected a JPEG of 1, 3 or 4 channels, found {}", name, channels);

  auto image = at::empty({height, width, channels}, at::kByte);

  // Only a file with its end marker is decoded in part. Without it all is decoded, so that the
  // missing data is an error.
  const bool complete = bytes.ends_with("\xff\xd9");
  const ImagePart part =
      needed && complete ? needed(height, width) : ImagePart{0, 0, height, width};
  DISSENT_CHECK(finish(decoder, image.data_ptr<uint8_t>(), part), kData, "{}: damaged: {}", name,
                decoder.messages.text);
  return channels == 1 ? image.squeeze(2) : channels == 4 ? rgb_of_cmyk(image) : image;
}

}  // namespace dissent
