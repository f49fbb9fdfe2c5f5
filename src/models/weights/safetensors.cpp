#include <fmt/format.h>
#include <fmt/ranges.h>
#include <dissent/error.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "core/divide_up.hpp"
#include "core/edited_text.hpp"
#include "core/regular_file.hpp"
#include "models/weights/state_dict.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

constexpr uint64_t kMostHeaderBytes = 100'000'000;  // limit of the format's reference reader
constexpr size_t kAlignment = 8;

const std::vector<std::pair<std::string, at::ScalarType>>& dtypes() {
  // Names of the format's specification. F8_E4M3 is the variant without infinities.
  static const std::vector<std::pair<std::string, at::ScalarType>> table{
      {"F64", at::kDouble},
      {"F32", at::kFloat},
      {"F16", at::kHalf},
      {"BF16", at::kBFloat16},
      {"I64", at::kLong},
      {"I32", at::kInt},
      {"I16", at::kShort},
      {"I8", at::kChar},
      {"U8", at::kByte},
      {"BOOL", at::kBool},
      {"U64", at::kUInt64},
      {"U32", at::kUInt32},
      {"U16", at::kUInt16},
      {"F8_E4M3", at::kFloat8_e4m3fn},
      {"F8_E5M2", at::kFloat8_e5m2},
      {"F8_E8M0", at::kFloat8_e8m0fnu}};
  return table;
}

struct Place {
  at::ScalarType dtype;
  std::vector<int64_t> shape;
  uint64_t begin, bytes;
};

// One entry of the header, checked against the `available` bytes of values. Nothing for a dtype of
// the format that LibTorch does not have.
std::optional<Place> place_of(const std::string& path, const std::string& name,
                              const nlohmann::json& entry, uint64_t available) {
  const auto fail = [&](const std::string& what) {
    DISSENT_FAIL(kData, "{}: {}: {}", path, name, what);
  };
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets"))
    fail("header: expected dtype, shape and data_offsets, found another entry");

  const auto &dtype = entry["dtype"], &shape = entry["shape"], &offsets = entry["data_offsets"];
  const auto known = std::find_if(dtypes().begin(), dtypes().end(),
                                  [&](const auto& row) { return dtype == row.first; });
  const auto counts = [](const nlohmann::json& list) {
    return list.is_array() && std::all_of(list.begin(), list.end(), [](const auto& value) {
             return value.is_number_unsigned();
           });
  };
  if (!counts(shape) || !counts(offsets) || offsets.size() != 2)
    fail("shape, data_offsets: expected lists of counts, found other values");

  if (known == dtypes().end()) return {};

  // The bytes have to lie inside the file and to match shape and dtype. Products are checked before
  // they are computed, since a damaged header may hold any numbers.
  Place place{known->second, shape.get<std::vector<int64_t>>(), offsets[0], 0};
  const uint64_t end = offsets[1];
  if (place.begin > end || end > available)
    fail(fmt::format(
        "expected bytes inside 0 .. {}, found {} .. {}: the file is truncated or damaged",
        available, place.begin, end));

  place.bytes = end - place.begin;

  uint64_t needed = c10::elementSize(place.dtype);
  for (const int64_t extent : place.shape) {
    if (extent > 0 && needed > available / static_cast<uint64_t>(extent))
      fail(fmt::format("expected a shape that fits the file, found [{}]",
                       fmt::join(place.shape, ", ")));
    needed *= static_cast<uint64_t>(extent);
  }
  if (needed != place.bytes)
    fail(fmt::format("expected {3} bytes for [{1}] {2}, found {0}", place.bytes,
                     fmt::join(place.shape, ", "), known->first, needed));
  return place;
}

// Parses the header. A name may appear once only: parsers differ in which of two they take.
nlohmann::json header_of(const std::string& path, const std::string& text) {
  // The parser reports each key of the outermost object, before it merges equal ones.
  std::set<std::string> names;
  std::string twice;
  const auto note = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    if (depth == 1 && event == nlohmann::json::parse_event_t::key &&
        !names.insert(parsed.get<std::string>()).second)
      twice = parsed.get<std::string>();
    return true;
  };

  auto header = nlohmann::json::parse(text, note, false);
  DISSENT_CHECK(twice.empty(), kData, "{}: its header: expected each tensor once, found {} twice",
                path, twice);
  return header;
}

// A rule of the format: tensors are stored one after another without gap or overlap, from the first
// byte after the header to the last byte of the file.
void expect_no_gaps(const std::string& path, const nlohmann::json& header, uint64_t available) {
  struct Part {
    uint64_t begin, end;
    std::string name;
  };
  std::vector<Part> parts;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const auto offsets = entry.value("data_offsets", nlohmann::json());
    const bool counts = offsets.is_array() && offsets.size() == 2 &&
                        offsets[0].is_number_unsigned() && offsets[1].is_number_unsigned();
    DISSENT_CHECK(counts, kData, "{}: {}: data_offsets: expected two counts, found {}", path, name,
                  offsets.dump());
    parts.push_back({offsets[0], offsets[1], name});
  }

  // In the order of the file. Empty tensors come before one that begins at the same byte.
  std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });

  // Bytes that belong to no tensor could hide other data, and bytes of two tensors are a sign of
  // damage.
  uint64_t end = 0;
  for (const auto& part : parts) {
    DISSENT_CHECK(part.begin == end, kData,
                  "{}: {}: expected its values at byte {}, directly after the previous ones, found "
                  "{} .. {}: {}; the file is damaged",
                  path, part.name, end, part.begin, part.end,
                  part.begin < end ? "they overlap" : "there is a gap");
    end = part.end;
  }
  DISSENT_CHECK(
      end == available, kData,
      "{}: expected {} bytes of values by its header, found {}: the file is damaged or has "
      "additional bytes",
      path, end, available);
}

}  // namespace

StateDict read_safetensors(const std::string& path) {
  expect_regular_file(path);
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  DISSENT_CHECK(file, kData, "{}: cannot open: {}", path, std::generic_category().message(errno));
  const auto size = static_cast<uint64_t>(file.tellg());
  file.seekg(0);

  // The file begins with the length of the header, 8 bytes little-endian, and the header as JSON.
  uint64_t header_bytes = 0;
  file.read(reinterpret_cast<char*>(&header_bytes), sizeof header_bytes);
  DISSENT_CHECK(
      file && header_bytes <= kMostHeaderBytes && header_bytes + sizeof header_bytes <= size, kData,
      "{0}: not a safetensors file: expected a header inside its {2} bytes, found one of {1}", path,
      header_bytes, size);

  std::string text(header_bytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  const auto header = header_of(path, text);
  DISSENT_CHECK(
      file && header.is_object(), kData,
      "{}: not a safetensors file: expected a header that is a JSON object, found other text",
      path);

  // All entries are checked before any tensor is allocated.
  const uint64_t first = sizeof header_bytes + header_bytes;
  for (const auto& [name, entry] : header.items())
    if (name != "__metadata__") place_of(path, name, entry, size - first);
  expect_no_gaps(path, header, size - first);

  StateDict tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const auto place = place_of(path, name, entry, size - first);
    if (!place) {
      warn_once(fmt::format("event=tensor_left_out path={} name={} type={} reason=\"not read\"",
                            path, name, entry["dtype"].dump()));
      continue;
    }

    // Values are read into the tensor's own memory, so the file is never in memory twice.
    auto tensor = at::empty(place->shape, place->dtype);
    file.seekg(static_cast<std::streamoff>(first + place->begin));
    file.read(static_cast<char*>(tensor.data_ptr()), static_cast<std::streamsize>(place->bytes));
    DISSENT_CHECK(file, kData, "{}: {}: cannot read: {}", path, name,
                  std::generic_category().message(errno));
    tensors.emplace(name, std::move(tensor));
  }
  return tensors;
}

void write_safetensors(const std::string& path, const StateDict& tensors,
                       const std::map<std::string, std::string>& metadata) {
  auto header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;

  uint64_t place = 0;
  for (const auto& [name, tensor] : tensors) {
    const auto known = std::find_if(dtypes().begin(), dtypes().end(), [&](const auto& row) {
      return tensor.scalar_type() == row.second;
    });
    DISSENT_CHECK(known != dtypes().end(), kUsage,
                  "write_safetensors: {}: expected a dtype of the format, found {}", name,
                  at::toString(tensor.scalar_type()));
    const uint64_t end = place + tensor.nbytes();
    header[name] = {
        {"dtype", known->first}, {"shape", tensor.sizes().vec()}, {"data_offsets", {place, end}}};
    place = end;
  }

  // The header is padded with spaces, so that the values start at a multiple of 8 bytes.
  auto text = header.dump();
  text.resize(divide_up(text.size(), kAlignment) * kAlignment, ' ');

  // Written under another name and renamed: a reader sees a whole file or none.
  const auto temporary = temporary_name(path);
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    const uint64_t header_bytes = text.size();
    file.write(reinterpret_cast<const char*>(&header_bytes), sizeof header_bytes);
    file.write(text.data(), static_cast<std::streamsize>(text.size()));
    for (const auto& [name, tensor] : tensors) {
      const auto values = tensor.detach().cpu().contiguous();
      file.write(static_cast<const char*>(values.const_data_ptr()),
                 static_cast<std::streamsize>(values.nbytes()));
    }
    file.flush();
    DISSENT_CHECK(file, kData, "{}: cannot write: {}", path,
                  std::generic_category().message(errno));
  }
  sync_and_rename(temporary, path);
}

}  // namespace dissent
