#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.hpp"

// Exchange of fields [M, B, ...] between ranks with different members, or with different rows of a
// batch, in a training step.
namespace dissent {

/// A field that is split over the ranks of a group. With D data ranks (innermost), rank r has
/// members part_of(members, size / D, r / D) in the first dimension and rows part_of(rows, D, r %
/// D) in the second; the other dimensions, the dtype and the type of device have to be those of
/// rank 0.
struct SplitField {
  std::string name;  ///< for error messages
  at::Tensor local;
  int64_t members;   ///< M, or -1: as many as rank 0 has
  int64_t rows;      ///< B, or -1
  int64_t data = 1;  ///< D
};

/// Throws Error::kUsage on every rank of the group, with the field, the rank, what was expected and
/// what was found, unless the parts fit together. One small message for all fields (NCCL groups
/// synchronise their stream). Collective; all ranks pass the same fields.
void check_fields(Communicator& group, const std::string& caller,
                  const std::vector<SplitField>& fields);

/// The whole field from the members of all ranks, in member order: the parts of other ranks as
/// constants, the part of this rank with its graph. So a backward pass gives the exact derivative
/// with respect to this rank's members without communication.
/// members  ranks with the same rows, over memory of local's device
/// local    [m, ...]  m = part_of(total, ranks, rank).count; f32, f64, i32, i64 or u8
/// returns  [total, ...], contiguous
/// name     of `local`, for error messages
/// Throws like check_fields, before any data is sent. Collective.
at::Tensor all_members(Communicator& members, const at::Tensor& local, int64_t total,
                       const std::string& name = "local");

/// all_members for a split batch: local [M, b, ...], b = part_of(rows, ranks, rank).count, of ranks
/// with the same members; returns [M, rows, ...].
at::Tensor whole_batch(Communicator& data, const at::Tensor& local, int64_t rows,
                       const std::string& name = "local");

/// all_members and whole_batch for fields that check_fields has already checked.
at::Tensor gather_members(Communicator& members, const at::Tensor& local, int64_t total);
at::Tensor gather_rows(Communicator& data, const at::Tensor& local, int64_t rows);

}  // namespace dissent
