#include "core/device_math.hpp"

#include <ATen/Context.h>

#include <cstdlib>
#include <dissent/error.hpp>

namespace dissent {
namespace {
constexpr const char* kWorkspace = "CUBLAS_WORKSPACE_CONFIG";
}

DeviceMath device_math(const std::string& precision, bool deterministic) {
  return {.tf32 = precision == "tf32", .deterministic = deterministic};
}

void keep_cublas_deterministic() { setenv(kWorkspace, ":4096:8", /*overwrite=*/0); }

void set_device_math(const DeviceMath& math) {
  if (math.deterministic) {
    keep_cublas_deterministic();
    const std::string found = std::getenv(kWorkspace);
    DISSENT_CHECK(
        found == ":4096:8" || found == ":16:8", kUsage,
        "runtime.deterministic = true: expected {} unset, \":4096:8\" or \":16:8\", found "
        "\"{}\"",
        kWorkspace, found);
  }
  auto& context = at::globalContext();
  // LibTorch keeps two records of TF32 and throws where they differ: Context::allowTF32CuBLAS(),
  // which its products ask, in 2.11. The older functions write both; what they leave open (NONE,
  // which a parent may decide) is then set by name.
  context.setAllowTF32CuBLAS(math.tf32);
  context.setAllowTF32CuDNN(math.tf32);
  const auto precision = math.tf32 ? at::Float32Precision::TF32 : at::Float32Precision::IEEE;
  for (const auto op : {at::Float32Op::MATMUL, at::Float32Op::CONV, at::Float32Op::RNN})
    context.setFloat32Precision(at::Float32Backend::CUDA, op, precision);
  context.setDeterministicAlgorithms(math.deterministic, /*warn_only=*/false);
  context.setDeterministicCuDNN(math.deterministic);
  context.setBenchmarkCuDNN(false);
  // LibTorch's default fills new memory with NaN under deterministic algorithms: it finds reads of
  // what was never written, at a pass over each tensor.
  context.setDeterministicFillUninitializedMemory(!math.deterministic);
}

}  // namespace dissent
