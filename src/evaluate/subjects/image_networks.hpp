#pragma once
#include <memory>

#include "evaluate/subjects/member_networks.hpp"
#include "models/networks/image_network.hpp"

namespace dissent {

/// Networks on images. members [n, P], buffers [n, Q] f32: flat vectors in the network's layouts,
/// one per member, or one multihead network for all members. A soup averages running statistics
/// too; a multihead network has no soup.
std::unique_ptr<MemberNetworks> image_networks(std::shared_ptr<const ImageNetwork> network,
                                               at::Tensor members, at::Tensor buffers);

}  // namespace dissent
