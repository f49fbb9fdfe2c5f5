#pragma once
#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "fuzz.hpp"

namespace dissent::fuzz {

/// Reads a host tensor in code that sanitizers see (LibTorch's own is not): each byte of a
/// contiguous one, else its first and last element.
inline void touch(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return;
  const auto* bytes = static_cast<const unsigned char*>(tensor.const_data_ptr());
  const auto element = static_cast<int64_t>(tensor.element_size());
  int64_t first = 0, last = tensor.numel() * element;
  size_t sum = 0;
  if (!tensor.is_contiguous()) {
    last = element;
    for (int64_t d = 0; d < tensor.dim(); ++d)
      last += (tensor.size(d) - 1) * tensor.stride(d) * element;
    for (int64_t i = 0; i < element; ++i) sum += bytes[i];
    first = last - element;
  }
  for (int64_t i = first; i < last; ++i) sum += bytes[i];
  use(std::string(sum % 2, 'a'));
}

}  // namespace dissent::fuzz
