#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "comm/grid.hpp"
#include "models/networks/image_network.hpp"

namespace dissent {

/// The members of an image ensemble that this rank holds: networks first .. first + networks() - 1,
/// parameters stacked [n, P], BatchNorm's running statistics [n, Q]. A multihead network is all M
/// members in one.
struct ImageMembers {
  std::shared_ptr<const ImageNetwork> network;
  int64_t total = 0;  ///< M, members of the ensemble
  int64_t first = 0;
  at::Tensor values;   ///< [n, P]
  at::Tensor buffers;  ///< [n, Q]; Q = 0 without BatchNorm

  int64_t networks() const { return values.size(0); }
  bool multihead() const { return network->heads() > 0; }
  int64_t total_networks() const { return multihead() ? 1 : total; }
  /// Members of each network: M of a multihead one, else 1.
  int64_t members_each() const { return multihead() ? total : 1; }
  int64_t count() const { return networks() * members_each(); }
  bool holds(int64_t member) const {
    return multihead() || (member >= first && member < first + networks());
  }
};

/// The members of one part of the ensemble with initial values. They are drawn from the seed and
/// the member's number, so they are the same for every split.
ImageMembers make_image_members(std::shared_ptr<const ImageNetwork> network, int64_t total,
                                Part part, uint64_t seed, at::ScalarType dtype, at::Device device);

/// Runs task(i) for each of the n networks: in parallel on the threads of this process, one network
/// per thread; sequentially on a GPU.
void each_network(const ImageMembers& members, const std::function<void(int64_t)>& task);

}  // namespace dissent
