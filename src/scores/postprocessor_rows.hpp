#pragma once
#include <any>
#include <utility>
#include <vector>

#include "core/option_table.hpp"
#include "scores/postprocessors.hpp"

namespace dissent::scores {

struct NoOptions {};
using Score = at::Tensor (*)(const State&, const at::Tensor&, const at::Tensor&);

/// An entry of the table: its text, its options, and the two functions.
template <class O>
PostprocessorInfo postprocessor_row(PostprocessorInfo text, OptionTable<O> options,
                                    State (*fit)(const FitData&, const O&), Score score) {
  text.options = std::move(options);
  text.default_options = O{};
  text.struct_of = [](std::any& given) -> void* { return std::any_cast<O>(&given); };
  text.fit_function = [fit](const FitData& data, const std::any& given) {
    return fit(data, *std::any_cast<O>(&given));
  };
  text.score = score;
  return text;
}

/// The entries by file.
std::vector<PostprocessorInfo> logit_rows();    ///< logits alone
std::vector<PostprocessorInfo> shaping_rows();  ///< changed features or head
std::vector<PostprocessorInfo> feature_rows();  ///< features, by class, Gaussian, subspace
std::vector<PostprocessorInfo>
neighbour_rows();  ///< features compared with those of the training set

}  // namespace dissent::scores
