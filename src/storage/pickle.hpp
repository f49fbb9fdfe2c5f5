#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace dissent {

/// A value of a pickle of torch.save, or of the sets that are published as pickles (CIFAR).
/// Containers are shared, as Python's are: a dict is referred to before it is filled.
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
  /// Of any depth: a damaged file may nest a million lists, and nothing here goes down into them by
  /// recursion.
  ~PickleValue();
};

/// Reads a pickle (protocols 2 to 5, by Python 2 or 3) as data: dicts, lists, texts, numbers,
/// tensors, and arrays and scalars of numpy that hold integers: u1 arrays as u8 tensors, others as
/// i64. Anything else (a Python class, a function call) becomes a value of kind kOther that is
/// skipped; nothing is executed. `storage` gives the 1-d tensor of a storage value.
/// Error::kData naming `source`: ends early, an opcode that torch.save and pickle do not write, a
/// tensor outside of its storage, an array whose bytes do not fit its shape.
PickleValue::Pointer read_pickle_values(
    const std::string& bytes, const std::string& source,
    const std::function<at::Tensor(const PickleValue& storage)>& storage);

}  // namespace dissent
