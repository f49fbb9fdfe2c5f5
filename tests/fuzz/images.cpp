// Pictures. The check sums of PNG chunks are put right first, as a writer would: else few mutations
// come past them. Whether wrong ones are refused is a matter of the unit tests.
#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <string>

#include "data/images/decode.hpp"
#include "fuzz.hpp"
#include "touch.hpp"

using namespace dissent;

namespace {

uint32_t big_endian(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

std::string with_chunk_sums(std::string bytes) {
  for (size_t at = 8; at + 12 <= bytes.size();) {
    const size_t length = big_endian(bytes, at);
    if (length > bytes.size() - at - 12) break;
    const auto sum = crc32(0, reinterpret_cast<const Bytef*>(bytes.data() + at + 4),
                           static_cast<uInt>(length + 4));
    for (size_t i = 0; i < 4; ++i)
      bytes[at + 8 + length + i] = static_cast<char>(sum >> (24 - 8 * i));
    at += 12 + length;
  }
  return bytes;
}

}  // namespace

DISSENT_FUZZ(png, kOwn, "\x89PNG\r\n\x1a\n", "IHDR", "IDAT", "IEND", "PLTE", "tRNS", "gAMA", "iCCP",
             "zTXt", "sBIT", "eXIf") {
  fuzz::touch(decode_image(with_chunk_sums(input), "input.png"));
}

DISSENT_FUZZ(jpeg, kOwn, "\xff\xd8\xff", "\xff\xc0", "\xff\xc2", "\xff\xc4", "\xff\xda", "\xff\xdb",
             "\xff\xdd", "\xff\xd9", "\xff\xd0",
             "\xff\xee\x00\x0e"
             "Adobe",
             "Exif") {
  fuzz::touch(decode_image(input, "input.jpg"));
  // A part, as augmentations ask for it: other code of libjpeg. What lies outside is not read.
  decode_image(input, "input.jpg", [](int64_t height, int64_t width) {
    return ImagePart{height / 3, width / 3, (height + 2) / 3, (width + 2) / 3};
  });
}
