#pragma once
#include "evaluate/member_networks.hpp"
#include "models/networks/image_network.hpp"

namespace dissent {

/// Networks on pictures. members [n, P], buffers [n, Q] f32, flat vectors of the network's layouts:
/// a network a member, or one multihead network of all. A soup averages running statistics too;
/// that of a multihead network is none.
std::unique_ptr<MemberNetworks> image_networks(std::shared_ptr<const ImageNetwork> network,
                                               at::Tensor members, at::Tensor buffers);

}  // namespace dissent
