#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "comm/grid.hpp"
#include "models/head.hpp"
#include "models/networks/image_network.hpp"

namespace dissent {

/// The networks of an ensemble that this rank holds: numbers first .. first + networks() - 1, with
/// their parameters as rows of one tensor.
struct LocalNetworks {
  int64_t total = 0;  ///< M, members of the ensemble
  int64_t first = 0;
  at::Tensor values;  ///< [n, P]

  int64_t networks() const { return values.size(0); }
};

/// Members on cached features. Each network is one member.
struct HeadMembers : LocalNetworks {
  std::shared_ptr<const Head> head;

  int64_t count() const { return networks(); }
  bool holds(int64_t member) const { return member >= first && member < first + count(); }
  /// Flat vector [P] of the member with this number in the ensemble.
  at::Tensor member(int64_t number) const { return values[number - first]; }
};

/// Members on images. A multihead network is all M members in one, and is on every rank.
struct ImageMembers : LocalNetworks {
  std::shared_ptr<const ImageNetwork> network;
  at::Tensor buffers;  ///< [n, Q], BatchNorm's running statistics; Q = 0 without BatchNorm

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
HeadMembers make_members(std::shared_ptr<const Head> head, int64_t total, Part part, uint64_t seed,
                         at::ScalarType dtype, at::Device device);
/// The same. Throws Error::kUsage unless a multihead network has `total` heads.
ImageMembers make_members(std::shared_ptr<const ImageNetwork> network, int64_t total, Part part,
                          uint64_t seed, at::ScalarType dtype, at::Device device);

/// Runs task(i) for each of the n networks: in parallel on the threads of this process, one network
/// per thread; sequentially on a GPU.
void each_network(const ImageMembers& members, const std::function<void(int64_t)>& task);

}  // namespace dissent
