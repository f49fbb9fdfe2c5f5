#pragma once
#include <dissent/scores/postprocessor.hpp>

#include <cstdint>
#include <functional>

// Shared by fits: checks that name the post-processor, and sums over blocks of rows in f64
// (row_sums.cpp), which run on the process's threads on the CPU, with the same bits for any number
// of threads. Checks throw Error::kUsage for shape, dtype and device, and Error::kData naming how
// many values are not finite.
namespace dissent::scores {

/// The features of a set, [N >= 1, D >= 1] and finite; set_name for messages: "training",
/// "validation".
at::Tensor checked_features(const char* name, const char* set_name, const FeatureSet& set);
/// The logits of a set [N >= 1, C >= 1]: as given, else computed by the head.
at::Tensor checked_logits(const char* name, const char* set_name, const FeatureSet& set,
                          const LinearHead& head);
/// The labels, in 0 .. classes - 1.
at::Tensor checked_labels(const char* name, const char* set_name, const FeatureSet& set,
                          int64_t rows, int64_t classes, at::Device device);
/// The head for features of D dimensions, as f64.
LinearHead checked_head(const char* name, const LinearHead& head, int64_t dimension);
/// C, from the head, the logits, or else the largest label.
int64_t class_count(const FitData& data);

/// Calls f(block of rows in f64, first row) for all blocks in order.
void for_blocks(const at::Tensor& rows, int64_t block_rows,
                const std::function<void(const at::Tensor& block, int64_t first)>& f);
/// Number of values that are not finite.
int64_t count_not_finite(const at::Tensor& rows);
/// Mean over rows, [D] f64.
at::Tensor row_mean(const at::Tensor& rows);
/// Means of the rows of each class [C, D] f64, 0 for a class without rows. class_of_row [N] i64;
/// -1: the row is in none.
struct ClassMeans {
  at::Tensor mean, count;  ///< [C, D], [C] f64
};
ClassMeans class_means(const at::Tensor& rows, const at::Tensor& class_of_row, int64_t classes);

/// (1 / N) sum of x x^T: [D, D] f64. `centre` makes x [rows, D] of a block in f64, in place; it is
/// called once for each row, on any thread. Takes D^2 + 4096 D values.
at::Tensor second_moment(const at::Tensor& rows,
                         const std::function<void(at::Tensor& block, int64_t first)>& centre);

}  // namespace dissent::scores
