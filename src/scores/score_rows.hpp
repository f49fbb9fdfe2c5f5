#pragma once
#include <dissent/scores/postprocessor.hpp>

#include <functional>

namespace dissent::scores {

/// A tensor of the state, or Error::kUsage that names the post-processor and what is missing.
const at::Tensor& from_state(const char* name, const State& state, const std::string& key);
double number_from_state(const char* name, const State& state, const std::string& key);
int64_t count_from_state(const char* name, const State& state, const std::string& key);

/// What is scored: features [N, D] and logits [N, C], each only where it is read (wanted columns
/// given).
struct Scored {
  const char* name;
  at::Tensor features, logits;
  int64_t dimension = 0;  ///< D wanted; 0: features are not read
  int64_t classes = 0;    ///< C wanted; -1: any; 0: logits are not read
  bool wide = false;      ///< f runs on all threads itself: blocks come one after the other
};

/// f on blocks of rows (h, z in f64; undefined where they are not read), on the process's threads;
/// its values [rows] joined to [N] f64. Rows with a feature that is not finite become NaN.
at::Tensor score_rows(const Scored& scored,
                      const std::function<at::Tensor(const at::Tensor& h, const at::Tensor& z)>& f,
                      int64_t block_rows = kBlockRows);

}  // namespace dissent::scores
