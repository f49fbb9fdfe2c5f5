#include "models/parameters.hpp"

#include <utility>

#include "core/divide_up.hpp"

namespace dissent {
namespace {
constexpr int64_t kAlignment = 16;
}

size_t ParameterLayout::add(std::string name, std::vector<int64_t> shape) {
  int64_t numel = 1;
  for (const int64_t extent : shape) numel *= extent;

  // Each parameter starts at a multiple of 16 elements: kernels read and write aligned vectors. The
  // padding stays 0.
  entries_.push_back({std::move(name), std::move(shape), size_, numel});
  size_ += divide_up(numel, kAlignment) * kAlignment;
  return entries_.size() - 1;
}

int64_t ParameterLayout::parameter_count() const {
  int64_t count = 0;
  for (const auto& entry : entries_) count += entry.numel;
  return count;
}

const ParameterEntry* ParameterLayout::find(const std::string& name) const {
  for (const auto& entry : entries_)
    if (entry.name == name) return &entry;
  return nullptr;
}

at::Tensor parameter(const at::Tensor& flat, const ParameterEntry& entry) {
  return flat.narrow(0, entry.offset, entry.numel).view(entry.shape);
}

at::Tensor stacked_parameter(const at::Tensor& stack, const ParameterEntry& entry) {
  // A view [n, shape of the parameter] of all networks at once. A scalar takes part as one element.
  std::vector<int64_t> shape{stack.size(0)};
  shape.insert(shape.end(), entry.shape.begin(), entry.shape.end());
  return stack.narrow(1, entry.offset, entry.numel)
      .unflatten(1, entry.shape.empty() ? std::vector<int64_t>{1} : entry.shape)
      .view(shape);
}

}  // namespace dissent
