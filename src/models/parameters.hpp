#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace dissent {

/// One parameter tensor inside a member's flat vector.
struct ParameterEntry {
  std::string name;  ///< as in state dicts: "mlp.fc1.weight"
  std::vector<int64_t> shape;
  int64_t offset;  ///< first element
  int64_t numel;
};

/// Layout of one member's parameters in a flat vector [P]. Every entry starts at a multiple of 16
/// elements, so it is aligned to 64 bytes in every member of a stack, and a product over it gives
/// the same bits at any position in the stack.
class ParameterLayout {
 public:
  /// Appends a parameter and returns its position.
  size_t add(std::string name, std::vector<int64_t> shape);
  const std::vector<ParameterEntry>& entries() const { return entries_; }
  const ParameterEntry& entry(size_t position) const { return entries_[position]; }
  /// P, padding included.
  int64_t size() const { return size_; }
  /// Number of parameters of one member, without padding.
  int64_t parameter_count() const;
  /// The entry of this name, or nullptr.
  const ParameterEntry* find(const std::string& name) const;

 private:
  std::vector<ParameterEntry> entries_;
  int64_t size_ = 0;
};

/// View of one parameter in a member's flat vector [P]; shape of the entry.
at::Tensor parameter(const at::Tensor& flat, const ParameterEntry& entry);

/// View of one parameter in a stack of members [M, P]; [M, shape of the entry].
at::Tensor stacked_parameter(const at::Tensor& stack, const ParameterEntry& entry);

}  // namespace dissent
