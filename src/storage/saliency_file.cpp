#include "storage/saliency_file.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "storage/atomic_file.hpp"
#include "storage/h5.hpp"

namespace dissent {
namespace {

constexpr const char* kSaliencyFormat = "dissent-saliency";
constexpr int64_t kSaliencyVersion = 2;

struct Field {
  const char* name;
  at::Tensor SaliencyMaps::* values;
  at::ScalarType dtype;
  int64_t dims;
};
const Field kFields[] = {{"image", &SaliencyMaps::image, at::kByte, 4},
                         {"maps", &SaliencyMaps::maps, at::kFloat, 4},
                         {"label", &SaliencyMaps::label, at::kLong, 1},
                         {"prediction", &SaliencyMaps::prediction, at::kLong, 1}};

struct TextField {
  const char* name;
  std::vector<std::string> SaliencyMaps::* values;
};
const TextField kTexts[] = {{"names", &SaliencyMaps::names},
                            {"class_names", &SaliencyMaps::class_names}};

at::Tensor bytes_of_lines(const std::vector<std::string>& lines) {
  // One name per line; a line break inside a name would shift all names after it.
  std::string text;
  for (auto line : lines) {
    std::replace(line.begin(), line.end(), '\n', ' ');
    text += line + "\n";
  }
  return at::from_blob(text.data(), {static_cast<int64_t>(text.size())}, at::kByte).clone();
}

std::vector<std::string> lines_of_bytes(const at::Tensor& bytes) {
  const auto* first = reinterpret_cast<const char*>(bytes.const_data_ptr<uint8_t>());
  const std::string text(first, static_cast<size_t>(bytes.numel()));
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

// The first field that does not fit, as a message; "" if all fit.
std::string problem_of(const SaliencyMaps& saliency) {
  // N is the number of images: all fields have it as their first dimension.
  for (const auto& field : kFields) {
    const auto& values = saliency.*field.values;
    if (values.dim() != field.dims || values.scalar_type() != field.dtype)
      return fmt::format("{}: expected {} with {} dimensions, found {} [{}]", field.name,
                         at::toString(field.dtype), field.dims, at::toString(values.scalar_type()),
                         fmt::join(values.sizes(), ", "));
    if (values.size(0) != saliency.image.size(0))
      return fmt::format("{}: expected {} images as in the field image, found {}", field.name,
                         saliency.image.size(0), values.size(0));
    if (values.numel() == 0) return fmt::format("{}: expected values, found none", field.name);
  }

  if (!saliency.names.empty() &&
      static_cast<int64_t>(saliency.names.size()) != saliency.image.size(0))
    return fmt::format("names: expected {} names, one per image of the field image, found {}",
                       saliency.image.size(0), saliency.names.size());

  // Grey or RGB, which is what a plot can show.
  const int64_t channels = saliency.image.size(3);
  return channels == 1 || channels == 3
             ? ""
             : fmt::format("image: expected 1 or 3 channels, found {}", channels);
}

}  // namespace

void write_saliency(const std::string& path, const SaliencyMaps& saliency) {
  for (const auto& field : kFields)
    DISSENT_CHECK((saliency.*field.values).defined(), kUsage,
                  "write_saliency: {}: expected a tensor, found none", field.name);
  const auto problem = problem_of(saliency);
  DISSENT_CHECK(problem.empty(), kUsage, "write_saliency: {}", problem);

  // The disk space is claimed before the file is created; 64 KiB are more than all headers.
  const std::string temporary = temporary_name(path);
  int64_t bytes = 64 * 1024;
  for (const auto& field : kTexts)
    for (const auto& line : saliency.*field.values) bytes += static_cast<int64_t>(line.size()) + 1;
  for (const auto& field : kFields)
    bytes += (saliency.*field.values).numel() * (saliency.*field.values).element_size();

  // h5_write_rows is made for groups of ranks; this process writes alone.
  auto self = make_self_communicator();
  try {
    auto file = h5_create(temporary, bytes);
    h5_write_format(file, {kSaliencyFormat, kSaliencyVersion}, temporary);
    for (const auto& field : kFields) {
      const auto values = (saliency.*field.values).contiguous();
      h5_add_dataset(file, field.name, values.sizes(), field.dtype, temporary);
      h5_write_rows(file, field.name, 0, values, *self, temporary);
    }

    for (const auto& field : kTexts) {
      if ((saliency.*field.values).empty()) continue;
      const auto bytes_of_text = bytes_of_lines(saliency.*field.values);
      h5_add_dataset(file, field.name, bytes_of_text.sizes(), at::kByte, temporary);
      h5_write_rows(file, field.name, 0, bytes_of_text, *self, temporary);
    }

    // A reader finds the old file or the complete new one.
    h5_close_sealed(file, temporary);
    sync_and_rename(temporary, path);
  } catch (...) {
    remove_file(temporary);
    throw;
  }
}

SaliencyMaps read_saliency(const std::string& path) {
  const auto file = h5_open(path);
  SaliencyMaps saliency;
  for (const auto& field : kFields) {
    DISSENT_CHECK(h5_has(file, field.name), kData,
                  "{}: not a saliency file: expected a dataset '{}', found none", path, field.name);
    saliency.*field.values = h5_read(file, field.name, path);
  }

  // Names are optional: older files have none.
  for (const auto& field : kTexts) {
    if (!h5_has(file, field.name)) continue;
    const auto text = h5_read(file, field.name, path);
    DISSENT_CHECK(text.scalar_type() == at::kByte && text.dim() == 1, kData,
                  "{}: {}: expected bytes [N], found {} [{}]", path, field.name,
                  at::toString(text.scalar_type()), fmt::join(text.sizes(), ", "));
    saliency.*field.values = lines_of_bytes(text.contiguous());
  }

  const auto problem = problem_of(saliency);
  DISSENT_CHECK(problem.empty(), kData, "{}: {}", path, problem);
  return saliency;
}

}  // namespace dissent
