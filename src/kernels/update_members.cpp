#include "kernels/update_members.hpp"

#include <dissent/error.hpp>

#include "kernels/update_rule.hpp"
#ifdef DISSENT_KERNELS_CUDA
#include <c10/cuda/CUDAStream.h>
#endif

namespace dissent::kernels {
namespace {

void update_on_host(const UpdateNumbers& shared, const UpdateOptions& options,
                    const at::Tensor& values, const at::Tensor& first, const at::Tensor& second,
                    const at::Tensor& steps, const at::Tensor& slots, const at::Tensor& gradient,
                    const at::Tensor& rates, const at::Tensor& scales) {
  const int64_t size = values.size(1);
  for (int64_t i = 0; i < slots.numel(); ++i) {
    const int64_t slot = slots.const_data_ptr<int64_t>()[i];
    const double scale = scales.const_data_ptr<double>()[i];
    if (scale < 0) continue;
    const auto numbers =
        with_member(shared, options.beta1, options.beta2, steps.const_data_ptr<float>()[slot],
                    rates.const_data_ptr<double>()[i], scale);
    auto* p = values.data_ptr<float>() + slot * size;
    auto* m = first.defined() ? first.data_ptr<float>() + slot * size : nullptr;
    auto* v = second.defined() ? second.data_ptr<float>() + slot * size : nullptr;
    const auto* g = gradient.const_data_ptr<float>() + i * size;
    for (int64_t e = 0; e < size; ++e) update_element(numbers, p + e, m + e, v + e, g[e]);
  }
}

}  // namespace

void update_members(const UpdateOptions& options, const at::Tensor& values, const at::Tensor& first,
                    const at::Tensor& second, const at::Tensor& steps, const at::Tensor& slots,
                    const at::Tensor& gradient, const at::Tensor& rates, const at::Tensor& scales) {
  const UpdateNumbers numbers{.rule = static_cast<UpdateRule>(options.rule),
                              .rate = 0,
                              .scale = 1,
                              .weight_decay = static_cast<float>(options.weight_decay),
                              .momentum = static_cast<float>(options.momentum),
                              .beta1 = static_cast<float>(options.beta1),
                              .beta2 = static_cast<float>(options.beta2),
                              .epsilon = static_cast<float>(options.epsilon),
                              .correction1 = 1,
                              .correction2_sqrt = 1};
  if (values.is_cpu())
    return update_on_host(numbers, options, values, first, second, steps, slots, gradient, rates,
                          scales);
#ifdef DISSENT_KERNELS_CUDA
  const auto pointer = [](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.data_ptr<float>() : nullptr;
  };
  const int code = launch_update_members(
      numbers, options.beta1, options.beta2, values.data_ptr<float>(), pointer(first),
      pointer(second), steps.const_data_ptr<float>(), slots.const_data_ptr<int64_t>(),
      gradient.const_data_ptr<float>(), rates.const_data_ptr<double>(),
      scales.const_data_ptr<double>(), slots.numel(), values.size(1),
      c10::cuda::getCurrentCUDAStream(values.get_device()).stream());
  DISSENT_CHECK(code == 0, kComm, "update_members: the kernel could not be started: CUDA error {}",
                code);
#else
  DISSENT_FAIL(kUsage, "update_members: this build has no CUDA, the members are on {}",
               values.device().str());
#endif
}

}  // namespace dissent::kernels
