#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dissent::losses {

/// Rows of each class in ascending order; element c holds the rows with label c, and may be empty.
/// labels [N] i64 on the CPU, >= 0, N >= 1 (else Error::kUsage).
std::vector<std::vector<int64_t>> rows_of_classes(const at::Tensor& labels);

/// One batch with the same number of samples of each of its classes, as DICE needs: batch_size /
/// samples_per_class different classes, drawn without replacement and weighted by their frequency
/// in the data, and samples_per_class rows of each class, drawn with replacement. Rows of a class
/// are consecutive, in the order in which classes were drawn. A pure function of (seed, epoch,
/// step): each step of each epoch has its own draw (the reference repeats the same batches in every
/// epoch, and numbers classes by first appearance although it counts frequencies by label).
/// Throws Error::kUsage: batch_size is not a positive multiple of samples_per_class; fewer classes
/// with rows than a batch needs.
/// Ref: sdde openood/datasets/sampler.py ShuffledClassBalancedBatchSampler.
std::vector<int64_t> balanced_rows(const std::vector<std::vector<int64_t>>& rows_of_classes,
                                   int64_t batch_size, int64_t samples_per_class, uint64_t seed,
                                   int64_t epoch, int64_t step);

}  // namespace dissent::losses
