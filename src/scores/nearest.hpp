#pragma once
#include <ATen/core/Tensor.h>

// The k-th nearest of many rows on the CPU, in the speed of single precision and with the digits of
// double precision.
//
// Products q t of f32 unit vectors of D values, added up in any order, are off by at most e = (D +
// 5) 2^-24 / (1 - (D + 5) 2^-24): 4.6e-5 for D = 768. They only choose: a row of the bank is looked
// at where its product is above 1 - d / 2 - e, d the k-th smallest squared distance so far; its
// distance is then taken in f64, value by value, and only that counts. A row that is passed over is
// farther away than k others, so the answer is the k-th smallest of all f64 distances. Each depends
// on its two rows alone: the same bits for any blocks, any threads, any split of the samples. Rows
// within e of the k-th are looked at in vain: few, unless the bank holds many copies (a bank of
// nothing else costs about 10 times the products).
// Where torch is told to round f32 products to less (set_float32_matmul_precision), products are
// f64.
namespace dissent::scores {

/// Squared distances [n] f64 of rows [n, D] f64 to their k-th nearest of bank [R, D] f32 or f64,
/// all over their norm. A zero row is at distance 1 from rows that are not; rows that are not
/// finite count as zero. Runs on the process's threads, which take blocks of block_rows rows of the
/// bank in turn. Memory of a thread: products [n, block_rows], the block's unit vectors
/// [block_rows, D], f32; k f64 a row.
at::Tensor kth_distances(const at::Tensor& rows, const at::Tensor& bank, int64_t k,
                         int64_t block_rows);

}  // namespace dissent::scores
