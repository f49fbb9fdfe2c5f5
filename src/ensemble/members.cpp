#include "ensemble/members.hpp"

#include <cstdint>
#include <functional>
#include <utility>

#include <dissent/error.hpp>

#include "core/parallel.hpp"

namespace dissent {

HeadMembers make_members(std::shared_ptr<const Head> head, int64_t total, Part part, uint64_t seed,
                         at::ScalarType dtype, at::Device device) {
  auto values = at::empty({part.count, head->layout().size()}, at::TensorOptions().dtype(dtype));
  parallel_tasks(part.count, [&](int64_t i) { head->initialise(values[i], seed, part.first + i); });
  return {{total, part.first, values.to(device)}, std::move(head)};
}

ImageMembers make_members(std::shared_ptr<const ImageNetwork> network, int64_t total, Part part,
                          uint64_t seed, at::ScalarType dtype, at::Device device) {
  const int64_t heads = network->heads();
  DISSENT_CHECK(heads == 0 || heads == total, kUsage,
                "image members: expected a network with {} heads, one per member, found {}", total,
                heads);

  // All members of a multihead network are on every rank: their trunk is one network.
  if (heads > 0) part = {0, 1};

  const auto options = at::TensorOptions().dtype(dtype);
  auto values = at::empty({part.count, network->layout().size()}, options);
  auto buffers = at::empty({part.count, network->buffer_layout().size()}, options);
  parallel_tasks(part.count, [&](int64_t i) {
    // Keyed by the number in the ensemble: the same weights on every split of the members.
    network->initialise(values[i], seed, part.first + i);
    network->initialise_buffers(buffers[i]);
  });
  return {{total, part.first, values.to(device)}, std::move(network), buffers.to(device)};
}

void each_network(const ImageMembers& members, const std::function<void(int64_t)>& task) {
  // A GPU's work is queued on the stream of one thread, so that its order is fixed.
  if (members.values.is_cpu()) return parallel_tasks(members.networks(), task);
  for (int64_t i = 0; i < members.networks(); ++i) task(i);
}

}  // namespace dissent
