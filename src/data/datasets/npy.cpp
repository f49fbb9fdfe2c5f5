#include "data/datasets/npy.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <string_view>
#include <system_error>
#include <vector>

#include "core/regular_file.hpp"

namespace dissent {
namespace {

struct Header {
  at::ScalarType dtype;
  std::vector<int64_t> shape;
  int64_t start;  // of the values
};

// The header is a Python dict: {'descr': '|u1', 'fortran_order': False, 'shape': (50000, 32, 32,
// 3), }
Header header_of(std::ifstream& file, const std::string& path) {
  static const std::map<std::string, at::ScalarType> types{
      {"|u1", at::kByte}, {"<i4", at::kInt}, {"<i8", at::kLong}};

  // Magic number, version, and the header's length: 16 bits in version 1, 32 bits from version 2
  // on.
  unsigned char start[12] = {};
  file.read(reinterpret_cast<char*>(start), 10);
  DISSENT_CHECK(file && std::string_view(reinterpret_cast<char*>(start), 6) == "\x93NUMPY", kData,
                "{}: expected a .npy file, found another format", path);

  // Little-endian.
  int64_t length = start[8] | start[9] << 8, begin = 10;
  if (start[6] > 1) {
    file.read(reinterpret_cast<char*>(start + 10), 2);
    length |= int64_t{start[10]} << 16 | int64_t{start[11]} << 24;
    begin = 12;
  }

  // numpy pads headers to multiples of 64; longer ones could exhaust the stack of std::regex.
  constexpr int64_t kMostHeaderBytes = 1024;
  DISSENT_CHECK(file && length <= kMostHeaderBytes, kData,
                "{}: expected a header of at most {} bytes, found one of {}", path,
                kMostHeaderBytes, length);

  std::string text(static_cast<size_t>(length), '\0');
  file.read(text.data(), length);
  DISSENT_CHECK(file, kData, "{}: truncated: expected a complete header, found its beginning",
                path);

  // The fields that numpy.save writes.
  std::smatch descr, order, shape;
  const bool complete = std::regex_search(text, descr, std::regex("'descr': *'([^']*)'")) &&
                        std::regex_search(text, order, std::regex("'fortran_order': *(\\w+)")) &&
                        std::regex_search(text, shape, std::regex("'shape': *\\(([0-9, ]*)\\)"));
  DISSENT_CHECK(complete, kData,
                "{}: expected a header with descr, fortran_order and shape, found {}", path, text);

  const auto type = types.find(descr[1]);
  DISSENT_CHECK(type != types.end() && order[1] == "False", kData,
                "{}: expected |u1, <i4 or <i8 in C order, found {}{}", path, descr[1].str(),
                order[1] == "False" ? "" : " in Fortran order");

  // The shape, bounded so that products below cannot overflow.
  Header header{type->second, {}, begin + length};
  const std::string extents = shape[1];
  static const std::regex number("[0-9]+");
  int64_t values = 1;
  for (auto i = std::sregex_iterator(extents.begin(), extents.end(), number);
       i != std::sregex_iterator(); ++i) {
    DISSENT_CHECK(i->length() <= 12, kData,
                  "{}: expected extents of at most 12 digits, found a header with the shape ({})",
                  path, extents);
    header.shape.push_back(std::stoll(i->str()));
    DISSENT_CHECK(header.shape.back() > 0 && header.shape.back() < (int64_t{1} << 40) / values,
                  kData,
                  "{}: expected extents of at least 1 and fewer than 2^40 values, found a header "
                  "with the shape ({})",
                  path, extents);
    values *= header.shape.back();
  }

  DISSENT_CHECK(!header.shape.empty(), kData, "{}: expected rows, found a single number", path);
  return header;
}

}  // namespace

at::Tensor read_npy(const std::string& path, int64_t first, int64_t count) {
  std::error_code ignored;
  expect_regular_file(path);
  DISSENT_CHECK(std::filesystem::exists(path, ignored), kData, "{}: no such file", path);
  std::ifstream file(path, std::ios::binary);
  DISSENT_CHECK(file, kData, "{}: cannot open", path);

  auto header = header_of(file, path);

  // The file has to be as long as its header says: a truncated download must not be read in part.
  const int64_t rows = header.shape[0],
                bytes = static_cast<int64_t>(std::filesystem::file_size(path)) - header.start;
  int64_t row_bytes = static_cast<int64_t>(c10::elementSize(header.dtype));
  for (size_t d = 1; d < header.shape.size(); ++d) row_bytes *= header.shape[d];
  DISSENT_CHECK(bytes == rows * row_bytes, kData,
                "{0}: expected {2} bytes of values by its header, found {1}", path, bytes,
                rows * row_bytes);

  // Only the requested rows are read: a file of CIFAR-10-C has five severities.
  if (count < 0) count = std::max<int64_t>(0, rows - first);
  DISSENT_CHECK(first >= 0 && count <= rows - first, kData,
                "{0}: expected rows {2} .. {3}, found {1} rows", path, rows, first,
                first + count - 1);

  header.shape[0] = count;

  auto values = at::empty(header.shape, header.dtype);
  file.seekg(header.start + first * row_bytes);
  file.read(static_cast<char*>(values.data_ptr()), count * row_bytes);
  DISSENT_CHECK(file, kData, "{}: cannot read all of its values", path);
  return values;
}

}  // namespace dissent
