#include "scores/score_rows.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include <fmt/format.h>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"
#include "core/tensor_check.hpp"

namespace dissent::scores {
namespace {

void check(const char* name, const char* what, const at::Tensor& rows, int64_t columns) {
  const bool fits = rows.defined() && rows.dim() == 2 &&
                    (rows.size(1) == columns || (columns < 0 && rows.size(1) >= 1)) &&
                    (rows.scalar_type() == at::kFloat || rows.scalar_type() == at::kDouble);
  DISSENT_CHECK(fits, kUsage, "{}: {}: expected [N, {}] of f32 or f64, found {}", name, what,
                columns < 0 ? "C >= 1" : fmt::format("{}", columns), describe(rows));
}

}  // namespace

const at::Tensor& from_state(const char* name, const State& state, const std::string& key) {
  const auto found = state.find(key);
  DISSENT_CHECK(
      found != state.end(), kUsage,
      "{}: state: expected a tensor '{}', found none: the state belongs to another post-processor",
      name, key);
  return found->second;
}

double number_from_state(const char* name, const State& state, const std::string& key) {
  return from_state(name, state, key).item<double>();
}
int64_t count_from_state(const char* name, const State& state, const std::string& key) {
  return from_state(name, state, key).item<int64_t>();
}

at::Tensor score_rows(const Scored& scored,
                      const std::function<at::Tensor(const at::Tensor&, const at::Tensor&)>& f,
                      int64_t block_rows) {
  const bool has_features = scored.dimension != 0, has_logits = scored.classes != 0;
  if (has_features) check(scored.name, "features", scored.features, scored.dimension);
  if (has_logits) check(scored.name, "logits", scored.logits, scored.classes);

  const auto& rows = has_features ? scored.features : scored.logits;
  DISSENT_CHECK(!has_logits || scored.logits.size(0) == rows.size(0), kUsage,
                "{}: logits: expected as many rows as the features {}, found {}", scored.name,
                describe(rows), describe(scored.logits));

  auto scores = at::empty({rows.size(0)}, rows.options().dtype(at::kDouble));
  const auto block = [&](int64_t task) {
    const int64_t first = task * block_rows, count = std::min(block_rows, rows.size(0) - first);
    const auto part = [&](bool has, const at::Tensor& all) {
      return has ? all.detach().narrow(0, first, count).to(at::kDouble) : at::Tensor();
    };

    const auto h = part(has_features, scored.features), z = part(has_logits, scored.logits);
    auto values = f(h, z);

    // A sample with features that are not finite has no score; otherwise comparisons (top k,
    // argmax) would drop the NaN and give a number that looks valid.
    if (has_features)
      values = values.masked_fill(h.isfinite().all(1).logical_not(),
                                  std::numeric_limits<double>::quiet_NaN());
    scores.narrow(0, first, count).copy_(values);
  };

  // Functions marked wide use all threads inside of a block; the others run one block per thread.
  const int64_t blocks = divide_up(rows.size(0), block_rows);
  if (rows.device().is_cpu() && !scored.wide)
    parallel_tasks(blocks, block);
  else
    for (int64_t i = 0; i < blocks; ++i) block(i);
  return scores;
}

}  // namespace dissent::scores
