#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace dissent {

/// Reads an IDX file of unsigned bytes (the format of MNIST: two zero bytes, type 8, number of
/// dimensions, each size as big-endian 32 bits, values), plain or gzip-compressed. Returns u8 with
/// the dimensions of the file (images [N, H, W], labels [N]), host.
/// Error::kData with the file: missing, not IDX or of another type, truncated, longer than its
/// header says, damaged gzip data.
at::Tensor read_idx(const std::string& path);

}  // namespace dissent
