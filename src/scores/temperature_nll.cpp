#include "scores/temperature_nll.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/tensor_check.hpp"

namespace dissent::scores {
namespace {
constexpr int64_t kNllBlockRows = 4096;
}

TemperatureNll::TemperatureNll(const char* function, const at::Tensor& logits,
                               const at::Tensor& labels)
    : logits_(logits.detach()), labels_(labels) {
  const bool fits = logits.defined() && logits.dim() == 2 && logits.size(0) >= 1 &&
                    logits.size(1) >= 1 &&
                    (logits.scalar_type() == at::kFloat || logits.scalar_type() == at::kDouble);
  DISSENT_CHECK(fits, kUsage, "{}: logits: expected [N >= 1, C >= 1] of f32 or f64, found {}",
                function, describe(logits));
  check_labels(function, "labels", labels, logits.size(0), logits.size(1), logits.device());
}

TemperatureNll::Point TemperatureNll::at_beta(double beta) const {
  auto sums = at::zeros({3}, logits_.options().dtype(at::kDouble));
  for (int64_t first = 0; first < logits_.size(0); first += kNllBlockRows) {
    const auto count = std::min(kNllBlockRows, logits_.size(0) - first);
    const auto block = logits_.narrow(0, first, count).to(at::kDouble);

    // Differences to the logit of the label have the same softmax and smaller values.
    const auto right = block.gather(1, labels_.narrow(0, first, count).unsqueeze(1));
    const auto z = block - right;
    const auto log_p = at::log_softmax(z * beta, 1), p = log_p.exp();

    // Derivatives with respect to beta: the mean and the variance of z under p.
    const auto mean = (p * z).sum(1, true);
    const auto value = log_p.gather(1, labels_.narrow(0, first, count).unsqueeze(1)).neg();
    sums += at::stack({value.sum(), mean.sum(), (p * (z - mean).square()).sum()});
  }

  // One transfer to the host per evaluation: value, slope and curvature together.
  sums = sums.div(static_cast<double>(logits_.size(0))).cpu();
  const auto* s = sums.data_ptr<double>();
  return {s[0], s[1], s[2]};
}

void check_bounds(const char* function, TemperatureBounds bounds) {
  DISSENT_CHECK(
      bounds.lowest > 0 && bounds.lowest < bounds.highest && std::isfinite(bounds.highest), kUsage,
      "{}: bounds: expected 0 < lowest < highest, found {} and {}", function, bounds.lowest,
      bounds.highest);
}

}  // namespace dissent::scores
