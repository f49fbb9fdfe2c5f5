#pragma once
#include <algorithm>
#include <cstdint>

#include "train/config/image_config.hpp"
#include "train/images/image_plan.hpp"

namespace dissent {

/// The plan of a configuration on sets of so many images: what training computes and `dissent plan`
/// predicts. Class-balanced batches need rows_of_classes in addition, which only the labels say.
inline ImagePlanOptions image_plan_options(const ImageTrainConfig& config, uint64_t seed,
                                           int64_t rows, int64_t unlabelled_rows) {
  ImagePlanOptions plan;
  plan.seed = seed;
  plan.rows = rows;
  plan.batch_size = std::min(config.data.batch_size, rows);
  plan.members = config.ensemble.members;
  plan.same_batch = config.data.same_batch;
  plan.drop_last = config.data.drop_last;
  plan.unlabelled_rows = unlabelled_rows;
  plan.unlabelled_batch = config.with_unlabelled ? config.unlabelled.batch_size : 0;
  plan.accumulation = config.training.accumulation;
  if (config.data.sampler == Sampler::kClassBalanced)
    plan.samples_per_class = config.data.samples_per_class;
  return plan;
}

}  // namespace dissent
