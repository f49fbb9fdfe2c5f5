#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace dissent {

/// A value of a pickle written by torch.save, or of a data set published as a pickle (CIFAR).
/// Containers are shared, as in Python: a dict is referenced before it is filled.
struct PickleValue {
  enum class Kind { kNone, kInteger, kText, kSequence, kDict, kGlobal, kStorage, kTensor, kOther };
  using Pointer = std::shared_ptr<PickleValue>;
  Kind kind = Kind::kNone;
  int64_t integer = 0;  ///< of integers and booleans; of a storage, its elements
  std::string text;     ///< of texts and byte strings; of a global or a call, "module.name"; of a
                        ///< storage, its key
  std::vector<Pointer> items;  ///< of lists, tuples and sets; of a call, its arguments
  std::vector<std::pair<Pointer, Pointer>> pairs;  ///< of dicts
  at::ScalarType dtype = at::kFloat;               ///< of a storage
  at::Tensor tensor;

  PickleValue() = default;
  PickleValue(const PickleValue&) = delete;
  PickleValue& operator=(const PickleValue&) = delete;
  /// Iterative, for values of any depth: a damaged file may nest a million lists, which would
  /// exhaust the stack of a recursive destructor.
  ~PickleValue();
};

/// Reads a pickle (protocols 2 to 5, written by Python 2 or 3) as data: dicts, lists, texts,
/// numbers, tensors, and numpy arrays and scalars of integers (u1 arrays as u8 tensors, others as
/// i64). Anything else (a Python class, a function call) becomes a value of kind kOther, which
/// readers ignore; nothing is executed. `storage` returns the 1-d tensor of a storage value.
/// Error::kData with `source`: truncated, an opcode that neither torch.save nor pickle writes, a
/// tensor outside its storage, an array whose bytes do not fit its shape.
PickleValue::Pointer read_pickle_values(
    const std::string& bytes, const std::string& source,
    const std::function<at::Tensor(const PickleValue& storage)>& storage);

}  // namespace dissent
