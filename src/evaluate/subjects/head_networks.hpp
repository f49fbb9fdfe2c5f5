#pragma once
#include <cstdint>
#include <memory>

#include "evaluate/subjects/member_networks.hpp"
#include "models/head.hpp"

namespace dissent {

/// Heads on cached features. members [M, P] f32: flat vectors in the layout of the head; dim: D
/// of the cache.
std::unique_ptr<MemberNetworks> head_networks(std::shared_ptr<const Head> head, at::Tensor members,
                                              int64_t dim, int64_t classes);

}  // namespace dissent
