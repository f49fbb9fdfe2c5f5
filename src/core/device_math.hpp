#pragma once
#include <string>
#include <utility>
#include <vector>

namespace dissent {

/// Precision of products and convolutions. kTf32: f32 whose products round their operands to TF32
/// on a GPU; kBf16 and kF16: half precision by autocast.
enum class ComputePrecision { kF64, kF32, kTf32, kBf16, kF16 };
/// Their names in configurations: f64, f32, tf32, bf16, f16.
const std::vector<std::pair<std::string, ComputePrecision>>& precision_names();
std::string precision_name(ComputePrecision precision);

/// How the GPUs of this process compute, until set again. No effect on CPUs.
struct DeviceMath {
  /// f32 products (cuBLAS) and convolutions (cuDNN) may round their operands to TF32 (10 bits of
  /// mantissa); false: IEEE f32, also where LibTorch's default is TF32 (convolutions).
  bool tf32 = false;
  /// Use deterministic algorithms. LibTorch raises an error for operations without one.
  bool deterministic = false;
};

/// TF32 for kTf32, else IEEE; runtime.deterministic.
DeviceMath device_math(ComputePrecision precision, bool deterministic);
/// The same with the name of a precision.
DeviceMath device_math(const std::string& precision, bool deterministic);

/// Sets everything in LibTorch's global context that DeviceMath decides. With `deterministic`,
/// CUBLAS_WORKSPACE_CONFIG is set to ":4096:8" if it is unset, for products after the call; if this
/// process has computed products on a GPU without it before, LibTorch rejects the next one (see
/// keep_cublas_deterministic). Error::kUsage if it has a value that LibTorch does not regard as
/// deterministic. Not while another thread computes.
void set_device_math(const DeviceMath& math);

/// Sets CUBLAS_WORKSPACE_CONFIG to ":4096:8" if it is unset. LibTorch reads it once, at the first
/// product on a GPU: a process that may need deterministic products later has to call this before.
void keep_cublas_deterministic();

}  // namespace dissent
