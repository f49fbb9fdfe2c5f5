#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>

namespace dissent {

/// Tensors by name, as a state dict of PyTorch; host memory.
using StateDict = std::map<std::string, at::Tensor>;

/// Reads a file of weights, recognised by its first bytes: safetensors, or a `.pth` of torch.save.
/// Error::kData with the path: missing, another format, damaged. Never executes anything in a file.
StateDict read_state_dict(const std::string& path);

/// safetensors: 8 bytes with the header's size, a JSON header (name -> dtype, shape, offsets), the
/// values. Reads F64, F32, F16, BF16, F8_E4M3, F8_E5M2, F8_E8M0, I64, I32, I16, I8, U64, U32, U16,
/// U8 and BOOL; tensors of other types are skipped and logged. Error::kData with path and tensor:
/// truncated, offsets outside the file or that do not match shape and dtype, overlap or leave a gap
/// (also after the last tensor), a duplicate name.
/// Ref: huggingface/safetensors, README
StateDict read_safetensors(const std::string& path);

/// Writes safetensors atomically (a temporary file, renamed), in alphabetical order, values
/// starting at a multiple of 8 bytes. Any of the dtypes above.
void write_safetensors(const std::string& path, const StateDict& tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// A file of torch.save (PyTorch 1.6 or later) with a dict of tensors, or a checkpoint with one
/// under "state_dict", "model", "model_state_dict" or "net". Entries that are not tensors are
/// skipped, and so is everything else in a checkpoint (optimisers, options). Values from a machine
/// with the other byte order are swapped. The archive is read by LibTorch, its pickle by
/// pickle.hpp: LibTorch's own reader rejects the state dict of a module, because of the attribute
/// that Python attaches to it. Error::kData: not of this form, or damaged (the CRC-32 of records
/// are checked; LibTorch does not).
StateDict read_pickle(const std::string& path);

}  // namespace dissent
