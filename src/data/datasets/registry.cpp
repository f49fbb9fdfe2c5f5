#include "data/datasets/registry.hpp"

#include <dissent/error.hpp>

#include "data/datasets/idx.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

at::Tensor read_present(const DatasetSpec& spec, const std::string& path) {
  DISSENT_CHECK(path_exists(path), kData, "{}: no such file; {}", path, spec.obtain);
  return read_idx(path);
}

ImageSet load_idx(const DatasetSpec& spec, const std::string& root, const DatasetSplit& split) {
  const std::string image_path = root + "/" + split.images, label_path = root + "/" + split.labels;
  ImageSet set{spec.name + "/" + split.name, spec.classes, read_present(spec, image_path), {}};
  DISSENT_CHECK(set.images.dim() == 3, kData, "{}: {} dimensions, images have 3", image_path, set.images.dim());
  const auto labels = read_present(spec, label_path);
  DISSENT_CHECK(labels.dim() == 1, kData, "{}: {} dimensions, labels have 1", label_path, labels.dim());
  DISSENT_CHECK(labels.size(0) == set.images.size(0), kData, "{}: {} labels for the {} images of {}", label_path, labels.size(0), set.images.size(0), image_path);
  set.labels = labels.to(at::kLong);
  const auto wrong = (set.labels >= spec.classes).nonzero();
  if (wrong.size(0) > 0) {
    const auto row = wrong[0].item<int64_t>();
    DISSENT_FAIL(kData, "{}: label {} of image {}, expected 0 .. {}", label_path, set.labels[row].item<int64_t>(), row, spec.classes - 1);
  }
  return set;
}

const std::vector<DatasetSplit> kMnistSplits = {{"train", "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"},
                                                {"test", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"}};

const std::vector<DatasetSpec> kTable = {
    {"fashion_mnist", 10, "/usr/share/datasets/fashion-mnist", kMnistSplits,
     "install the Debian package dataset-fashion-mnist, or give the folder that holds it",
     "Xiao, Rasul, Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms, arXiv:1708.07747, 2017", load_idx},
    {"mnist", 10, "", kMnistSplits, "give the folder that holds the four files of MNIST",
     "LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, Proceedings of the IEEE 86(11), 1998", load_idx},
    {"synthetic", 0, "", {{"train", "", ""}, {"test", "", ""}}, "made by the program, no files", "none: ours, for tests and measurements", nullptr},
};

template <class T>
std::string names_of(const std::vector<T>& list) {
  std::vector<std::string> names;
  for (const auto& entry : list) names.push_back(entry.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

const std::vector<DatasetSpec>& dataset_table() { return kTable; }

const DatasetSpec& find_dataset(const std::string& name) {
  for (const auto& spec : kTable)
    if (spec.name == name) return spec;
  DISSENT_FAIL(kUsage, "unknown dataset '{}'; there are {}", name, names_of(kTable));
}

ImageSet load_images(const std::string& name, const std::string& root, const std::string& split) {
  const auto& spec = find_dataset(name);
  DISSENT_CHECK(spec.load, kUsage, "dataset {} has features, no images: it goes with trunk.model = \"none\"", name);
  const std::string folder = root.empty() ? spec.default_root : root;
  DISSENT_CHECK(!folder.empty(), kUsage, "dataset {} needs data.root: {}", name, spec.obtain);
  for (const auto& candidate : spec.splits)
    if (candidate.name == split) return spec.load(spec, folder, candidate);
  DISSENT_FAIL(kUsage, "dataset {} has no split '{}'; there are {}", name, split, names_of(spec.splits));
}

at::Tensor pixel_features(const at::Tensor& images) {
  DISSENT_CHECK(images.scalar_type() == at::kByte && images.dim() >= 2, kUsage, "pixel features are taken of u8 images [N, ...], not of {} [{}]",
                at::toString(images.scalar_type()), fmt::join(images.sizes(), ", "));
  return images.flatten(1).to(at::kFloat).div_(255);  // of no images too: a rank may have no rows of a shard
}

}  // namespace dissent
