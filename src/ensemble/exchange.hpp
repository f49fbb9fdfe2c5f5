#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "comm/communicator.hpp"

// What ranks that hold other members, or other rows of a batch, tell each other in a training step:
// fields [M, B, ...].
namespace dissent {

/// A field that ranks of a group hold in parts. With D data ranks (innermost), rank r has members
/// part_of(members, size / D, r / D) in its first dimension and rows part_of(rows, D, r % D) in its
/// second; the other dimensions, dtype and kind of device are those of rank 0.
struct SplitField {
  std::string name;  ///< for messages
  at::Tensor local;
  int64_t members;   ///< M, or -1: as many as rank 0 has
  int64_t rows;      ///< B, or -1
  int64_t data = 1;  ///< D
};

/// Throws Error::kUsage on every rank of the group, naming the field, the rank, what is wanted and
/// what is given, unless the parts fit together. One small message for all fields (NCCL groups: the
/// stream is waited for). Collective; each rank names the same fields.
void check_fields(Communicator& group, const std::string& caller,
                  const std::vector<SplitField>& fields);

/// The whole field from the members of all ranks: pieces of the others as constants, this rank's
/// own with its graph, in member order. So a backward pass gives the derivative with respect to
/// this rank's members, exactly, and needs no message.
/// members  ranks with the same rows, over memory of local's device
/// local    [m, ...]  m = part_of(total, ranks, rank).count; f32, f64, i32, i64 or u8
/// returns  [total, ...], contiguous
/// name     for messages: what local is
/// Throws as check_fields, before anything is sent. Collective.
at::Tensor all_members(Communicator& members, const at::Tensor& local, int64_t total,
                       const std::string& name = "local");

/// The same over a split batch: local [M, b, ...], b = part_of(rows, ranks, rank).count, of ranks
/// with the same members; returns [M, rows, ...].
at::Tensor whole_batch(Communicator& data, const at::Tensor& local, int64_t rows,
                       const std::string& name = "local");

/// Both without their checks, for fields that check_fields has seen.
at::Tensor gather_members(Communicator& members, const at::Tensor& local, int64_t total);
at::Tensor gather_rows(Communicator& data, const at::Tensor& local, int64_t rows);

}  // namespace dissent
