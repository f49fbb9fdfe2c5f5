#include "data/datasets/synthetic.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cmath>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"
#include "core/random.hpp"

namespace dissent {
namespace {

constexpr int64_t kLevels = 65536;
constexpr int64_t kTaskRows = 1024;
constexpr double kDistance = 4;  // between the means of two classes, in deviations of a feature

// Purpose of a draw: the first part of its key.
enum Stream : uint64_t { kMeans, kTrainLabels, kTestLabels, kFeatures };

// values[i] = base[i] + scale * quantile of half a draw: one 32-bit draw gives two values. `values`
// may be `base`.
void add_normal(const float* base, float scale, const float* quantiles, Random random,
                int64_t count, float* values) {
  for (int64_t i = 0; i < count; i += 2) {
    const uint32_t draw = random.next();
    values[i] = base[i] + scale * quantiles[draw & (kLevels - 1)];
    if (i + 1 < count) values[i + 1] = base[i + 1] + scale * quantiles[draw >> 16];
  }
}

}  // namespace

SyntheticSet::SyntheticSet(const SyntheticOptions& options) : options_(options) {
  DISSENT_CHECK(options.rows >= 1 && options.dim >= 1 && options.classes >= 1, kUsage,
                "synthetic set: expected rows, features and classes >= 1, found {}, {} and {}",
                options.rows, options.dim, options.classes);

  // Quantiles of the normal distribution at the centres of equal probabilities.
  const auto probability = at::arange(kLevels, at::kDouble).add_(0.5).div_(kLevels);
  quantiles_ = probability.mul(2).sub_(1).erfinv_().mul_(std::sqrt(2.0)).to(at::kFloat);

  // Each mean has deviation scale per feature, so two means are sqrt(2 dim) scale = kDistance
  // apart.
  means_ = at::zeros({options.classes, options.dim}, at::kFloat);
  const auto scale =
      static_cast<float>(kDistance / std::sqrt(2.0 * static_cast<double>(options.dim)));
  for (int64_t c = 0; c < options.classes; ++c) {
    float* mean = means_.data_ptr<float>() + c * options.dim;
    add_normal(mean, scale, quantiles_.const_data_ptr<float>(),
               Random(options.seed, Purpose::kNoise, kMeans, c), options.dim, mean);
  }
}

at::Tensor SyntheticSet::features(int64_t pass, int64_t first, int64_t count) const {
  // Row i of class y is mean_y + z, with z standard normal and keyed by (seed, pass, split, row):
  // any rank computes any row.
  const auto label = labels(first, count);
  auto values = at::empty({count, options_.dim}, at::kFloat);
  const int64_t* classes = label.const_data_ptr<int64_t>();
  const float *means = means_.const_data_ptr<float>(),
              *quantiles = quantiles_.const_data_ptr<float>();
  float* out = values.data_ptr<float>();

  // Every (pass, split) has its own stream of draws.
  const uint64_t stream = kFeatures + 2 * static_cast<uint64_t>(pass) + (options_.test ? 1 : 0);
  parallel_tasks(divide_up(count, kTaskRows), [&](int64_t task) {
    for (int64_t row = task * kTaskRows; row < std::min(count, (task + 1) * kTaskRows); ++row)
      add_normal(means + classes[row] * options_.dim, 1, quantiles,
                 Random(options_.seed, Purpose::kNoise, stream, first + row), options_.dim,
                 out + row * options_.dim);
  });
  return values;
}

at::Tensor SyntheticSet::labels(int64_t first, int64_t count) const {
  DISSENT_CHECK(first >= 0 && count >= 0 && first + count <= options_.rows, kInternal,
                "synthetic set: expected rows inside a set of {2}, found {0} .. {1}", first,
                first + count, options_.rows);

  // A row has the same label in every pass, so the key of the draw has no pass.
  auto values = at::empty({count}, at::kLong);
  auto* out = values.data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i)
    out[i] = Random(options_.seed, Purpose::kNoise, options_.test ? kTestLabels : kTrainLabels,
                    first + i)
                 .below(static_cast<uint32_t>(options_.classes));
  return values;
}

}  // namespace dissent
