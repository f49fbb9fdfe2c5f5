// Terms of objectives, as tests and benchmarks write them.
#pragma once
#include <dissent/losses/a2d.hpp>
#include <dissent/losses/cross_entropy.hpp>

#include "ensemble/objective.hpp"

namespace dissent::testing {

inline losses::LossTerm cross_entropy_term(double weight = 0.5, double label_smoothing = 0) {
  return {"cross_entropy",
          {.weight = weight},
          losses::CrossEntropyOptions{.label_smoothing = label_smoothing}};
}

inline losses::LossTerm a2d_term(double weight, bool hard) {
  return {"a2d",
          {.weight = weight},
          losses::A2dOptions{.sample_weight =
                                 hard ? losses::SampleWeight::kHard : losses::SampleWeight::kNone}};
}

/// A loss with its default options.
inline losses::LossTerm term(const char* name, double weight) {
  return {name, {.weight = weight}, {}};
}

/// SED's objective: cross-entropy and hard-sample-weighted A2D.
inline ObjectiveOptions sed_objective(double cross_entropy_weight = 0.5,
                                      double label_smoothing = 0.5, double a2d_weight = 2.5) {
  return {.terms = {cross_entropy_term(cross_entropy_weight, label_smoothing),
                    a2d_term(a2d_weight, true)}};
}

}  // namespace dissent::testing
