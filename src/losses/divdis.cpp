#include <torch/csrc/autograd/custom_function.h>
#include <dissent/losses/divdis.hpp>

#include <cstdint>
#include <limits>
#include <vector>

#include "core/pair_information.hpp"
#include "core/tensor_check.hpp"
#include "losses/loss_info.hpp"

namespace dissent::losses {
namespace {

// Value of each unordered pair (g, h), g < h, of members' probabilities p [M, B, C]; returns [M (M
// - 1) / 2]. Only p is saved; the backward pass computes the C x C tensors of each pair again, so
// that memory does not grow with the number of pairs.
class PairValues : public torch::autograd::Function<PairValues> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& p,
                            bool information) {
    context->save_for_backward({p});
    context->saved_data["information"] = information;
    const auto log_marginal = p.mean(1).log();

    std::vector<at::Tensor> values;
    for (int64_t g = 0; g < p.size(0); ++g)
      for (int64_t h = g + 1; h < p.size(0); ++h) {
        if (information) {
          auto pair = pair_information(p[g], p[h], log_marginal[g], log_marginal[h]);
          values.push_back(pair.ratio.mul_(pair.joint).sum());
        } else {
          values.push_back((p[g] - p[h]).abs_().sum().div_(-static_cast<double>(p.size(1))));
        }
      }
    return at::stack(values);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    DISSENT_CHECK(
        !at::GradMode::is_enabled(), kUsage,
        "divdis: expected a first derivative only, found a request for a second derivative");

    // The forward value divides by B: so does every derivative.
    const auto p = context->get_saved_variables()[0];
    const bool information = context->saved_data["information"].toBool();

    const auto upstream = gradients[0] / static_cast<double>(p.size(1));
    const auto log_marginal = p.mean(1).log();

    auto gradient = at::zeros_like(p);
    int64_t index = 0;
    for (int64_t g = 0; g < p.size(0); ++g)
      for (int64_t h = g + 1; h < p.size(0); ++h, ++index) {
        if (information) {
          // d/dp_g of sum J (log J - log Q) is p_h ratio' / B plus a constant that is the same for
          // every class, which the derivative of softmax removes.
          const auto ratio = pair_information(p[g], p[h], log_marginal[g], log_marginal[h])
                                 .ratio.mul_(upstream[index]);
          gradient[g].addmm_(p[h], ratio.t());
          gradient[h].addmm_(p[g], ratio);
        } else {
          const auto sign = (p[g] - p[h]).sign_().mul_(upstream[index]);
          gradient[g].sub_(sign);
          gradient[h].add_(sign);
        }
      }
    return {gradient, at::Tensor()};
  }
};

at::Tensor mean_of_nonzero(const at::Tensor& values) {
  // Pairs of value 0 are left out, as in the reference. If no pair remains: 0, not 0 / 0.
  const auto nonzero = values.ne(0);
  return values.masked_fill(nonzero.logical_not(), 0).sum() / nonzero.sum().clamp_min(1);
}

// Mean over members of the largest nonzero value of their pairs; members without one are left out.
at::Tensor mean_of_row_maxima(const at::Tensor& values, int64_t members) {
  // Row g holds the pairs of member g with each other member h; the pair (a, b), a < b, is at index
  // a (2 M - a - 1) / 2 + b - a - 1. Indices are computed on the device, because a step may be
  // recorded as a CUDA graph.
  const auto options = at::TensorOptions(at::kLong).device(values.device());
  const auto g = at::arange(members, options).unsqueeze(1);
  auto h = at::arange(members - 1, options).unsqueeze(0);
  h = h + h.ge(g);
  const auto first = at::minimum(g, h), second = at::maximum(g, h);
  const auto pairs = (first * (2 * members - 1 - first)).floor_divide(2) + second - first - 1;
  const auto rows = values.index_select(0, pairs.view({-1})).view({members, members - 1});

  // Zeros never win a maximum; the maximum of a row of zeros is 0 again, so that it is left out.
  const auto nonzero = rows.ne(0);
  const auto maxima =
      rows.masked_fill(nonzero.logical_not(), -std::numeric_limits<double>::infinity()).amax(1);
  return mean_of_nonzero(maxima.masked_fill(nonzero.any(1).logical_not(), 0));
}

}  // namespace

at::Tensor divdis(const at::Tensor& logits, DivDisMode mode, DivDisReduction reduction) {
  check_outputs("divdis", "logits", logits, 2);

  // One output per sample is the logit of the positive class of two.
  at::Tensor p;
  if (logits.size(2) == 1) {
    const auto positive = logits.sigmoid();
    p = at::cat({positive, 1 - positive}, -1);
  } else {
    p = at::softmax(logits, -1);
  }

  const auto values = PairValues::apply(p, mode == DivDisMode::kMutualInformation);
  return reduction == DivDisReduction::kMean ? mean_of_nonzero(values)
                                             : mean_of_row_maxima(values, logits.size(0));
}

LossInfo divdis_info() {
  const auto keys =
      OptionTable<DivDisOptions>("loss.divdis", "DivDis")
          .choice("mode", &DivDisOptions::mode,
                  {{"mi", DivDisMode::kMutualInformation}, {"l1", DivDisMode::kL1}},
                  "value of a pair: mutual information, or negative L1 distance")
          .choice("reduction", &DivDisOptions::reduction,
                  {{"mean", DivDisReduction::kMean}, {"min_each", DivDisReduction::kMinEach}},
                  "mean over pairs, or mean over members of the most similar pair");

  return loss_info<DivDisOptions>(
      {.name = "divdis",
       .summary = "Statistical dependence between the predictions of two members over the batch",
       .formula = "mean over pairs, or over members of their most similar pair, of the mutual "
                  "information over the batch (mi) or of minus the mean |p_g - p_h|_1 (l1)",
       .citation = "Lee, Yao and Finn, Diversify and Disambiguate, ICLR 2023",
       .kind = LossKind::kDiversity,
       // The joint distribution is a mean over the batch inside a logarithm.
       .traits = {.needs = {Field::kLogits},
                  .exchanged = {Field::kLogits},
                  .min_members = 2,
                  .nonlinear_in_batch = true}},
      keys, [](const LossInput& input, const DivDisOptions& options) {
        return divdis(input.logits, options.mode, options.reduction);
      });
}

}  // namespace dissent::losses
