#pragma once
#include <cstdint>

namespace dissent::kernels {

/// Pointers to a block of rows of a linear weight [rows, columns] and its momentum, and to the
/// factors of its gradient dw = dy' x.
struct LinearBlock {
  float* weight;
  float* velocity;
  const float* dy;  ///< [batch, dy_stride]; columns 0 .. rows - 1 are read
  int64_t dy_stride;
  const float* x;  ///< [batch, x_stride]; columns 0 .. columns - 1 are read
  int64_t x_stride;
  int64_t batch, rows, columns;
};

/// SGD with momentum in one pass over weight and momentum, each element read and written once:
///   v = momentum v + sum over b of dy_b x_b + weight_decay w;   w -= learning_rate v
/// The sum is added in the order of b, so the result is bitwise independent of the blocks into
/// which a weight is split. One thread. Returns false and does nothing if the processor has neither
/// AVX-512 nor AVX2 with FMA.
bool momentum_linear(const LinearBlock& block, float momentum, float weight_decay,
                     float learning_rate);

}  // namespace dissent::kernels
