#include "data/datasets/cifar.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>

#include "data/datasets/memory_images.hpp"
#include "data/datasets/npy.hpp"
#include "data/datasets/registry.hpp"
#include "storage/atomic_file.hpp"
#include "storage/pickle.hpp"

namespace dissent {
namespace {

constexpr int64_t kEdge = 32, kValues = 3 * kEdge * kEdge;

// Rows of one file: images [n, 3072], one colour plane after the other, and labels [n].
struct Part {
  at::Tensor images, labels;
};

Part binary_part(const DatasetSpec& spec, const std::string& path) {
  const int64_t label_bytes = spec.classes == 100 ? 2 : 1;  // coarse, fine
  const auto bytes = read_text(path);
  const int64_t size = static_cast<int64_t>(bytes.size()), record = label_bytes + kValues;
  DISSENT_CHECK(
      size > 0 && size % record == 0, kData,
      "{0}: expected records of {2} bytes, found {1} bytes: truncated, or not a file of {3}", path,
      size, record, spec.name);

  // CIFAR-100 has a coarse label and a fine one, which is used here.
  const auto records =
      at::from_blob(const_cast<char*>(bytes.data()), {size / record, record}, at::kByte);
  return {records.narrow(1, label_bytes, kValues).clone(),
          records.select(1, label_bytes - 1).to(at::kLong)};
}

Part python_part(const DatasetSpec& spec, const std::string& path) {
  // The pickle is read as data; nothing in it is executed. It has no torch storages.
  const auto bytes = read_text(path);
  const auto content = read_pickle_values(bytes, path, [&](const PickleValue&) -> at::Tensor {
    DISSENT_FAIL(kData, "{}: expected numpy arrays, found torch tensors", path);
  });

  // The pickle is a dict. Its labels are a list of integers, or an array in files that other
  // programs have written.
  const std::string label_key = spec.classes == 100 ? "fine_labels" : "labels";
  Part part;
  for (const auto& [key, value] : content->pairs) {
    if (key->text == "data" && value->kind == PickleValue::Kind::kTensor)
      part.images = value->tensor;
    if (key->text != label_key) continue;
    if (value->kind == PickleValue::Kind::kTensor) {
      part.labels = value->tensor.to(at::kLong).flatten();
      continue;
    }
    std::vector<int64_t> labels;
    for (const auto& label : value->items) {
      DISSENT_CHECK(label->kind == PickleValue::Kind::kInteger, kData,
                    "{}: {}: label of image {}: expected an integer, found another value", path,
                    label_key, labels.size());
      labels.push_back(label->integer);
    }
    part.labels = at::tensor(labels, at::kLong);
  }

  DISSENT_CHECK(part.images.defined() && part.images.scalar_type() == at::kByte &&
                    part.images.dim() == 2 && part.images.size(1) == kValues &&
                    part.labels.defined(),
                kData, "{}: expected a pickle of data [N, {}] u8 and {}, found data {}, {} {}",
                path, kValues, label_key,
                part.images.defined() ? fmt::format("[{}] {}", fmt::join(part.images.sizes(), ", "),
                                                    at::toString(part.images.scalar_type()))
                                      : "of another kind or none",
                part.labels.defined() ? "and" : "no", label_key);

  DISSENT_CHECK(part.images.size(0) == part.labels.size(0), kData,
                "{0}: expected a label for each of {2} images, found {1} labels", path,
                part.labels.size(0), part.images.size(0));
  return part;
}

// File names without .bin: those of the Python version have no suffix.
std::vector<std::string> parts_of(const DatasetSpec& spec, const std::string& split) {
  if (spec.classes == 100) return {split};
  if (split == kTestSplit) return {"test_batch"};
  return {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"};
}

int64_t severity_of(const DatasetSpec& spec, const std::string& split) {
  // The corruption becomes a file name below the root: ".." must not lead out of it.
  const auto slash = split.find('/');
  const bool fits = slash != std::string::npos && slash > 0 && slash + 2 == split.size() &&
                    split.back() >= '1' && split.back() <= '5' &&
                    split.find("..") == std::string::npos;
  DISSENT_CHECK(fits, kUsage,
                "data.split: expected CORRUPTION/SEVERITY for dataset {} (fog/3 or all/1, severity "
                "1 .. 5), found '{}'",
                spec.name, split);
  return split.back() - '0';
}

std::vector<std::string> corruption_files(const DatasetSpec& spec, const std::string& root,
                                          const std::string& corruption) {
  if (corruption != "all") return {root + "/" + corruption + ".npy"};

  // Sorted, because the order of a directory listing depends on the file system.
  std::vector<std::string> files;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(root, ignored))
    if (entry.path().extension() == ".npy" && entry.path().stem() != "labels")
      files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  DISSENT_CHECK(!files.empty(), kData, "{}: expected .npy files of corruptions, found none; {}",
                root, spec.obtain);
  return files;
}

}  // namespace

std::unique_ptr<ImageSource> open_cifar(const DatasetSpec& spec, const std::string& root,
                                        const ImageDataOptions& options) {
  const auto& split = options.split;
  const std::string stem = spec.classes == 100 ? "/cifar-100-" : "/cifar-10-batches-";
  const auto names = parts_of(spec, split);

  // Four places, in this order: the binary files in the folder itself or in the archive's folder,
  // then the Python files likewise.
  std::string place;
  const auto is_there = [&](const std::string& folder, const std::string& end) {
    if (!place.empty() || !path_exists(root + folder + "/" + names[0] + end)) return false;
    place = root + folder;
    return true;
  };

  const std::string binary_folder = spec.classes == 100 ? stem + "binary" : stem + "bin",
                    python_folder = spec.classes == 100 ? stem + "python" : stem + "py";
  const bool binary = is_there("", ".bin") || is_there(binary_folder, ".bin");
  DISSENT_CHECK(binary || is_there("", "") || is_there(python_folder, ""), kData,
                "{}/{}.bin: no such file, nor {}; {}", root, names[0], names[0], spec.obtain);

  // Labels are checked file by file, so that an error names the file.
  std::vector<at::Tensor> images, labels;
  for (const auto& name : names) {
    const std::string path = place + "/" + name + (binary ? ".bin" : "");
    DISSENT_CHECK(path_exists(path), kData, "{}: no such file; {}", path, spec.obtain);
    auto part = binary ? binary_part(spec, path) : python_part(spec, path);
    leave_out_label(part.images, part.labels, options.ignore_label, path);
    check_labels(part.labels, spec.classes, path);
    images.push_back(part.images);
    labels.push_back(part.labels);
  }

  // A record has the three colour planes one after another; images are [H, W, 3].
  const auto pixels =
      at::cat(images).view({-1, 3, kEdge, kEdge}).permute({0, 2, 3, 1}).contiguous();
  return std::make_unique<MemoryImages>(spec.name + "/" + split, pixels, at::cat(labels),
                                        spec.classes, place);
}

std::unique_ptr<ImageSource> open_cifar_c(const DatasetSpec& spec, const std::string& root,
                                          const ImageDataOptions& options) {
  const auto& split = options.split;
  constexpr int64_t kRows = 10000, kSeverities = 5;
  const int64_t first = (severity_of(spec, split) - 1) * kRows;
  const std::string label_path = root + "/labels.npy";

  // Each file has the five severities one after another, 10,000 rows each.
  std::vector<at::Tensor> images, labels;
  for (const auto& path : corruption_files(spec, root, split.substr(0, split.find('/')))) {
    DISSENT_CHECK(path_exists(path) && path_exists(label_path), kData, "{}: no such file; {}",
                  path_exists(path) ? label_path : path, spec.obtain);
    images.push_back(read_npy(path, first, kRows));

    const bool fits = images.back().dim() == 4 && images.back().size(3) == 3 &&
                      images.back().scalar_type() == at::kByte;
    DISSENT_CHECK(fits, kData, "{0}: expected rows of Byte [{3}, 32, 32, 3], found {1} [{2}]", path,
                  at::toString(images.back().scalar_type()),
                  fmt::join(images.back().sizes().slice(1), ", "), kRows * kSeverities);

    // All corruptions share one file of labels, which has five copies of them, one per severity.
    labels.push_back(read_npy(label_path, first, kRows).to(at::kLong).contiguous());
    DISSENT_CHECK(labels.back().dim() == 1, kData, "{}: expected labels [N], found {} dimensions",
                  label_path, labels.back().dim());
    leave_out_label(images.back(), labels.back(), options.ignore_label, label_path);
  }
  return std::make_unique<MemoryImages>(spec.name + "/" + split, at::cat(images), at::cat(labels),
                                        spec.classes, label_path);
}

}  // namespace dissent
