#include "core/device_math.hpp"

#include <ATen/Context.h>

#include <cstdlib>
#include <dissent/error.hpp>

namespace dissent {
namespace {
constexpr const char* kWorkspace = "CUBLAS_WORKSPACE_CONFIG";
}

const std::vector<std::pair<std::string, ComputePrecision>>& precision_names() {
  static const std::vector<std::pair<std::string, ComputePrecision>> names{
      {"f64", ComputePrecision::kF64},
      {"f32", ComputePrecision::kF32},
      {"tf32", ComputePrecision::kTf32},
      {"bf16", ComputePrecision::kBf16},
      {"f16", ComputePrecision::kF16}};
  return names;
}

std::string precision_name(ComputePrecision precision) {
  for (const auto& [name, value] : precision_names())
    if (value == precision) return name;
  return "";
}

DeviceMath device_math(ComputePrecision precision, bool deterministic) {
  return {.tf32 = precision == ComputePrecision::kTf32, .deterministic = deterministic};
}

DeviceMath device_math(const std::string& precision, bool deterministic) {
  return device_math(precision == precision_name(ComputePrecision::kTf32) ? ComputePrecision::kTf32
                                                                          : ComputePrecision::kF32,
                     deterministic);
}

void keep_cublas_deterministic() { setenv(kWorkspace, ":4096:8", /*overwrite=*/0); }

void set_device_math(const DeviceMath& math) {
  if (math.deterministic) {
    keep_cublas_deterministic();

    // cuBLAS is deterministic only with a workspace of a fixed size, and reads the variable once,
    // at its first product.
    const std::string found = std::getenv(kWorkspace);
    DISSENT_CHECK(
        found == ":4096:8" || found == ":16:8", kUsage,
        "runtime.deterministic = true: expected {} unset, \":4096:8\" or \":16:8\", found "
        "\"{}\"",
        kWorkspace, found);
  }

  auto& context = at::globalContext();

  // LibTorch 2.11 stores the TF32 setting twice, and its products throw if the two differ
  // (Context::allowTF32CuBLAS()). The older functions set both; what they leave undecided (NONE,
  // inherited from a parent) is then set explicitly.
  context.setAllowTF32CuBLAS(math.tf32);
  context.setAllowTF32CuDNN(math.tf32);
  const auto precision = math.tf32 ? at::Float32Precision::TF32 : at::Float32Precision::IEEE;
  for (const auto op : {at::Float32Op::MATMUL, at::Float32Op::CONV, at::Float32Op::RNN})
    context.setFloat32Precision(at::Float32Backend::CUDA, op, precision);

  context.setDeterministicAlgorithms(math.deterministic, /*warn_only=*/false);
  context.setDeterministicCuDNN(math.deterministic);

  // Benchmarking picks the fastest algorithm by time, which may differ from run to run.
  context.setBenchmarkCuDNN(false);
  // With deterministic algorithms LibTorch by default fills new memory with NaN, to find reads of
  // uninitialised values; that costs a pass over each tensor.
  context.setDeterministicFillUninitializedMemory(!math.deterministic);
}

}  // namespace dissent
