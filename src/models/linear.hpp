#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace dissent {

/// Products of a linear layer, split into blocks whose sizes depend on the shapes alone. A block is
/// one product on one thread; blocks run as tasks (core/parallel.hpp). The result is therefore
/// bitwise the same for any number of threads. On a CUDA device a product is one block.

/// y = x w' + b.   x [B, in], w [out, in], b [out]; returns [B, out]
at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& b);

/// dx = dy w.   dy [B, out], w [out, in]; returns [B, in]
at::Tensor linear_input_gradient(const at::Tensor& dy, const at::Tensor& w);

/// The same for a stack of n members, one batched product each: x [n, B, in], w [n, out, in], b [n,
/// out]; returns [n, B, out].
at::Tensor stacked_linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& b);
/// dy [n, B, out], w [n, out, in]; returns [n, B, in]
at::Tensor stacked_linear_input_gradient(const at::Tensor& dy, const at::Tensor& w);
/// Writes dw = dy' x [n, out, in] and db [n, out], converting to their dtype.
void stacked_linear_gradient(const at::Tensor& dy, const at::Tensor& x, at::Tensor dw,
                             at::Tensor db);

/// Elements of one block of a weight gradient: 384 KiB in f32, which stay in a core's cache. A
/// weight's block has 16 rows at least.
inline constexpr int64_t kWeightGradientBlock = 96 * 1024;

/// A block of rows of a weight [out, in].
struct RowBlock {
  int64_t first;
  int64_t count;
};

/// Number of row blocks in which the weight gradient dw = dy' x of a weight [out, in] is computed
/// (a block of dw stays in a core's cache).
int64_t weight_blocks(int64_t out, int64_t in, bool cuda);
RowBlock weight_block(int64_t out, int64_t in, bool cuda, int64_t index);

}  // namespace dissent
