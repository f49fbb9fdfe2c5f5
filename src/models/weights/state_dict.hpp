#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>

namespace dissent {

/// Tensors by name, as a state dict of PyTorch; host memory.
using StateDict = std::map<std::string, at::Tensor>;

/// A file of weights, told apart by its first bytes: safetensors, or a `.pth` of torch.save.
/// Error::kData naming the path: missing, of neither kind, damaged. Nothing in a file is ever
/// executed.
StateDict read_state_dict(const std::string& path);

/// safetensors: 8 bytes with the header's size, a JSON header (name -> dtype, shape, place), the
/// values. Reads F64, F32, F16, BF16, F8_E4M3, F8_E5M2, F8_E8M0, I64, I32, I16, I8, U64, U32, U16,
/// U8 and BOOL; tensors of other types are left out and logged. Error::kData naming path and
/// tensor: truncated, places outside of the file or of another size than shape and dtype say, that
/// overlap or leave a gap (also behind the last one), a name that stands twice.
/// Ref: huggingface/safetensors, README
StateDict read_safetensors(const std::string& path);

/// Writes the same, whole or not at all (a temporary name, renamed), in the order of names, values
/// from a multiple of 8 bytes on. Any of the dtypes above.
void write_safetensors(const std::string& path, const StateDict& tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// A file of torch.save (PyTorch 1.6 or later) that holds a dict of tensors, or a checkpoint with
/// one under "state_dict", "model", "model_state_dict" or "net". Entries that are not tensors are
/// left out, and so is whatever else a checkpoint holds (optimisers, options). Values of a machine
/// of the other byte order are turned. The archive is read
/// by LibTorch, its pickle by pickle.hpp: LibTorch's own reader refuses the state dict of a module,
/// for the attribute that Python puts beside it.
/// Error::kData: not of this form, or damaged (its CRC-32 are checked, which LibTorch does not).
StateDict read_pickle(const std::string& path);

}  // namespace dissent
