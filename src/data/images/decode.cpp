#include "data/images/decode.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <dissent/error.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <memory>
#include <system_error>

#include "core/regular_file.hpp"
#include "data/options.hpp"

namespace dissent {
namespace {

// The whole file, with one system call where possible: every file of a list is opened once per
// epoch.
std::string bytes_of(const std::string& path) {
  const int file = open_regular_file(path);
  const auto closed =
      std::unique_ptr<const int, void (*)(const int*)>(&file, [](const int* f) { ::close(*f); });
  struct stat status{};
  DISSENT_CHECK(::fstat(file, &status) == 0, kData, "{}: cannot read its status: {}", path,
                std::generic_category().message(errno));
  std::string bytes(static_cast<size_t>(status.st_size), '\0');

  size_t done = 0;
  while (done < bytes.size()) {
    const auto count = ::read(file, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    DISSENT_CHECK(count >= 0, kData, "{}: cannot read: {}", path,
                  std::generic_category().message(errno));
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }

  // A file that another process shortens meanwhile is reported as damaged by the decoder.
  bytes.resize(done);
  return bytes;
}

}  // namespace

Background background_of(const std::string& text) {
  if (text == kNoneSelected) return {};
  if (text == "white") return {{255, 255, 255}};
  if (text == "black") return {{0, 0, 0}};

  // Three numbers: pairs of hexadecimal digits after "#", or decimal ones between commas.
  // from_chars refuses those above 255.
  std::array<uint8_t, 3> colour{};
  const char* at = text.data();
  const char* const end = at + text.size();
  const bool hexadecimal = text.size() == 7 && text[0] == '#';
  bool right = true;
  for (size_t c = 0; c < colour.size() && right; ++c) {
    at += hexadecimal ? (c == 0) : (c > 0);  // "#", ","
    const auto [rest, error] = hexadecimal ? std::from_chars(at, at + 2, colour[c], 16)
                                           : std::from_chars(at, end, colour[c]);
    right = error == std::errc() && (hexadecimal ? rest == at + 2
                                     : c == 2    ? rest == end
                                                 : rest != end && *rest == ',');
    at = rest;
  }

  DISSENT_CHECK(right, kUsage,
                "background: expected none, white, black, \"#rrggbb\" or \"r,g,b\" with 0 .. 255, "
                "found \"{}\"",
                text);
  return colour;
}

void check_image_size(int64_t height, int64_t width, const std::string& name) {
  constexpr int64_t kMaxPixels = int64_t{1} << 28;
  DISSENT_CHECK(height >= 1 && width >= 1 && height <= kMaxPixels / width, kData,
                "{}: damaged: expected 1 .. 2^28 pixels, found a header of {} x {}", name, height,
                width);
}

at::Tensor decode_image(const std::string& bytes, const std::string& name, const NeededPart& needed,
                        const Background& background) {
  DISSENT_CHECK(!bytes.empty(), kData, "{}: expected an image, found an empty file", name);
  if (bytes.compare(0, 3, "\xff\xd8\xff") == 0) return decode_jpeg(bytes, name, needed);
  if (bytes.compare(0, 8, "\x89PNG\r\n\x1a\n") == 0) return decode_png(bytes, name, background);

  // Neither format: the first bytes tell what the file is (52494646: WebP, 47494638: GIF).
  std::string start;
  for (size_t i = 0; i < std::min<size_t>(8, bytes.size()); ++i)
    start += fmt::format("{:02x}", static_cast<unsigned char>(bytes[i]));
  DISSENT_FAIL(kData, "{}: expected JPEG or PNG, found a file that starts with {}", name, start);
}

at::Tensor read_image(const std::string& path, const NeededPart& needed,
                      const Background& background) {
  return decode_image(bytes_of(path), path, needed, background);
}

}  // namespace dissent
