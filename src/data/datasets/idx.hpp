#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace dissent {

/// Reads an IDX file of unsigned bytes (the format of MNIST: two zero bytes, type 8, number of
/// dimensions, each size as big-endian 32 bits, values), plain or gzip-compressed. returns u8, as
/// many dimensions as the file has (images [N, H, W], labels [N]), host.
/// Error::kData naming the file: missing, not IDX or of another type, truncated, longer than its
/// header says, damaged gzip data.
at::Tensor read_idx(const std::string& path);

}  // namespace dissent
