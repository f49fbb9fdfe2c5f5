#pragma once
#include <string>

namespace dissent {

/// How the GPUs of this process compute, until it is set again. CPUs take no notice of it.
struct DeviceMath {
  /// f32 products (cuBLAS) and convolutions (cuDNN) may round their operands to TF32, 10 bits of
  /// mantissa; else IEEE f32, also where LibTorch's default is TF32 (convolutions).
  bool tf32 = false;
  /// Algorithms that give the same bits each time. Operations without one are LibTorch's error.
  bool deterministic = false;
};

/// The math of training.precision or trunk.precision ("tf32": TF32, else IEEE) and
/// runtime.deterministic.
DeviceMath device_math(const std::string& precision, bool deterministic);

/// Sets LibTorch's global context, all of what DeviceMath decides. With `deterministic`
/// CUBLAS_WORKSPACE_CONFIG is set to ":4096:8" where it is unset, which counts for products after
/// it; where this process has computed products on a GPU before, without it, LibTorch refuses the
/// next one (keep_cublas_deterministic). Error::kUsage if it holds anything that LibTorch does not
/// take for deterministic. Not while another thread computes.
void set_device_math(const DeviceMath& math);

/// Sets CUBLAS_WORKSPACE_CONFIG to ":4096:8" where it is unset. LibTorch reads it once, at the
/// first product on a GPU: a process that may want deterministic products later calls this before.
void keep_cublas_deterministic();

}  // namespace dissent
