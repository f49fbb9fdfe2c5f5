// Encodes an image as JPEG in memory and decodes it again.
#include <dissent/error.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include <jpeglib.h>

#include "data/transforms/picture.hpp"

namespace dissent {
namespace {

[[noreturn]] void fail(j_common_ptr codec) {
  char text[JMSG_LENGTH_MAX];
  codec->err->format_message(codec, text);
  DISSENT_FAIL(kInternal, "jpeg_compression: libjpeg: {}", text);
}

jpeg_error_mgr* errors(jpeg_error_mgr& manager) {
  auto* made = jpeg_std_error(&manager);
  made->error_exit = fail;
  return made;
}

// Memory allocated by libjpeg, released with free().
using Bytes = std::unique_ptr<unsigned char, decltype(&std::free)>;

struct Encoder {
  jpeg_compress_struct codec{};
  jpeg_error_mgr manager{};
  Encoder() {
    codec.err = errors(manager);
    jpeg_create_compress(&codec);
  }
  ~Encoder() { jpeg_destroy_compress(&codec); }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;
};

struct Decoder {
  jpeg_decompress_struct codec{};
  jpeg_error_mgr manager{};
  Decoder() {
    codec.err = errors(manager);
    jpeg_create_decompress(&codec);
  }
  ~Decoder() { jpeg_destroy_decompress(&codec); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
};

Bytes encoded(const at::Tensor& image, int quality, unsigned long& size) {
  // libjpeg allocates the output and enlarges it as needed; the caller frees it.
  Encoder encoder;
  auto& codec = encoder.codec;
  unsigned char* memory = nullptr;
  jpeg_mem_dest(&codec, &memory, &size);
  codec.image_width = static_cast<JDIMENSION>(image.size(1));
  codec.image_height = static_cast<JDIMENSION>(image.size(0));
  codec.input_components = 3;
  codec.in_color_space = JCS_RGB;

  // Defaults as Pillow's: 4:2:0 subsampling of colours and the standard tables at this quality.
  jpeg_set_defaults(&codec);
  jpeg_set_quality(&codec, quality, TRUE);
  jpeg_start_compress(&codec, TRUE);

  const auto* pixels = image.const_data_ptr<uint8_t>();
  while (codec.next_scanline < codec.image_height) {
    auto* line = const_cast<uint8_t*>(pixels + static_cast<int64_t>(codec.next_scanline) *
                                                   image.size(1) * 3);
    jpeg_write_scanlines(&codec, &line, 1);
  }

  jpeg_finish_compress(&codec);
  return {memory, &std::free};
}

}  // namespace

at::Tensor through_jpeg(const at::Tensor& image, int quality) {
  unsigned long size = 0;
  const auto bytes = encoded(image, quality, size);

  // The defaults of libjpeg-turbo (integer DCT, smooth upsampling) are those of Pillow.
  Decoder decoder;
  auto& codec = decoder.codec;
  jpeg_mem_src(&codec, bytes.get(), size);
  jpeg_read_header(&codec, TRUE);
  codec.out_color_space = JCS_RGB;
  jpeg_start_decompress(&codec);

  auto result = at::empty_like(image);
  while (codec.output_scanline < codec.output_height) {
    auto* line = result.data_ptr<uint8_t>() +
                 static_cast<int64_t>(codec.output_scanline) * image.size(1) * 3;
    jpeg_read_scanlines(&codec, &line, 1);
  }

  jpeg_finish_decompress(&codec);
  return result;
}

}  // namespace dissent
