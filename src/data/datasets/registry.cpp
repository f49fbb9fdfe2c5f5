#include "data/datasets/registry.hpp"

#include <dissent/error.hpp>

#include "data/datasets/cifar.hpp"
#include "data/datasets/idx.hpp"
#include "data/datasets/image_folders.hpp"
#include "data/datasets/memory_images.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

// The compressed file, or the same without .gz if only that exists.
at::Tensor read_present(const DatasetSpec& spec, const std::string& path, int64_t dimensions,
                        const char* what) {
  const std::string plain = path.substr(0, path.size() - 3);
  const std::string& found = path_exists(path) || !path_exists(plain) ? path : plain;
  DISSENT_CHECK(path_exists(found), kData, "{}: no such file; {}", found, spec.obtain);
  const auto values = read_idx(found);
  DISSENT_CHECK(values.dim() == dimensions, kData,
                "{0}: expected {3} dimensions as {2} have, found {1}", found, values.dim(), what,
                dimensions);
  return values;
}

std::unique_ptr<ImageSource> open_idx(const DatasetSpec& spec, const std::string& root,
                                      const ImageDataOptions& options) {
  const auto& split = options.split;
  const std::string stem = root + (split == "train" ? "/train" : "/t10k"),
                    label_path = stem + "-labels-idx1-ubyte.gz";
  auto images = read_present(spec, stem + "-images-idx3-ubyte.gz", 3, "images");
  auto labels = read_present(spec, label_path, 1, "labels").to(at::kLong);
  leave_out_label(images, labels, options.ignore_label, label_path);
  return std::make_unique<MemoryImages>(spec.name + "/" + split, images, labels, spec.classes,
                                        label_path);
}

const std::vector<std::string> kTrainAndTest = {"train", "test"};

constexpr const char* kKrizhevsky =
    "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, University of Toronto, "
    "2009";
constexpr const char* kHendrycks =
    "Hendrycks, Dietterich: Benchmarking Neural Network Robustness to Common Corruptions and "
    "Perturbations, ICLR 2019";

const std::vector<DatasetSpec> kTable = {
    {"fashion_mnist", 10, "/usr/share/datasets/fashion-mnist", kTrainAndTest,
     "install the Debian package dataset-fashion-mnist, or give the folder that holds it "
     "(scripts/download fashion-mnist-original)",
     "Xiao, Rasul, Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine "
     "Learning Algorithms, arXiv:1708.07747, 2017",
     open_idx},
    {"mnist", 10, "", kTrainAndTest,
     "give the folder that holds the four files of MNIST (scripts/download mnist-original)",
     "LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, "
     "Proceedings of the IEEE 86(11), 1998",
     open_idx},
    {"cifar10", 10, "", kTrainAndTest,
     "give the folder of its binary or Python version (scripts/download cifar10-original)",
     kKrizhevsky, open_cifar},
    {"cifar100", 100, "", kTrainAndTest,
     "give the folder of its binary or Python version (scripts/download cifar100-original)",
     kKrizhevsky, open_cifar},
    {"cifar10_c",
     10,
     "",
     {},
     "give the folder of CIFAR-10-C's .npy files (scripts/download cifar10-c-original)",
     kHendrycks,
     open_cifar_c},
    {"cifar100_c",
     100,
     "",
     {},
     "give the folder of CIFAR-100-C's .npy files (scripts/download cifar100-c-original)",
     kHendrycks,
     open_cifar_c},
    {"folder",
     0,
     "",
     {},
     "give a folder with one subfolder of images a class, or the one above such folders named as "
     "splits",
     "none: the layout of ImageNet's training set",
     open_image_folders},
    {"synthetic", 0, "", kTrainAndTest, "made by the program, no files",
     "none: ours, for tests and measurements", nullptr},
};

}  // namespace

const std::vector<DatasetSpec>& dataset_table() { return kTable; }

const DatasetSpec& find_dataset(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& spec : kTable) {
    if (spec.name == name) return spec;
    names.push_back(spec.name);
  }
  DISSENT_FAIL(kUsage, "dataset: expected one of {1}, found '{0}'", name, fmt::join(names, ", "));
}

}  // namespace dissent
