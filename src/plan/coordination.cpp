#include "plan/coordination.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cstdio>

namespace dissent::plan {

void say_planning(bool quiet, int rank, const std::string& text) {
  if (quiet || rank != 0) return;
  fmt::print(stderr, "plan: {}\n", text);
  std::fflush(stderr);
}

std::vector<double> values_of_first_rank(Communicator& world, const std::vector<double>& values) {
  auto tensor = at::tensor(values, at::kDouble);
  world.broadcast(tensor, 0);
  const auto* first = tensor.const_data_ptr<double>();
  return {first, first + tensor.numel()};
}

}  // namespace dissent::plan
