#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

// The k-th nearest of many rows on the CPU, at the speed of single precision and with the accuracy
// of double precision.
//
// Products q t of f32 unit vectors of D values, added up in any order, are off by at most e = (D +
// 5) 2^-24 / (1 - (D + 5) 2^-24): 4.6e-5 for D = 768. They only select candidates: a row of the
// bank is a candidate if its product is above 1 - d / 2 - e, d the k-th smallest squared distance
// so far; its distance is then computed in f64, value by value. A row that is not a candidate is
// farther away than k others, so the result is the k-th smallest of all f64 distances. Each
// distance depends only on its two rows: the same bits for any blocks, threads and split of the
// samples. Candidates within e of the k-th are computed without effect: few, unless the bank holds
// many copies (a bank of copies alone costs about 10 times the products). If torch is set to
// compute f32 products with less precision (set_float32_matmul_precision), products are computed in
// f64.
namespace dissent::scores {

/// Squared distances [n] f64 of rows [n, D] f64 to their k-th nearest of bank [R, D] f32 or f64,
/// all divided by their norm. A zero row is at distance 1 from other rows; rows that are not finite
/// count as zero. Runs on the process's threads, which take blocks of block_rows rows of the
/// bank in turn. Memory per thread: products [n, block_rows], the block's unit vectors
/// [block_rows, D], f32; k f64 per row.
at::Tensor kth_distances(const at::Tensor& rows, const at::Tensor& bank, int64_t k,
                         int64_t block_rows);

}  // namespace dissent::scores
