#include <dissent/scores/logit_scores.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "core/tensor_check.hpp"
#include "scores/fit_data.hpp"
#include "scores/score_rows.hpp"
#include "scores/weibull.hpp"

namespace dissent::scores {
namespace {

constexpr int64_t kDistanceByDifferences = 2;  // cdist without a product

// For each class the distances of its correctly classified samples to their mean.
std::vector<std::vector<double>> class_distances(const at::Tensor& logits,
                                                 const at::Tensor& class_of_row,
                                                 const at::Tensor& means) {
  std::vector<std::vector<double>> distances(means.size(0));
  for_blocks(logits, kBlockRows, [&](const at::Tensor& block, int64_t first) {
    const auto own = class_of_row.narrow(0, first, block.size(0));
    const auto distance = (block - means.index_select(0, own.clamp_min(0))).norm(2, {1}).cpu();
    const auto host = own.cpu();
    for (int64_t i = 0; i < block.size(0); ++i) {
      const auto c = host.const_data_ptr<int64_t>()[i];
      if (c >= 0) distances[c].push_back(distance.const_data_ptr<double>()[i]);
    }
  });
  return distances;
}

}  // namespace

State fit_openmax(const FitData& data, const OpenmaxOptions& options) {
  DISSENT_CHECK(options.alpha >= 1, kUsage, "openmax: alpha: expected 1 or more, found {}",
                options.alpha);
  DISSENT_CHECK(options.tail >= 2, kUsage, "openmax: tail: expected 2 or more, found {}",
                options.tail);
  const auto logits = checked_logits("openmax", "training", data.train, data.head);
  const auto labels = checked_labels("openmax", "training", data.train, logits.size(0),
                                     logits.size(1), logits.device());

  // Class means of the correctly classified samples.
  const auto right = labels.masked_fill(logits.argmax(1).ne(labels), -1);
  const auto means = class_means(logits, right, logits.size(1)).mean;

  // One Weibull distribution per class, fitted to its largest distances.
  auto weibulls = at::empty({logits.size(1), 3}, at::kDouble);
  auto distances = class_distances(logits, right, means);
  for (size_t c = 0; c < distances.size(); ++c) {
    auto& tail = distances[c];
    std::sort(tail.begin(), tail.end(), std::greater<>());
    tail.resize(std::min<size_t>(tail.size(), options.tail));

    // With too few distances the distribution is 0 everywhere, and the logit is not revised.
    const auto fit = fit_weibull(tail);
    weibulls[static_cast<int64_t>(c)].copy_(
        at::tensor({fit.shift, fit.scale, fit.shape}, at::kDouble));
  }
  return {{"mean_logits", means},
          {"weibull", weibulls.to(logits.device())},
          {"alpha", at::scalar_tensor(options.alpha, at::kLong)}};
}

at::Tensor openmax_probabilities(const State& state, const at::Tensor& logits) {
  const auto &means = from_state("openmax", state, "mean_logits"),
             &weibull = from_state("openmax", state, "weibull");
  const auto alpha = count_from_state("openmax", state, "alpha"),
             revised = std::min(alpha, means.size(0));
  DISSENT_CHECK(logits.defined() && logits.dim() == 2 && logits.size(1) == means.size(0), kUsage,
                "openmax: logits: expected [N, {}], found {}", means.size(0), describe(logits));

  // w: probability under each class's Weibull distribution that a known sample is nearer to the
  // class mean.
  const auto z = logits.detach().to(at::kDouble);
  const auto beyond =
      (at::cdist(z, means, 2.0, kDistanceByDifferences) - weibull.select(1, 0)).clamp_min(0) /
      weibull.select(1, 1);
  const auto w = beyond.pow(weibull.select(1, 2)).neg().expm1().neg();

  // The largest logits are reduced, the first one most; what they lose goes to the unknown class.
  const auto rank_weight =
      at::arange(alpha, alpha - revised, -1, z.options()) / static_cast<double>(alpha);
  const auto omega = at::zeros_like(z).scatter_(1, std::get<1>(z.topk(revised, 1)),
                                                rank_weight.expand({z.size(0), revised}));

  // Probabilities of C + 1 classes, the unknown one last.
  const auto taken = z * w * omega;
  return at::softmax(at::cat({z - taken, taken.sum(1, true)}, 1), 1);
}

at::Tensor score_openmax(const State& state, const at::Tensor&, const at::Tensor& logits) {
  const auto classes = from_state("openmax", state, "mean_logits").size(0);
  return score_rows({"openmax", {}, logits, 0, classes},
                    [&](const at::Tensor&, const at::Tensor& z) {
                      return openmax_probabilities(state, z).select(1, classes).neg();
                    });
}

}  // namespace dissent::scores
