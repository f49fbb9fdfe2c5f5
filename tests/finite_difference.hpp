#pragma once
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>

namespace dissent::testing {

using Scalar = std::function<at::Tensor(const at::Tensor&)>;

/// Gradient of a scalar function at a point, by autograd.
inline at::Tensor gradient_of(const Scalar& f, const at::Tensor& point) {
  const auto x = point.detach().clone().set_requires_grad(true);
  return torch::autograd::grad({f(x)}, {x})[0];
}

/// Largest difference between autograd's gradient and central differences, over all elements. f64;
/// with step 1e-5 both errors of the difference (step^2 f''' / 6 and 2^-52 f / step) are about
/// 1e-10 for values and derivatives near 1.
inline double gradient_error(const Scalar& f, const at::Tensor& point, double step = 1e-5) {
  const auto gradient = gradient_of(f, point).contiguous();
  auto x = point.detach().clone().contiguous();
  double worst = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    auto* element = x.data_ptr<double>() + i;
    const double value = *element;
    *element = value + step;
    const double above = f(x).item<double>();
    *element = value - step;
    const double below = f(x).item<double>();
    *element = value;
    worst =
        std::max(worst, std::abs((above - below) / (2 * step) - gradient.data_ptr<double>()[i]));
  }
  return worst;
}

/// Bound for gradient_error in these tests.
inline constexpr double kGradientTolerance = 1e-8;

/// Logits [M, B, C] of the given deviation, the same on every machine.
inline at::Tensor made_logits(int64_t members, int64_t rows, int64_t classes,
                              double deviation = 1.5, uint64_t seed = 7) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn({members, rows, classes}, generator, at::kDouble) * deviation;
}

}  // namespace dissent::testing
