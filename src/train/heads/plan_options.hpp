#pragma once
#include <algorithm>
#include <cstdint>

#include "train/config/head_config.hpp"
#include "train/heads/head_plan.hpp"

namespace dissent {

/// Numbers of rows of the data that a plan is made for.
struct PlanRows {
  int64_t rows_per_pass = 0;
  int64_t passes = 1;
  int64_t unlabelled_rows = 0;
};

/// The plan of a configuration on this data, for training and for the predictions of `dissent
/// plan`.
inline PlanOptions plan_options(const TrainConfig& config, uint64_t seed, const PlanRows& rows) {
  return {.seed = seed,
          .rows_per_pass = rows.rows_per_pass,
          .passes = rows.passes,
          .batch_size = std::min(config.data.batch_size, rows.rows_per_pass),
          .unlabelled_rows = rows.unlabelled_rows,
          .members = config.ensemble.members,
          .active = config.active_members(),
          .round_robin = config.ensemble.selection == Selection::kRoundRobin,
          .chunk_rows = config.data.chunk_rows};
}

/// Rows per block of validation: logits of all members take about 64 MiB, within 16 .. 1024 rows.
inline int64_t validation_block_rows(int64_t members, int64_t classes) {
  constexpr int64_t kBlockValues = int64_t{1} << 24;
  return std::clamp<int64_t>(kBlockValues / (members * classes), 16, 1024);
}

}  // namespace dissent
