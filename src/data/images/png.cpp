#include <png.h>
#include <dissent/error.hpp>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "data/images/decode.hpp"

namespace dissent {
namespace {

// libpng reports errors through a function that must not return: it jumps out of libpng's frames
// with longjmp, and the caller throws the exception.
struct PngDecoder {
  png_structp png = nullptr;
  png_infop info = nullptr;
  const std::string* bytes = nullptr;
  size_t place = 0;
  char text[256] = {};

  explicit PngDecoder(const std::string& given) : bytes(&given) {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error,
                                 [](png_structp, png_const_charp) {});
    if (png) info = png_create_info_struct(png);
  }
  PngDecoder(const PngDecoder&) = delete;
  ~PngDecoder() { png_destroy_read_struct(&png, &info, nullptr); }

  static void on_error(png_structp png, png_const_charp text) {
    auto* self = static_cast<PngDecoder*>(png_get_error_ptr(png));
    std::snprintf(self->text, sizeof self->text, "%s", text);
    png_longjmp(png, 1);
  }
  static void on_read(png_structp png, png_bytep out, size_t count) {
    auto* self = static_cast<PngDecoder*>(png_get_io_ptr(png));
    if (count > self->bytes->size() - self->place) png_error(png, "truncated");
    std::memcpy(out, self->bytes->data() + self->place, count);
    self->place += count;
  }
};

// The functions that libpng may jump out of must not hold objects with destructors.
bool start(PngDecoder& decoder, bool keep_alpha) {
  if (setjmp(png_jmpbuf(decoder.png)) != 0) return false;
  auto* png = decoder.png;
  png_set_read_fn(png, &decoder, PngDecoder::on_read);
  png_read_info(png, decoder.info);
  const int type = png_get_color_type(png, decoder.info),
            depth = png_get_bit_depth(png, decoder.info);

  // As PIL's convert("RGB"): palettes looked up, 8 bits per value. 16-bit grey stays wide for now,
  // since PIL clips it and does not take the high byte.
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if (type == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
  if (type != PNG_COLOR_TYPE_GRAY && depth == 16) png_set_strip_16(png);
  const bool wide_grey = type == PNG_COLOR_TYPE_GRAY && depth == 16;

  // Transparency is an alpha channel or one transparent colour (tRNS); the latter is ignored for
  // 16-bit grey.
  if (!keep_alpha)
    png_set_strip_alpha(png);
  else if (!wide_grey && png_get_valid(png, decoder.info, PNG_INFO_tRNS) != 0)
    png_set_tRNS_to_alpha(png);

  png_set_interlace_handling(png);
  png_read_update_info(png, decoder.info);
  return true;
}

bool finish(PngDecoder& decoder, png_bytepp rows) {
  if (setjmp(png_jmpbuf(decoder.png)) != 0) return false;
  png_read_image(decoder.png, rows);
  png_read_end(decoder.png, nullptr);
  return true;
}

// [H, 2 W] bytes of big-endian numbers; as PIL's mode I;16, values past 255 become 255.
at::Tensor narrowed(const at::Tensor& wide) {
  auto grey = at::empty({wide.size(0), wide.size(1) / 2}, at::kByte);
  const auto* in = wide.const_data_ptr<uint8_t>();
  auto* out = grey.data_ptr<uint8_t>();
  for (int64_t i = 0; i < grey.numel(); ++i) out[i] = in[2 * i] != 0 ? 255 : in[2 * i + 1];
  return grey;
}

// (colour alpha + background (255 - alpha)) / 255, rounded. Ref: Pillow 13.0,
// src/libImaging/Paste.c, paste_mask_L
at::Tensor blended(const at::Tensor& image, const std::array<uint8_t, 3>& background) {
  const int64_t channels = image.size(2), colours = channels - 1;  // 1: grey
  auto rgb = at::empty({image.size(0), image.size(1), 3}, at::kByte);
  const auto* in = image.const_data_ptr<uint8_t>();
  auto* out = rgb.data_ptr<uint8_t>();
  for (int64_t i = 0; i < image.size(0) * image.size(1); ++i, in += channels)
    for (int64_t c = 0; c < 3; ++c) {
      const int alpha = in[colours], colour = in[colours == 1 ? 0 : c],
                sum = background[c] * (255 - alpha) + colour * alpha + 128;
      *out++ = static_cast<uint8_t>(((sum >> 8) + sum) >> 8);
    }
  return rgb;
}

}  // namespace

at::Tensor decode_png(const std::string& bytes, const std::string& name,
                      const Background& background) {
  PngDecoder decoder(bytes);
  DISSENT_CHECK(decoder.info, kInternal, "{}: libpng cannot allocate memory", name);
  DISSENT_CHECK(start(decoder, background.has_value()), kData, "{}: damaged: {}", name,
                decoder.text);

  const int64_t height = png_get_image_height(decoder.png, decoder.info),
                width = png_get_image_width(decoder.png, decoder.info);
  const int64_t channels = png_get_channels(decoder.png, decoder.info),
                row_bytes = static_cast<int64_t>(png_get_rowbytes(decoder.png, decoder.info));

  check_image_size(height, width, name);
  const bool wide = channels == 1 && row_bytes == 2 * width;
  DISSENT_CHECK(wide || row_bytes == width * channels, kInternal,
                "{0}: expected rows of {2} x {3} bytes, found {1}", name, row_bytes, width,
                channels);

  // libpng needs a pointer to each row, because an interlaced image is read in several passes.
  auto image = at::empty({height, row_bytes}, at::kByte);
  std::vector<png_bytep> rows;
  for (int64_t y = 0; y < height; ++y) rows.push_back(image.data_ptr<uint8_t>() + y * row_bytes);
  DISSENT_CHECK(finish(decoder, rows.data()), kData, "{}: damaged: {}", name, decoder.text);

  if (wide) return narrowed(image);
  if (channels == 1) return image;
  image = image.reshape({height, width, channels});
  return channels == 3 ? image : blended(image, *background);
}

}  // namespace dissent
