#include "data/datasets/idx.hpp"

#include <zlib.h>
#include <dissent/error.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include <fmt/ranges.h>

#include "core/regular_file.hpp"

namespace dissent {
namespace {

// A gzip or plain file, read front to back.
class Reader {
 public:
  explicit Reader(const std::string& path)
      : path_(path), file_(gzopen(path.c_str(), "rb"), gzclose_r) {
    DISSENT_CHECK(file_, kData, "{}: cannot open: {}", path_,
                  std::generic_category().message(errno));
    gzbuffer(file_.get(), 1 << 18);
  }

  // Returns fewer than `bytes` only at the end of the file.
  int64_t read(void* out, int64_t bytes) {
    int64_t done = 0;
    while (done < bytes) {
      const int count = gzread(file_.get(), static_cast<char*>(out) + done,
                               static_cast<unsigned>(std::min<int64_t>(bytes - done, 1 << 30)));
      if (count <= 0) break;
      done += count;
    }

    int code = Z_OK;
    const char* reason = gzerror(file_.get(), &code);
    // Z_BUF_ERROR: the compressed stream ends early, which the caller reports as truncated.
    DISSENT_CHECK(code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR, kData,
                  "{}: damaged: {}", path_, reason);
    return done;
  }

  // Whether a compressed stream was read including its checksum, which zlib compares.
  bool whole() {
    int code = Z_OK;
    gzerror(file_.get(), &code);
    return code != Z_BUF_ERROR;
  }

 private:
  std::string path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
};

}  // namespace

at::Tensor read_idx(const std::string& path) {
  std::error_code ignored;
  expect_regular_file(path);
  DISSENT_CHECK(std::filesystem::exists(path, ignored), kData, "{}: no such file", path);

  // Header: magic number, then one big-endian size per dimension.
  Reader reader(path);
  unsigned char magic[4] = {};
  const int64_t found = reader.read(magic, 4);
  DISSENT_CHECK(found == 4 && magic[0] == 0 && magic[1] == 0 && magic[2] == 8 && magic[3] >= 1 &&
                    magic[3] <= 4,
                kData,
                "{}: expected an IDX file of bytes, which starts with 000008 and 1 to 4 "
                "dimensions, found {:02x}{:02x}{:02x}{:02x}",
                path, magic[0], magic[1], magic[2], magic[3]);

  std::vector<int64_t> shape;
  int64_t values = 1;
  for (int d = 0; d < magic[3]; ++d) {
    unsigned char size[4] = {};

    // Each extent is checked against what the product leaves of 2^40, so the product cannot
    // overflow.
    DISSENT_CHECK(reader.read(size, 4) == 4, kData,
                  "{}: truncated: expected a complete header, found its beginning", path);
    shape.push_back(int64_t{size[0]} << 24 | size[1] << 16 | size[2] << 8 | size[3]);
    DISSENT_CHECK(shape.back() > 0 && shape.back() < (int64_t{1} << 40) / values, kData,
                  "{}: expected extents of at least 1 and fewer than 2^40 values, found a header "
                  "with the shape [{}]",
                  path, fmt::join(shape, ", "));
    values *= shape.back();
  }

  // The tensor grows with the data read: a damaged header may declare any size.
  auto data = at::empty({0}, at::kByte);
  constexpr int64_t kPiece = int64_t{1} << 26;
  for (int64_t done = 0; done < values;) {
    const int64_t piece = std::min(kPiece, values - done);
    data.resize_({done + piece});
    const int64_t count = reader.read(static_cast<char*>(data.data_ptr()) + done, piece);
    done += count;
    DISSENT_CHECK(count == piece, kData,
                  "{0}: truncated: expected {3} values, the shape [{2}] of its header, found {1}",
                  path, done, fmt::join(shape, ", "), values);
  }

  // Nothing may follow the values; for a compressed file zlib then compares the checksum.
  char extra;
  DISSENT_CHECK(reader.read(&extra, 1) == 0, kData,
                "{0}: expected values of the shape [{1}] of its header, found more", path,
                fmt::join(shape, ", "));
  DISSENT_CHECK(reader.whole(), kData,
                "{}: truncated: expected a checksum after the compressed data, found the end",
                path);

  return data.reshape(shape);
}

}  // namespace dissent
