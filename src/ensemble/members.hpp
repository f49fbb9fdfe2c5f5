#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "comm/grid.hpp"
#include "models/head.hpp"

namespace dissent {

/// The members of an ensemble of heads that this rank holds: numbers first .. first + count - 1 of
/// `total`, parameters stacked [count, P].
struct MemberStack {
  std::shared_ptr<const Head> head;
  int64_t total = 0;
  int64_t first = 0;
  at::Tensor values;  ///< [count, P]

  int64_t count() const { return values.size(0); }
  bool holds(int64_t member) const { return member >= first && member < first + count(); }
  /// Flat vector [P] of the member with this number in the ensemble.
  at::Tensor member(int64_t number) const { return values[number - first]; }
};

/// The members of one part of the ensemble with initial values. They are drawn from the seed and
/// the member's number, so they are the same for every split.
MemberStack make_members(std::shared_ptr<const Head> head, int64_t total, Part part, uint64_t seed,
                         at::ScalarType dtype, at::Device device);

}  // namespace dissent
