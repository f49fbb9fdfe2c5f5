#include "train/heads/head_plan.hpp"

#include <algorithm>

#include "core/divide_up.hpp"
#include "core/random.hpp"

namespace dissent {

PassChunks::PassChunks(const PlanOptions& options) {
  const auto steps = [&](int64_t of) { return divide_up(of, options.batch_size); };
  rows = options.chunk_rows > 0 ? std::min(options.chunk_rows, options.rows_per_pass)
                                : options.rows_per_pass;
  count = rows > 0 ? divide_up(options.rows_per_pass, rows) : 1;

  // The last chunk may be shorter, and each chunk ends with a batch of its own that may be short.
  last_rows = options.rows_per_pass - (count - 1) * rows;
  steps_each = std::max<int64_t>(1, steps(rows));
  last_steps = steps(last_rows);
}

int64_t steps_per_epoch(const PlanOptions& options) { return PassChunks(options).steps(); }

EpochPlan::EpochPlan(const PlanOptions& options, int64_t epoch)
    : options_(options), epoch_(epoch), chunks_(options) {
  // Each chunk has a random order of its own: a stream of rows needs one chunk in memory at a time.
  for (int64_t chunk = 0; chunk < chunks_.count; ++chunk) {
    auto order = Random(options.seed, Purpose::kOrder, epoch, chunk)
                     .permutation(chunk + 1 < chunks_.count ? chunks_.rows : chunks_.last_rows);
    for (auto& row : order) row += chunk * chunks_.rows;
    if (chunk == 0)
      order_ = std::move(order);
    else
      order_.insert(order_.end(), order.begin(), order.end());
  }

  if (options.unlabelled_rows > 0)
    unlabelled_order_ =
        Random(options.seed, Purpose::kUnlabelledOrder, epoch).permutation(options.unlabelled_rows);
}

Step EpochPlan::step(int64_t index) const {
  Step step{epoch_, index, {}, {}, {}, 0};

  // A batch ends with its chunk.
  const int64_t chunk = chunk_of(index);
  const int64_t first = chunk * chunks_.rows + (index - chunk_begin(chunk)) * options_.batch_size;
  const int64_t last =
      std::min({first + options_.batch_size, (chunk + 1) * chunks_.rows, options_.rows_per_pass});
  step.rows.assign(order_.begin() + first, order_.begin() + last);

  // The unlabelled set may be smaller than the training set: its order repeats.
  if (!unlabelled_order_.empty())
    for (int64_t i = 0; i < options_.batch_size; ++i)
      step.unlabelled_rows.push_back(
          unlabelled_order_[(index * options_.batch_size + i) % options_.unlabelled_rows]);

  // Each draw has its own random stream, keyed by seed, epoch and step: the plan does not depend on
  // which ranks compute which steps.
  if (options_.round_robin) {
    step.active = {epoch_ % options_.members};
  } else {
    step.active = Random(options_.seed, Purpose::kActive, epoch_, index)
                      .choose(options_.members, options_.active);
  }
  step.drawn_position = Random(options_.seed, Purpose::kRepulsion, epoch_, index)
                            .below(static_cast<uint32_t>(step.active.size()));
  return step;
}

}  // namespace dissent
