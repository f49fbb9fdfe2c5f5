#pragma once
#include <dissent/scores/class_subset.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace dissent::scores {

/// Number of classes of ImageNet.
inline constexpr int64_t kImagenetClasses = 1000;

/// How the 1,000 ImageNet classes map to those of an evaluation set. Data:
/// data/classes/imagenet_classes.csv, compiled in.
struct ImagenetSubset {
  std::string name;
  at::Tensor output_of_class;        ///< [1000] i64: 0 .. K - 1, or -1 outside
  std::vector<std::string> outputs;  ///< K names: WordNet ids, or those of the categories
  bool categories = false;           ///< several classes share an output
};

/// imagenet_a, imagenet_r (200 classes each, in ImageNet's order), imagenet9 (9 categories 0 .. 8),
/// human16 (16 categories in alphabetical order).
const std::vector<std::string>& imagenet_subset_names();

/// Throws Error::kUsage that lists the known names.
const ImagenetSubset& imagenet_subset(const std::string& name);

/// How outputs over all classes become outputs over the subset.
enum class SubsetRule {
  kReleased,       ///< as SED has it: classes by one-hot votes that may abstain (votes_in_subset),
                   ///< categories by means over their classes (category_means)
  kMaskedSoftmax,  ///< softmax over the classes of the subset alone; a category gets the sum over
                   ///< its classes. Rows sum to 1
};

/// outputs [..., 1000] f32 or f64, any device; returns [..., K] of the same dtype, to be used as
/// probabilities. Under kMaskedSoftmax probabilities are divided by their sum over the subset (a
/// row with none of it stays 0). Error::kUsage for shape or dtype.
at::Tensor subset_outputs(const at::Tensor& outputs, InputKind kind, const ImagenetSubset& subset,
                          SubsetRule rule);

/// Labels of 0 .. 999 as outputs of the subset, -1 outside. labels [N] i64, any device.
at::Tensor subset_labels(const at::Tensor& labels, const ImagenetSubset& subset);

}  // namespace dissent::scores
