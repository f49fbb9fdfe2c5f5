#include "kernels/momentum_linear.hpp"

namespace dissent::kernels {
namespace {

struct Numbers {
  float momentum, weight_decay, learning_rate;
};

#if defined(__x86_64__)

// Uses the compiler's vector extension; the code of a tile is inlined into one function per
// instruction set.
template <int kBytes>
struct Vector {
  using Type [[gnu::vector_size(kBytes)]] = float;
  [[gnu::always_inline]] static inline void load(Type& vector, const float* from) {
    __builtin_memcpy(&vector, from, kBytes);
  }
  [[gnu::always_inline]] static inline void store(float* to, const Type& vector) {
    __builtin_memcpy(to, &vector, kBytes);
  }
};

// kRows rows of kVectors vectors at (row, column), kept in registers over the batch.
template <int kBytes, int kRows, int kVectors>
[[gnu::always_inline]] inline void tile(const LinearBlock& block, const Numbers& n, int64_t row,
                                        int64_t column) {
  using V = typename Vector<kBytes>::Type;
  constexpr int64_t kWidth = kBytes / 4;

  // The sums stay in registers: 16 of 32 with AVX-512, 8 of 16 with AVX2.
  V sum[kRows][kVectors];
  const int64_t first = row * block.columns + column;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = first + r * block.columns + v * kWidth, next = at + kRows * block.columns;
      Vector<kBytes>::load(sum[r][v], block.velocity + at);
      sum[r][v] *= n.momentum;
      // Prefetch the next rows: short pieces of many rows are more streams than the hardware
      // prefetcher tracks (measured: 3 times the speed from memory).
      __builtin_prefetch(block.velocity + next, 1, 2);
      __builtin_prefetch(block.weight + next, 1, 2);
    }

  //   v = momentum v + sum over the batch of dy' x
  for (int64_t b = 0; b < block.batch; ++b) {
    // One outer product dy' x of a row of the batch, added to the velocity in registers.
    const float* x = block.x + b * block.x_stride + column;
    const float* dy = block.dy + b * block.dy_stride + row;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      V values;
      Vector<kBytes>::load(values, x + v * kWidth);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sum[r][v] += values * dy[r];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = first + r * block.columns + v * kWidth;
      V weight;
      Vector<kBytes>::load(weight, block.weight + at);
      // Weight and velocity are read and written once per step.
      const V velocity = sum[r][v] + weight * n.weight_decay;
      Vector<kBytes>::store(block.velocity + at, velocity);
      Vector<kBytes>::store(block.weight + at, weight - velocity * n.learning_rate);
    }
}

// The same for the elements to the right of the last tile.
[[gnu::always_inline]] inline void elements(const LinearBlock& block, const Numbers& n, int64_t row,
                                            int64_t column) {
  for (; column < block.columns; ++column) {
    const int64_t at = row * block.columns + column;

    //   v = momentum v + dy' x + wd p;  p -= lr v
    float sum = block.velocity[at] * n.momentum;
    for (int64_t b = 0; b < block.batch; ++b)
      sum += block.x[b * block.x_stride + column] * block.dy[b * block.dy_stride + row];

    sum += block.weight[at] * n.weight_decay;
    block.velocity[at] = sum;
    block.weight[at] -= sum * n.learning_rate;
  }
}

template <int kBytes, int kRows, int kVectors>
[[gnu::always_inline]] inline void all(const LinearBlock& block, const Numbers& n) {
  constexpr int64_t kColumns = kVectors * kBytes / 4, kNarrow = kBytes / 4;

  // Complete tiles, then narrower ones, then single elements: each element is written once.
  int64_t row = 0;
  for (; row + kRows <= block.rows; row += kRows) {
    int64_t column = 0;
    for (; column + kColumns <= block.columns; column += kColumns)
      tile<kBytes, kRows, kVectors>(block, n, row, column);
    for (; column + kNarrow <= block.columns; column += kNarrow)
      tile<kBytes, kRows, 1>(block, n, row, column);
    for (int r = 0; r < kRows; ++r) elements(block, n, row + r, column);
  }

  // Rows below the last complete tile, one at a time.
  for (; row < block.rows; ++row) {
    int64_t column = 0;
    for (; column + kNarrow <= block.columns; column += kNarrow)
      tile<kBytes, 1, 1>(block, n, row, column);
    elements(block, n, row, column);
  }
}

// In both functions multiply and add are contracted to one operation with one rounding, gcc's
// default for these instruction sets.
[[gnu::target("avx512f")]] void with_avx512(const LinearBlock& block, const Numbers& n) {
  all<64, 8, 2>(block, n);
}
[[gnu::target("avx2,fma")]] void with_avx2(const LinearBlock& block, const Numbers& n) {
  all<32, 4, 2>(block, n);
}

#endif

}  // namespace

bool momentum_linear(const LinearBlock& block, float momentum, float weight_decay,
                     float learning_rate) {
#if defined(__x86_64__)
  const Numbers numbers{momentum, weight_decay, learning_rate};

  // The instruction set is chosen at run time: one program runs on all nodes of a cluster.
  if (__builtin_cpu_supports("avx512f")) {
    with_avx512(block, numbers);
    return true;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    with_avx2(block, numbers);
    return true;
  }
#endif
  static_cast<void>(block), static_cast<void>(momentum), static_cast<void>(weight_decay),
      static_cast<void>(learning_rate);
  return false;
}

}  // namespace dissent::kernels
