#pragma once
#include <ATen/core/Tensor.h>

#include "comm/communicator.hpp"

namespace dissent {

/// Merges a metric state of integers (state() of Reliability, ClasswiseReliability, Classification,
/// Diversity, ..; same shape on every rank) over all ranks. Contiguous i64 on the host. Collective;
/// the same on every rank, with the same bits for any number of ranks and any distribution of the
/// samples over them.
at::Tensor merged_state(Communicator& comm, at::Tensor state);

}  // namespace dissent
