#include "kernels/update_members.hpp"

#include <ATen/ATen.h>

#include <dissent/error.hpp>

#ifdef DISSENT_KERNELS_CUDA
#include <c10/cuda/CUDAStream.h>
#endif

namespace dissent::kernels {
namespace {

void update_on_host(const UpdateOptions& options, const UpdateArrays& arrays) {
  const auto numbers = update_numbers(options);
  for (int64_t i = 0; i < arrays.count; ++i) {
    const auto member = member_numbers(arrays, options.beta1, options.beta2, i);
    if (member.offset < 0) continue;
    auto* p = arrays.values + member.offset;
    auto* m = arrays.first ? arrays.first + member.offset : nullptr;
    auto* v = arrays.second ? arrays.second + member.offset : nullptr;
    const auto* g = arrays.gradient + i * arrays.size;
    for (int64_t e = 0; e < arrays.size; ++e)
      update_element(numbers, member, p + e, m + e, v + e, g[e]);
  }
}

}  // namespace

void update_members(const UpdateOptions& options, const at::Tensor& values, const at::Tensor& first,
                    const at::Tensor& second, const at::Tensor& steps, const at::Tensor& slots,
                    const at::Tensor& gradient, const at::Tensor& rates, const at::Tensor& scales) {
  const auto device = values.device();
  const int64_t count = slots.numel(), size = values.size(1);
  const auto pointer = [](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.data_ptr<float>() : nullptr;
  };
  UpdateArrays arrays{.values = pointer(values),
                      .first = pointer(first),
                      .second = pointer(second),
                      .steps = steps.const_data_ptr<float>(),
                      .slots = slots.const_data_ptr<int64_t>(),
                      .gradient = gradient.const_data_ptr<float>(),
                      .rates = rates.const_data_ptr<double>(),
                      .scales = scales.const_data_ptr<double>(),
                      .members = nullptr,
                      .count = count,
                      .size = size};
  if (values.is_cpu()) return update_on_host(options, arrays);
#ifdef DISSENT_KERNELS_CUDA
  const auto members = at::empty({count, static_cast<int64_t>(sizeof(MemberNumbers))},
                                 slots.options().dtype(at::kByte));
  arrays.members = static_cast<MemberNumbers*>(members.data_ptr());
  const int code = launch_update_members(options, arrays,
                                         c10::cuda::getCurrentCUDAStream(device.index()).stream());
  DISSENT_CHECK(code == 0, kComm, "update_members: the kernel could not be started: CUDA error {}",
                code);
#else
  DISSENT_FAIL(kUsage, "update_members: this build has no CUDA, the members are on {}",
               device.str());
#endif
}

}  // namespace dissent::kernels
