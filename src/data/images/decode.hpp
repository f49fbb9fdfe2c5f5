#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <optional>
#include <string>

#include "data/images/image_part.hpp"

namespace dissent {

/// The colour behind transparent pixels; nothing: transparency is dropped.
using Background = std::optional<std::array<uint8_t, 3>>;
/// "none", "white", "black", "#rrggbb", "r,g,b" (0 .. 255 each). Error::kUsage naming the key
/// `background`: anything else.
Background background_of(const std::string& text);

/// Decodes the bytes of a JPEG or PNG file, told apart by their first bytes. returns [H, W] (grey)
/// or [H, W, 3] u8, host: the pixels that PIL gives with Image.open(...).convert('RGB') (grey: one
/// channel of three equal ones). That is: JPEG by the accurate integer DCT with smooth upsampling,
/// CMYK and YCCK turned to RGB as PIL does; PNG palettes looked up, alpha dropped and not blended,
/// of 16-bit colours the high byte, of 16-bit grey min(value, 255). Orientation tags and colour
/// profiles are not applied. May be called by any number of threads at once.
/// With `wanted` the pixels outside of that part may hold anything: of a JPEG that is complete to
/// its last bytes, rows and columns away from it are not decoded, so damage below it goes
/// unnoticed.
/// With a background, transparent pixels of a PNG show it, as PIL's paste of the image on one of
/// that colour with its own alpha as mask does: [H, W, 3]. Error::kData naming `name`: neither
/// format, truncated, damaged (also where libjpeg would only warn of lost data and fill up with
/// grey), more than 2^28 pixels.
at::Tensor decode_image(const std::string& bytes, const std::string& name,
                        const WantedPart& wanted = nullptr, const Background& background = {});

/// The same of a file. Error::kData naming it: missing, empty, not readable.
at::Tensor read_image(const std::string& path, const WantedPart& wanted = nullptr,
                      const Background& background = {});

/// One format each; the first bytes fit.
at::Tensor decode_jpeg(const std::string& bytes, const std::string& name, const WantedPart& wanted);
at::Tensor decode_png(const std::string& bytes, const std::string& name,
                      const Background& background);

/// Error::kData unless 1 <= height, width and height * width <= 2^28.
void check_image_size(int64_t height, int64_t width, const std::string& name);

}  // namespace dissent
