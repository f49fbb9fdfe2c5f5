#include "evaluate/values/reduce.hpp"

#include <dissent/metrics/conformal.hpp>
#include <dissent/metrics/reliability.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "core/tensor_check.hpp"

namespace dissent {
namespace {

// Maps doubles to unsigned keys of the same order. -0 has been replaced by 0 before.
uint64_t key_of(double value) {
  const auto bits = std::bit_cast<uint64_t>(value);
  return bits >> 63 ? ~bits : bits | (uint64_t{1} << 63);
}

double value_of(uint64_t key) {
  return std::bit_cast<double>(key >> 63 ? key & ~(uint64_t{1} << 63) : ~key);
}

}  // namespace

at::Tensor merged_state(Communicator& comm, at::Tensor state) {
  DISSENT_CHECK(state.defined() && state.scalar_type() == at::kLong && state.is_contiguous() &&
                    state.device().is_cpu(),
                kUsage, "merged_state: state: expected contiguous Long cpu, found {}",
                describe(state));

  // all_reduce() works in place, and the state is the caller's.
  state = state.clone();
  comm.all_reduce(state, ReduceOp::kSum);
  return state;
}

SortedScores::SortedScores(Communicator& comm, const at::Tensor& scores, const std::string& set,
                           const std::string& score) {
  agree(comm, [&] {
    DISSENT_CHECK(scores.defined() && scores.dim() == 1 &&
                      (scores.scalar_type() == at::kFloat || scores.scalar_type() == at::kDouble),
                  kUsage, "sorted_scores: {} of {}: expected [n] of f32 or f64, found {}", score,
                  set, describe(scores));
  });

  const auto host = scores.detach().to(at::kCPU).contiguous();
  values_.reserve(host.numel());
  int64_t nan = 0;

  // -0 and 0 are the same score but different bits, which scores_at() compares.
  const auto append = [&](const auto* data) {
    for (int64_t i = 0; i < host.numel(); ++i) {
      nan += std::isnan(data[i]);
      values_.push_back(static_cast<double>(data[i]) + 0.0);  // -0 + 0 = 0
    }
  };
  if (host.scalar_type() == at::kFloat)
    append(host.const_data_ptr<float>());
  else
    append(host.const_data_ptr<double>());

  // A NaN on any rank is an error on all ranks, so the counts are summed first.
  auto counts = at::tensor(std::vector<int64_t>{nan, host.numel()}, at::kLong);
  comm.all_reduce(counts, ReduceOp::kSum);
  total_ = counts[1].item<int64_t>();
  const auto all_nan = counts[0].item<int64_t>();
  agree(comm, [&] {
    DISSENT_CHECK(all_nan == 0, kData, "set {}: score {}: expected numbers, found {} of {} NaN",
                  set, score, all_nan, total_);
  });

  std::sort(values_.begin(), values_.end(), std::greater<>());
}

SortedScores SortedScores::joined(std::vector<SortedScores> parts) {
  SortedScores all;
  for (auto& part : parts) {
    // Parts are sorted, so merging keeps the order.
    const auto middle = static_cast<std::ptrdiff_t>(all.values_.size());
    all.values_.insert(all.values_.end(), part.values_.begin(), part.values_.end());
    std::inplace_merge(all.values_.begin(), all.values_.begin() + middle, all.values_.end(),
                       std::greater<>());
    all.total_ += part.total_;
    part.values_ = {};
  }
  return all;
}

int64_t SortedScores::above(double value) const {
  return std::lower_bound(values_.begin(), values_.end(), value, std::greater<>()) -
         values_.begin();
}

std::vector<double> scores_at(Communicator& comm, const SortedScores& scores,
                              const std::vector<int64_t>& positions) {
  for (const int64_t position : positions)
    DISSENT_CHECK(position >= 0 && position < scores.total(), kUsage,
                  "scores_at: position: expected 0 .. {}, found {}", scores.total() - 1, position);

  // Bisection for the largest key with more than `position` samples at or above it.
  std::vector<uint64_t> low(positions.size(), key_of(-HUGE_VAL)),
      high(positions.size(), key_of(HUGE_VAL));
  while (low != high) {
    auto at_least = at::empty({static_cast<int64_t>(positions.size())}, at::kLong);

    // Rounded up, so that two neighbouring keys are separated too.
    const auto middle = [&](size_t i) {
      return low[i] + (high[i] - low[i]) / 2 + (high[i] - low[i]) % 2;
    };
    for (size_t i = 0; i < positions.size(); ++i) {
      const auto end = std::upper_bound(scores.values().begin(), scores.values().end(),
                                        value_of(middle(i)), std::greater<>());
      at_least.data_ptr<int64_t>()[i] = end - scores.values().begin();
    }

    // One message per step for all positions; 64 steps at most, however many scores there are.
    comm.all_reduce(at_least, ReduceOp::kSum);

    for (size_t i = 0; i < positions.size(); ++i) {
      const auto key = middle(i);
      if (at_least.const_data_ptr<int64_t>()[i] > positions[i])
        low[i] = key;
      else
        high[i] = key - 1;
      if (low[i] > high[i]) high[i] = low[i];
    }
  }

  std::vector<double> values;
  for (const auto key : low) values.push_back(value_of(key));
  return values;
}

std::vector<double> ccr_over_ranks(Communicator& comm, const SortedScores& right, int64_t id_count,
                                   const SortedScores& ood, const std::vector<double>& fprs) {
  std::vector<int64_t> positions;
  agree(comm, [&] {
    DISSENT_CHECK(id_count > 0 && ood.total() > 0, kData,
                  "ccr: expected at least one ID and one OOD sample, found {} and {}", id_count,
                  ood.total());
    for (const double fpr : fprs) check_range("ccr", "fpr", fpr, 0, 1);
  });

  // The threshold of a rate is the score that this share of the unknown inputs reaches; with no
  // allowed one it is the smallest score, as in OpenOOD.
  for (const double fpr : fprs) {
    const auto allowed = static_cast<int64_t>(std::ceil(fpr * static_cast<double>(ood.total())));
    positions.push_back(allowed == 0 ? ood.total() - 1 : allowed - 1);
  }
  std::vector<int64_t> above;
  for (const double threshold : scores_at(comm, ood, positions))
    above.push_back(right.above(threshold));

  // Each rank counts its correct predictions above the thresholds; only the sums are exchanged.
  auto counts = at::tensor(above, at::kLong);
  comm.all_reduce(counts, ReduceOp::kSum);

  std::vector<double> rates;
  for (size_t i = 0; i < fprs.size(); ++i)
    rates.push_back(static_cast<double>(counts.const_data_ptr<int64_t>()[i]) /
                    static_cast<double>(id_count));
  return rates;
}

double equal_mass_error_over_ranks(Communicator& comm, const SortedScores& sorted,
                                   const at::Tensor& confidence, const at::Tensor& right,
                                   int64_t bins) {
  std::vector<int64_t> positions;
  agree(comm, [&] { positions = metrics::quantile_positions(sorted.total(), bins); });
  for (auto& position : positions)
    position = sorted.total() - 1 - position;  // of the ascending order

  // The edges are the same on all ranks, so the integer states of the bins can be added.
  metrics::Reliability state(
      metrics::quantile_edges(scores_at(comm, sorted, positions), sorted.total(), bins));
  agree(comm, [&] { state.update(confidence, right); });
  state.from_state(merged_state(comm, state.state()));
  return state.expected_error();
}

double conformal_quantile_over_ranks(Communicator& comm, const SortedScores& scores, double level) {
  agree(comm, [&] {
    check_range("conformal_quantile", "level", level, 0, 1);
    DISSENT_CHECK(scores.total() > 0, kData,
                  "conformal_quantile: expected at least one calibration sample, found none");
  });

  // Position in ascending order; scores are sorted in descending order.
  const auto position = metrics::conformal_position(scores.total(), level);
  return position < 0 ? HUGE_VAL : scores_at(comm, scores, {scores.total() - 1 - position})[0];
}

}  // namespace dissent
