#include "ensemble/members.hpp"

#include <cstdint>
#include <utility>

#include "core/parallel.hpp"

namespace dissent {

MemberStack make_members(std::shared_ptr<const Head> head, int64_t total, Part part, uint64_t seed,
                         at::ScalarType dtype, at::Device device) {
  auto values = at::empty({part.count, head->layout().size()}, at::TensorOptions().dtype(dtype));
  parallel_tasks(part.count, [&](int64_t i) { head->initialise(values[i], seed, part.first + i); });
  return {std::move(head), total, part.first, values.to(device)};
}

}  // namespace dissent
