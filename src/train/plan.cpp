#include "train/plan.hpp"

#include <deque>
#include <unordered_set>

#include "core/random.hpp"

namespace dissent {

int64_t steps_per_epoch(const PlanOptions& options) { return (options.rows_per_pass + options.batch_size - 1) / options.batch_size; }

EpochPlan::EpochPlan(const PlanOptions& options, int64_t epoch) : options_(options), epoch_(epoch), steps_(steps_per_epoch(options)) {
  order_ = Random(options.seed, Purpose::kOrder, epoch).permutation(options.rows_per_pass);
  if (options.unlabelled_rows > 0) unlabelled_order_ = Random(options.seed, Purpose::kUnlabelledOrder, epoch).permutation(options.unlabelled_rows);
}

Step EpochPlan::step(int64_t index) const {
  Step step{epoch_, index, {}, {}, {}, 0};
  const int64_t first = index * options_.batch_size;
  const int64_t last = std::min(first + options_.batch_size, options_.rows_per_pass);
  step.rows.assign(order_.begin() + first, order_.begin() + last);
  if (!unlabelled_order_.empty())
    for (int64_t i = first; i < first + options_.batch_size; ++i) step.unlabelled_rows.push_back(unlabelled_order_[i % options_.unlabelled_rows]);
  if (options_.round_robin) {
    step.active = {epoch_ % options_.members};
  } else {
    step.active = Random(options_.seed, Purpose::kActive, epoch_, index).choose(options_.members, options_.active);
  }
  step.drawn = Random(options_.seed, Purpose::kRepulsion, epoch_, index).below(static_cast<uint32_t>(step.active.size()));
  return step;
}

std::vector<std::vector<int64_t>> make_waves(const std::vector<Step>& steps, int64_t look_ahead) {
  std::vector<std::vector<int64_t>> waves;
  std::deque<int64_t> window;
  int64_t next = 0;
  const auto refill = [&] {
    while (static_cast<int64_t>(window.size()) < look_ahead && next < static_cast<int64_t>(steps.size())) window.push_back(next++);
  };
  for (refill(); !window.empty(); refill()) {
    std::vector<int64_t> wave;
    std::deque<int64_t> waiting;
    std::unordered_set<int64_t> blocked;
    for (const int64_t at : window) {
      const auto& active = steps[at].active;
      const bool free = std::none_of(active.begin(), active.end(), [&](int64_t member) { return blocked.contains(member); });
      (free ? (void)wave.push_back(at) : (void)waiting.push_back(at));
      blocked.insert(active.begin(), active.end());
    }
    window.swap(waiting);
    waves.push_back(std::move(wave));
  }
  return waves;
}

}  // namespace dissent
