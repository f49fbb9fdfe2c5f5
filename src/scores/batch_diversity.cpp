#include <dissent/scores/batch_diversity.hpp>

#include <cstdint>

#include "core/pair_information.hpp"
#include "core/tensor_check.hpp"

namespace dissent::scores {
namespace {

constexpr double kKlEps = 1e-8;

at::Tensor checked(const char* score, const at::Tensor& outputs) {
  check_outputs(score, "outputs", outputs, 2);
  return at::softmax(outputs, -1);
}

at::Tensor mean_over_pairs(const at::Tensor& sum, int64_t members) {
  return sum / (0.5 * static_cast<double>(members * (members - 1)));
}

}  // namespace

at::Tensor variance(const at::Tensor& outputs) {
  return checked("variance", outputs).var(0, true).mean().neg();
}

at::Tensor standard_deviation(const at::Tensor& outputs) {
  return checked("standard_deviation", outputs).std(0, true).mean().neg();
}

at::Tensor max_variance(const at::Tensor& outputs) {
  const auto p = checked("max_variance", outputs);
  const auto predicted = p.argmax(-1).flatten();

  // The variance does not depend on the predicted class, so it is computed once per class and read.
  const auto variance_of_class = p.var(0, true).mean(0);
  return variance_of_class.index_select(0, predicted).mean();
}

at::Tensor divdis_information(const at::Tensor& outputs) {
  const auto p = checked("divdis_information", outputs);

  // The sum over classes a, b of p(a, b) log(p(a, b) / (p(a) p(b))), with the mean over the batch
  // as p.
  const auto log_marginal = p.mean(1).log();

  // Pairs with information 0 do not count, as in the reference.
  auto sum = at::zeros({}, p.options()), pairs = at::zeros({}, p.options());
  for (int64_t g = 0; g < p.size(0); ++g)
    for (int64_t h = g + 1; h < p.size(0); ++h) {
      auto pair = pair_information(p[g], p[h], log_marginal[g], log_marginal[h]);
      const auto value = pair.ratio.mul_(pair.joint).sum();
      sum += value;
      pairs += value.ne(0);
    }
  return sum / pairs.clamp_min(1);
}

at::Tensor kl_divergence(const at::Tensor& outputs) {
  // sum over i < j of KL(p_j || p_i). The constant keeps the logarithm finite where a probability
  // is 0.
  const auto p = checked("kl_divergence", outputs).add_(kKlEps);
  const auto log_p = p.log();
  auto sum = at::zeros({}, p.options());

  for (int64_t i = 0; i < p.size(0); ++i)
    for (int64_t j = i + 1; j < p.size(0); ++j) sum -= (p[j] * (log_p[j] - log_p[i])).sum();
  return mean_over_pairs(sum, p.size(0)) / static_cast<double>(p.size(1));
}

}  // namespace dissent::scores
