#include "kernels/update_members.hpp"

#include <cstdint>

#include <fmt/ranges.h>

#include "core/tensor_check.hpp"

#ifdef DISSENT_KERNELS_CUDA
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#endif

namespace dissent::kernels {
namespace {

void update_on_host(const UpdateOptions& options, const UpdateArrays& arrays) {
  // The same function per element as on a GPU, for tests and for builds without CUDA.
  const auto numbers = update_numbers(options);
  for (int64_t i = 0; i < arrays.count; ++i) {
    const auto member = member_numbers(arrays, options.beta1, options.beta2, i);
    if (member.offset < 0) continue;

    // A rule without moments has null pointers, which update_element does not read.
    auto* p = arrays.values + member.offset;
    auto* m = arrays.first ? arrays.first + member.offset : nullptr;
    auto* v = arrays.second ? arrays.second + member.offset : nullptr;
    const auto* g = arrays.gradient + i * arrays.size;
    for (int64_t e = 0; e < arrays.size; ++e)
      update_element(numbers, member, p + e, m ? m + e : nullptr, v ? v + e : nullptr, g[e]);
  }
}

void check(const char* name, const at::Tensor& tensor, at::ScalarType type, at::IntArrayRef shape,
           at::Device device) {
  const bool fits = tensor.defined() && tensor.device() == device && tensor.scalar_type() == type &&
                    tensor.sizes() == shape;
  DISSENT_CHECK(fits, kInternal, "update_members: {}: expected [{}] {} {}, found {}", name,
                fmt::join(shape.begin(), shape.end(), ", "), c10::toString(type), device.str(),
                describe(tensor));
  DISSENT_CHECK(tensor.is_contiguous(), kInternal,
                "update_members: {}: expected contiguous memory, found strides [{}]", name,
                fmt::join(tensor.strides().begin(), tensor.strides().end(), ", "));
}

// A tensor of elements; a thread of the kernel reads and writes 16 bytes at a time.
void check_elements(const char* name, const at::Tensor& tensor, at::IntArrayRef shape,
                    at::Device device) {
  check(name, tensor, at::kFloat, shape, device);
  const auto rest = reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) % 16;
  DISSENT_CHECK(
      rest == 0, kInternal,
      "update_members: {}: expected memory aligned to 16 bytes, found an address {} bytes past "
      "a multiple of it",
      name, rest);
}

// A moment has to be given if and only if the rule uses it.
void check_moment(const char* name, const at::Tensor& tensor, bool expected,
                  const at::Tensor& values) {
  if (expected) return check_elements(name, tensor, values.sizes(), values.device());
  DISSENT_CHECK(
      !tensor.defined(), kInternal,
      "update_members: {}: expected an undefined tensor (this rule has no such state), found {}",
      name, describe(tensor));
}

}  // namespace

void update_members(const UpdateOptions& options, const at::Tensor& values, const at::Tensor& first,
                    const at::Tensor& second, const at::Tensor& steps, const at::Tensor& slots,
                    const at::Tensor& gradient, const at::Tensor& rates, const at::Tensor& scales) {
  DISSENT_CHECK(values.defined() && values.dim() == 2 && values.size(1) % 4 == 0, kInternal,
                "update_members: values: expected [m, P] with P a multiple of 4, found {}",
                describe(values));

  // The kernels trust their arguments, so all shapes, dtypes, devices and alignments are checked
  // here.
  const auto device = values.device();
  const int64_t count = slots.defined() ? slots.numel() : 0, size = values.size(1);
  check_elements("values", values, values.sizes(), device);

  check_moment("first", first, options.rule != UpdateRule::kPlain, values);
  check_moment("second", second,
               options.rule == UpdateRule::kAdamW || options.rule == UpdateRule::kAdam, values);

  check("steps", steps, at::kFloat, {values.size(0)}, device);
  check("slots", slots, at::kLong, {count}, device);
  check_elements("gradient", gradient, {count, size}, device);
  check("rates", rates, at::kDouble, {count}, device);
  check("scales", scales, at::kDouble, {count}, device);
  DISSENT_CHECK(count <= kMaxUpdateMembers, kInternal,
                "update_members: slots: expected at most {} members, found {}", kMaxUpdateMembers,
                count);

  // A null pointer stands for a moment that the rule does not have.
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
  DISSENT_CHECK(values.is_cuda(), kUsage,
                "update_members: expected members on cpu or cuda, found {}", device.str());

  // The first kernel computes each member's f64 numbers into this memory, the second reads them: no
  // number passes through the host, so the launch can be recorded in a graph.
  const c10::cuda::CUDAGuard guard(device);
  const auto members = at::empty({count, static_cast<int64_t>(sizeof(MemberNumbers))},
                                 slots.options().dtype(at::kByte));
  arrays.members = static_cast<MemberNumbers*>(members.data_ptr());

  const int code = launch_update_members(options, arrays,
                                         c10::cuda::getCurrentCUDAStream(device.index()).stream());
  DISSENT_CHECK(code == 0, kComm, "update_members: the kernel could not be started: CUDA error {}",
                code);
#else
  DISSENT_FAIL(kUsage,
               "update_members: expected a build with CUDA for members on {}, found one without",
               device.str());
#endif
}

}  // namespace dissent::kernels
