#pragma once
#include "core/tensor_check.hpp"

#include <any>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/option_table.hpp"
#include "losses/registry.hpp"

// What a loss needs to describe itself. Each src/losses/<name>.cpp ends with a function
// `LossInfo <name>_info()`, and registry.cpp lists the names.
namespace dissent::losses {

/// The options of a loss as its own struct. They were checked before (traits_of).
template <class O>
const O& options_as(const std::any& options) {
  return *std::any_cast<O>(&options);
}

/// Completes the texts and traits of a loss.
/// options   its keys, bound to the struct O
/// function  the loss from the inputs of a step, a scalar
/// adjust    changes the default traits to those of the given options; nullptr if they never change
template <class O>
LossInfo loss_info(LossInfo info, OptionTable<O> options,
                   at::Tensor (*function)(const LossInput&, const O&),
                   void (*adjust)(const O&, LossTraits&) = nullptr) {
  info.options = std::move(options);
  info.default_options = O{};
  info.struct_of = [](std::any& given) -> void* { return std::any_cast<O>(&given); };
  info.function = [function](const LossInput& input, const std::any& given) {
    return function(input, options_as<O>(given));
  };
  if (adjust)
    info.adjust = [adjust](const std::any& given, LossTraits& traits) {
      adjust(options_as<O>(given), traits);
    };
  return info;
}

/// Mean over members and samples of a loss [M, B], for labels [B] of one common batch or [M, B]
/// where each member has its own batch.
/// The mean is taken over samples first: then each of the M numbers depends on one member alone,
/// and their mean has the same bits on every split of the members (ensemble/split_loss.hpp).
template <class Loss>
at::Tensor mean_over_members(const char* name, const at::Tensor& logits, const at::Tensor& labels,
                             Loss loss) {
  if (labels.dim() != 2) return loss(logits, labels).mean(1).mean();

  check_outputs(name, "logits", logits, 1);
  DISSENT_CHECK(labels.size(0) == logits.size(0), kUsage,
                "{}: labels: expected [B] or [{}, B] Long, found {}", name, logits.size(0),
                describe(labels));
  std::vector<at::Tensor> values;
  for (int64_t m = 0; m < logits.size(0); ++m)
    values.push_back(loss(logits.narrow(0, m, 1), labels[m]).mean());
  return at::stack(values).mean();
}

}  // namespace dissent::losses
