#pragma once
#include <cmath>
#include <cstdint>

// The update of one element, shared by the plain loop and the kernel. Without torch headers, so
// that nvcc compiles it in a second.
#ifdef __CUDACC__
#define DISSENT_HOST_DEVICE __host__ __device__
#else
#define DISSENT_HOST_DEVICE
#endif

namespace dissent::kernels {

/// Rules of train/update/optimizer.hpp.
enum class UpdateRule : int { kAdamW, kAdam, kMomentum, kNesterov, kPlain };

struct UpdateOptions {
  UpdateRule rule = UpdateRule::kAdamW;
  double weight_decay = 0, momentum = 0, beta1 = 0, beta2 = 0, epsilon = 0;
};

/// Constants of all members.
struct UpdateNumbers {
  UpdateRule rule;
  float weight_decay, momentum, beta2, epsilon;
  float rest1, rest2;  ///< 1 - beta1, 1 - beta2, computed in f64: 1 - 0.999f has a relative error
                       ///< of 5e-5
};

inline UpdateNumbers update_numbers(const UpdateOptions& options) {
  return {options.rule,
          static_cast<float>(options.weight_decay),
          static_cast<float>(options.momentum),
          static_cast<float>(options.beta2),
          static_cast<float>(options.epsilon),
          static_cast<float>(1 - options.beta1),
          static_cast<float>(1 - options.beta2)};
}

/// Constants of all elements of a member.
struct MemberNumbers {
  int64_t offset;  ///< its first element in the stack; -1: the member is not changed
  float scale;     ///< factor of the gradient
  float rate;
  float step;              ///< rate / (1 - beta1^t), t: steps taken, this one included
  float correction2_sqrt;  ///< sqrt(1 - beta2^t)
};

/// Pointers to the stack and to the numbers of its update, all in the memory of one device. Shapes,
/// dtypes and limits: update_members.hpp.
struct UpdateArrays {
  float* values;
  float* first;   ///< null if the rule has none
  float* second;  ///< null if the rule has none
  const float* steps;
  const int64_t* slots;
  const float* gradient;
  const double* rates;
  const double* scales;
  MemberNumbers* members;  ///< [count], written by the first kernel; unused by the plain loop
  int64_t count;           ///< members of this update
  int64_t size;            ///< elements of a member
};

/// The numbers of the member at position i of the update.
DISSENT_HOST_DEVICE inline MemberNumbers member_numbers(const UpdateArrays& arrays, double beta1,
                                                        double beta2, int64_t i) {
  const int64_t slot = arrays.slots[i];
  const double steps = arrays.steps[slot], scale = arrays.scales[i];
  const float rate = static_cast<float>(arrays.rates[i]);

  // Adam's bias corrections, in f64: 1 - beta2^t of a first step is 1e-3 and would lose digits in
  // f32.
  return {scale < 0 ? -1 : slot * arrays.size, static_cast<float>(scale), rate,
          rate / static_cast<float>(1 - pow(beta1, steps)),
          static_cast<float>(sqrt(1 - pow(beta2, steps)))};
}

/// Updates one element; first and second are accessed only by rules that have them.
DISSENT_HOST_DEVICE inline void update_element(const UpdateNumbers& n, const MemberNumbers& member,
                                               float* value, float* first, float* second,
                                               float gradient) {
  // AdamW decays the weight itself, p -= lr wd p; the other rules add wd p to the gradient.
  float p = *value, g = gradient * member.scale;
  if (n.rule == UpdateRule::kAdamW) {
    p -= member.rate * n.weight_decay * p;
  } else {
    g += n.weight_decay * p;
  }

  //   m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2
  //   p -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
  if (n.rule == UpdateRule::kAdamW || n.rule == UpdateRule::kAdam) {
    const float m = *first + (g - *first) * n.rest1;
    const float v = n.beta2 * *second + n.rest2 * g * g;
    *first = m;
    *second = v;
    *value = p - member.step * m / (sqrtf(v) / member.correction2_sqrt + n.epsilon);
    return;
  }

  //   v = momentum v + g; the step is v, with Nesterov g + momentum v
  if (n.rule != UpdateRule::kPlain) {
    const float v = n.momentum * *first + g;
    *first = v;
    g = n.rule == UpdateRule::kNesterov ? g + n.momentum * v : v;
  }
  *value = p - member.rate * g;
}

#ifdef DISSENT_KERNELS_CUDA
/// Launches the kernels of update_members_body.hpp on a stream (a cudaStream_t) of the current
/// device; neither synchronises nor allocates, so it can be captured in a CUDA graph. All pointers
/// are to device memory. Returns a cudaError_t.
int launch_update_members(const UpdateOptions& options, const UpdateArrays& arrays, void* stream);
#endif

}  // namespace dissent::kernels
