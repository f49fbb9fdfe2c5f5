#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

namespace dissent {

/// XXH3_64 (seed 0) over everything that was added, in order. Identifies sets, networks and
/// choices.
class ContentHash {
 public:
  ContentHash();
  ~ContentHash();
  void add(const std::string& text);
  /// The bytes of the values, contiguous on the host.
  void add(const at::Tensor& values);
  /// 16 hexadecimal digits.
  std::string text() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Hash of one text.
std::string content_hash(const std::string& text);

}  // namespace dissent
