// The table of transforms.
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>

#include "core/options.hpp"
#include "data/transforms/transform.hpp"

namespace dissent {
namespace {

constexpr const char* kOpenOod =
    "Yang et al.: OpenOOD, NeurIPS 2022 Datasets and Benchmarks; "
    "openood/preprocessors/{base,test}_preprocessor.py (the same files in SDDE)";
constexpr const char* kSed =
    "Rubinstein et al. 2024, arXiv:2409.16797; diverse_universe/caching/main.py";

TransformSpec train_spec(const std::string& set, int64_t size, const std::string& values) {
  // In OpenOOD the random crop is taken from the padded centre crop, not from the padded image.
  TransformOptions options{.kind = TransformOptions::Kind::kPaddedCrop,
                           .resize = size,
                           .size = size,
                           .pad = 4,
                           .normalisation = normalisation(values)};
  return {
      set + "_train",
      fmt::format("resize to {0}, center crop {0}, random flip, pad by 4, random crop {0}", size),
      kOpenOod, options, set + "_test"};
}

TransformSpec test_spec(const std::string& name, int64_t resize, int64_t size,
                        const std::string& values, const char* citation) {
  TransformOptions options{.resize = resize, .size = size, .normalisation = normalisation(values)};
  return {name, fmt::format("resize to {}, center crop {}", resize, size), citation, options};
}

TransformSpec resized_crop_spec(const std::string& name, const std::string& test,
                                const char* citation) {
  TransformOptions options{.kind = TransformOptions::Kind::kResizedCrop,
                           .size = 224,
                           .normalisation = normalisation("imagenet")};
  return {
      name,
      "random window of 8 to 100 % of the area with ratio 3/4 to 4/3, resized to 224, random flip",
      citation, options, test};
}

}  // namespace

Normalisation normalisation(const std::string& set) {
  // Means and deviations of the training sets, as the references state them; other sets use 0.5.
  static const std::map<std::string, Normalisation> known{
      {"cifar10", {{0.4914, 0.4822, 0.4465}, {0.2470, 0.2435, 0.2616}}},
      {"cifar100", {{0.5071, 0.4867, 0.4408}, {0.2675, 0.2565, 0.2761}}},
      {"imagenet", {{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}}}};
  const auto found = known.find(set);
  return found != known.end() ? found->second : Normalisation{{0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}};
}

const std::vector<TransformSpec>& transform_table() {
  static const std::vector<TransformSpec> table{
      train_spec("mnist", 28, "mnist"),
      test_spec("mnist_test", 28, 28, "mnist", kOpenOod),
      train_spec("cifar10", 32, "cifar10"),
      test_spec("cifar10_test", 32, 32, "cifar10", kOpenOod),
      train_spec("cifar100", 32, "cifar100"),
      test_spec("cifar100_test", 32, 32, "cifar100", kOpenOod),
      train_spec("tin", 64, "imagenet"),
      test_spec("tin_test", 64, 64, "imagenet", kOpenOod),
      resized_crop_spec("imagenet_train", "imagenet_test", kOpenOod),
      test_spec("imagenet_test", 256, 224, "imagenet", kOpenOod),
      // Stored crops of 224 x 224, unchanged: OpenOOD's ImageNetCPreProcessor.
      test_spec("imagenet_c_test", 224, 224, "imagenet", kOpenOod),
      resized_crop_spec("sed_train", "sed_eval", kSed),
      test_spec("sed_eval", 256, 224, "imagenet", kSed),
  };
  return table;
}

std::string test_transform(std::string name) {
  for (const auto& spec : transform_table())
    if (spec.name == name && !spec.test.empty()) return spec.test;
  return name;
}

const TransformSpec& find_transform(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& spec : transform_table()) {
    if (spec.name == name) return spec;
    names.push_back(spec.name);
  }
  const auto near = nearest(name, names);
  DISSENT_FAIL(kUsage, "transform: expected one of {2}, found '{0}'{1}", name,
               near ? fmt::format("; did you mean '{}'?", *near) : "", fmt::join(names, ", "));
}

}  // namespace dissent
