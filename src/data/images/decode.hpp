#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "data/images/image_part.hpp"

namespace dissent {

/// The colour behind transparent pixels; empty: the alpha channel is dropped.
using Background = std::optional<std::array<uint8_t, 3>>;
/// "none", "white", "black", "#rrggbb", "r,g,b" (0 .. 255 each). Error::kUsage with the key
/// `background` for anything else.
Background background_of(const std::string& text);

/// Decodes the bytes of a JPEG or PNG file, recognised by their first bytes. Returns [H, W] (grey)
/// or [H, W, 3] u8, host: the pixels of PIL's Image.open(...).convert('RGB') (for grey one of the
/// three equal channels). That is: JPEG by the accurate integer DCT with smooth upsampling, CMYK
/// and YCCK converted to RGB as PIL does; PNG palettes looked up, alpha dropped without blending,
/// the high byte of 16-bit colours, min(value, 255) for 16-bit grey. Orientation tags and colour
/// profiles are not applied. Thread-safe. With `needed`, pixels outside that part are undefined:
/// rows and columns of a complete JPEG (one with its end marker) that are not needed are not
/// decoded, so damage below the part is not detected. With a background, transparent pixels of a
/// PNG are blended with it, as by PIL's paste onto an image of that colour with the image's own
/// alpha as mask: [H, W, 3]. Error::kData with `name`: neither format, truncated, damaged (also
/// where libjpeg would only warn of lost data and fill in grey), more than 2^28 pixels.
at::Tensor decode_image(const std::string& bytes, const std::string& name,
                        const NeededPart& needed = nullptr, const Background& background = {});

/// The same for a file. Error::kData with its path: missing, empty, not readable.
at::Tensor read_image(const std::string& path, const NeededPart& needed = nullptr,
                      const Background& background = {});

/// Decoders of one format each; the caller has checked the first bytes.
at::Tensor decode_jpeg(const std::string& bytes, const std::string& name, const NeededPart& needed);
at::Tensor decode_png(const std::string& bytes, const std::string& name,
                      const Background& background);

/// Error::kData unless 1 <= height, width and height * width <= 2^28.
void check_image_size(int64_t height, int64_t width, const std::string& name);

}  // namespace dissent
