#pragma once
#include <dissent/scores/postprocessor.hpp>

#include <cstdint>
#include <functional>
#include <string>

namespace dissent::scores {

/// A tensor of the state; Error::kUsage naming the post-processor and the tensor if it is missing.
const at::Tensor& from_state(const char* name, const State& state, const std::string& key);
/// A tensor with a single value, as a number.
double number_from_state(const char* name, const State& state, const std::string& key);
int64_t count_from_state(const char* name, const State& state, const std::string& key);

/// Inputs of a score: features [N, D] and logits [N, C]; an input is read if its number of columns
/// is given.
struct Scored {
  const char* name;
  at::Tensor features, logits;
  int64_t dimension = 0;  ///< expected D; 0: features are not read
  int64_t classes = 0;    ///< expected C; -1: any; 0: logits are not read
  bool wide = false;      ///< f uses all threads: blocks are computed one after another
};

/// Computes f on blocks of rows (h, z in f64; undefined if not read), on the process's threads, and
/// concatenates its values [rows] to [N] f64. Rows with a feature that is not finite become NaN.
/// Error::kUsage for shape, dtype, and different numbers of rows.
at::Tensor score_rows(const Scored& scored,
                      const std::function<at::Tensor(const at::Tensor& h, const at::Tensor& z)>& f,
                      int64_t block_rows = kBlockRows);

}  // namespace dissent::scores
