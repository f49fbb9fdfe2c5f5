#include "scores/top_k.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>

namespace dissent::scores {
namespace {

// Most values are below the smallest value in the heap and cost one comparison.
void update_heap(double* heap, int64_t k, const double* values, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (!(values[i] > heap[0])) continue;
    std::pop_heap(heap, heap + k, std::greater<>());
    heap[k - 1] = values[i];
    std::push_heap(heap, heap + k, std::greater<>());
  }
}

}  // namespace

TopK::TopK(int64_t rows, int64_t k, at::Device device)
    : best_(at::full({rows, k}, -std::numeric_limits<double>::infinity(),
                     at::TensorOptions(at::kDouble).device(device))) {}

void TopK::update(const at::Tensor& values) {
  const int64_t k = best_.size(1);
  if (!best_.device().is_cpu()) {
    // The k largest of the k so far and the new values.
    best_ = std::get<0>(at::cat({best_, values}, 1).topk(k, 1, true, false));
    return;
  }

  // On the CPU each row of best_ is a min-heap, so its first value is the smallest of the k.
  const auto shown = values.contiguous();
  for (int64_t row = 0; row < best_.size(0); ++row)
    update_heap(best_.data_ptr<double>() + row * k, k,
                shown.const_data_ptr<double>() + row * shown.size(1), shown.size(1));
}

}  // namespace dissent::scores
