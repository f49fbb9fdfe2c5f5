#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.hpp"

// Exchange of fields [M, B, ...] between ranks with different members, or with different rows of a
// batch, in a training step.
namespace dissent {

/// An ensemble and a batch that are split over the ranks of a run (comm/grid.hpp):
/// rank = member part * data parts + data part.
struct EnsembleSplit {
  Communicator& run;  ///< all ranks, over host memory: an error of one rank becomes an error of all
  Communicator& members;        ///< ranks with the same rows, over memory of the tensors' device
  Communicator& data;           ///< ranks with the same members, over the same memory
  int64_t total = 0;            ///< M, members of the ensemble
  int64_t rows = 0;             ///< B, rows of the batch
  int64_t unlabelled_rows = 0;  ///< B', of unlabelled_logits
};

/// This rank's part of a field. The first dimension is the rank's members,
/// part_of(split.total, ..), the second its rows, part_of(rows, ..); the other dimensions, the
/// dtype and the type of device have to be those of rank 0.
struct SplitField {
  enum class Of {
    kEachMember,  ///< [m, b, ...] -> [m, B, ...]: gathered over the rows only
    kAllMembers,  ///< [m, b, ...] -> [M, B, ...]
    kBatch        ///< [1, b, ...] -> [1, B, ...]: the same for all members, e.g. common labels
  };
  std::string name;  ///< for error messages
  at::Tensor local;
  int64_t rows;  ///< B
  Of of = Of::kAllMembers;
};

/// The whole fields from the parts of all ranks, contiguous, in the order of members and rows.
/// Parts of other ranks are constants, the part of this rank keeps its graph: a backward pass gives
/// the exact derivative with respect to this rank's members and rows without communication. All
/// ranks first compare the shapes of all fields, in one small message. If these do not fit
/// together, it throws Error::kUsage on every rank of split.run, with `caller`, field, rank, what
/// was expected and what was found, before any data is sent.
/// dtypes: f32, f64, i32, i64, u8. Collective over split.run; all ranks pass the same fields.
std::vector<at::Tensor> gather_fields(const EnsembleSplit& split, const std::string& caller,
                                      const std::vector<SplitField>& fields);

/// A field of all members, from ranks with the same rows.
/// members  ranks with the same rows, over memory of local's device
/// local    [m, ...]  m = part_of(total, ranks, rank).count
/// returns  [total, ...], otherwise like gather_fields
/// name     of `local`, for error messages
at::Tensor all_members(Communicator& members, const at::Tensor& local, int64_t total,
                       const std::string& name = "local");

/// all_members for a split batch: local [M, b, ...], b = part_of(rows, ranks, rank).count, of ranks
/// with the same members; returns [M, rows, ...].
at::Tensor whole_batch(Communicator& data, const at::Tensor& local, int64_t rows,
                       const std::string& name = "local");

/// all_members without the comparison of shapes, where the caller knows that they fit.
at::Tensor gather_members(Communicator& members, const at::Tensor& local, int64_t total);

}  // namespace dissent
