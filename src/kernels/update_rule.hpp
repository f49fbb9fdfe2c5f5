#pragma once
#include <cmath>
#include <cstdint>

// The update of one element, shared by the loop and the kernel; no torch header, so that nvcc reads
// it in a second.
#ifdef __CUDACC__
#define DISSENT_HOST_DEVICE __host__ __device__
#else
#define DISSENT_HOST_DEVICE
#endif

namespace dissent::kernels {

enum class UpdateRule : int { kAdamW, kAdam, kMomentum, kNesterov, kPlain };

/// What is the same for all elements of a member.
struct UpdateNumbers {
  UpdateRule rule;
  float rate, scale, weight_decay, momentum, beta1, beta2, epsilon;
  float correction1, correction2_sqrt;  ///< 1 - beta1^t, sqrt(1 - beta2^t)
};

/// The numbers of a member, from its steps taken (this one included), learning rate and gradient
/// scale.
DISSENT_HOST_DEVICE inline UpdateNumbers with_member(UpdateNumbers numbers, double beta1,
                                                     double beta2, double steps, double rate,
                                                     double scale) {
  numbers.rate = static_cast<float>(rate);
  numbers.scale = static_cast<float>(scale);
  numbers.correction1 = static_cast<float>(1 - pow(beta1, steps));
  numbers.correction2_sqrt = static_cast<float>(sqrt(1 - pow(beta2, steps)));
  return numbers;
}

DISSENT_HOST_DEVICE inline void update_element(const UpdateNumbers& n, float* value, float* first,
                                               float* second, float gradient) {
  float p = *value, g = gradient * n.scale;
  if (n.rule == UpdateRule::kAdamW) {
    p -= n.rate * n.weight_decay * p;
  } else {
    g += n.weight_decay * p;
  }
  if (n.rule == UpdateRule::kAdamW || n.rule == UpdateRule::kAdam) {
    const float m = *first + (g - *first) * (1 - n.beta1);
    const float v = n.beta2 * *second + (1 - n.beta2) * g * g;
    *first = m;
    *second = v;
    *value = p - n.rate / n.correction1 * m / (sqrtf(v) / n.correction2_sqrt + n.epsilon);
    return;
  }
  if (n.rule != UpdateRule::kPlain) {
    const float v = n.momentum * *first + g;
    *first = v;
    g = n.rule == UpdateRule::kNesterov ? g + n.momentum * v : v;
  }
  *value = p - n.rate * g;
}

#ifdef DISSENT_KERNELS_CUDA
/// update_members.cu. Pointers of device memory; stream: a cudaStream_t. Returns a cudaError_t.
int launch_update_members(const UpdateNumbers& numbers, double beta1, double beta2, float* values,
                          float* first, float* second, const float* steps, const int64_t* slots,
                          const float* gradient, const double* rates, const double* scales,
                          int64_t members, int64_t size, void* stream);
#endif

}  // namespace dissent::kernels
