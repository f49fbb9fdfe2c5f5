#include <dissent/scores/temperature.hpp>
#include <dissent/scores/vector_scaling.hpp>

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>
#include <vector>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"
#include "core/tensor_check.hpp"

namespace dissent::scores {
namespace {

constexpr int64_t kScalingBlockRows = 4096;
constexpr size_t kHistory = 10;
constexpr double kEnoughDecrease = 1e-4;
constexpr int kMostHalvings = 40;

// Value and gradient [2 C] at a point [2 C]: scale, then shift.
struct ScalingPoint {
  at::Tensor x, gradient;
  double value = 0;
};

ScalingPoint evaluate_scaling(const at::Tensor& logits, const at::Tensor& labels,
                              const at::Tensor& x) {
  const int64_t rows = logits.size(0), classes = logits.size(1),
                blocks = divide_up(rows, kScalingBlockRows);
  const auto scale = x.narrow(0, 0, classes), shift = x.narrow(0, classes, classes);
  std::vector<at::Tensor> sums(blocks);

  // Sums over a block of rows: gradient with respect to scale and shift, and the NLL.
  const auto block = [&](int64_t b) {
    const int64_t first = b * kScalingBlockRows, count = std::min(kScalingBlockRows, rows - first);
    const auto z = logits.narrow(0, first, count).to(at::kDouble);
    const auto y = labels.narrow(0, first, count).unsqueeze(1);
    const auto log_p = at::log_softmax(z * scale + shift, 1);
    const auto error = log_p.exp().scatter_add_(1, y, at::full({count, 1}, -1, x.options()));
    sums[b] =
        at::cat({(error * z).sum(0), error.sum(0), log_p.gather(1, y).sum().neg().unsqueeze(0)});
  };
  if (logits.device().is_cpu())
    parallel_tasks(blocks, block);
  else
    for (int64_t b = 0; b < blocks; ++b) block(b);

  // Blocks are added in row order, so the bits do not depend on the number of threads.
  auto sum = sums[0];
  for (int64_t b = 1; b < blocks; ++b) sum += sums[b];
  sum /= static_cast<double>(rows);
  return {x, sum.narrow(0, 0, 2 * classes), sum[2 * classes].item<double>()};
}

double dot_product(const at::Tensor& a, const at::Tensor& b) {
  return at::dot(a, b).item<double>();
}

// Steps of x and of the gradient, for the product of the inverse Hessian with a gradient (Nocedal &
// Wright, algorithm 7.4).
class InverseHessian {
 public:
  void add(const at::Tensor& step, const at::Tensor& change) {
    // Only pairs with curvature s^T y > 0 keep the approximation positive definite.
    const double curvature = dot_product(step, change);
    if (curvature <= 1e-14 * dot_product(change, change)) return;
    history_.push_back({step, change, curvature});
    if (history_.size() > kHistory) history_.pop_front();
  }
  at::Tensor times(const at::Tensor& gradient) const {
    auto q = gradient.clone();
    std::vector<double> alpha(history_.size());

    // First loop of the two-loop recursion, from the newest pair to the oldest.
    for (size_t i = history_.size(); i-- > 0;) {
      alpha[i] = dot_product(history_[i].step, q) / history_[i].curvature;
      q -= alpha[i] * history_[i].change;
    }

    // Between the loops: the initial inverse Hessian is s^T y / y^T y times the identity, of the
    // newest pair.
    if (!history_.empty())
      q *= history_.back().curvature / dot_product(history_.back().change, history_.back().change);

    // Second loop, from the oldest pair to the newest.
    for (size_t i = 0; i < history_.size(); ++i)
      q += (alpha[i] - dot_product(history_[i].change, q) / history_[i].curvature) *
           history_[i].step;
    return q;
  }
  bool empty() const { return history_.empty(); }
  void clear() { history_.clear(); }

 private:
  struct Pair {
    at::Tensor step, change;
    double curvature;
  };
  std::deque<Pair> history_;
};

// Halves the step until the value falls enough; the same point if it never does.
ScalingPoint search_line(const at::Tensor& logits, const at::Tensor& labels,
                         const ScalingPoint& from, const at::Tensor& direction, double step) {
  // Armijo: f(x + s d) <= f(x) + c s g^T d. Only a descent direction can meet it.
  const double slope = dot_product(from.gradient, direction);
  for (int i = 0; i < kMostHalvings && slope < 0; ++i, step /= 2) {
    auto next = evaluate_scaling(logits, labels, from.x + step * direction);
    if (next.value <= from.value + kEnoughDecrease * step * slope) return next;
  }
  return from;
}

}  // namespace

VectorScaling fit_vector_scaling(const at::Tensor& logits, const at::Tensor& labels,
                                 VectorScalingOptions options) {
  DISSENT_CHECK(
      options.tolerance > 0 && options.most_steps >= 0, kUsage,
      "fit_vector_scaling: options: expected tolerance > 0 and most_steps >= 0, found {} and {}",
      options.tolerance, options.most_steps);
  const auto temperature = fit_temperature(logits, labels);  // checks logits and labels
  const auto z = logits.detach();
  const int64_t classes = z.size(1);
  const auto number = z.options().dtype(at::kDouble);

  // The start is temperature scaling: the same scale for all classes, no shift.
  auto at = evaluate_scaling(z, labels,
                             at::cat({at::full({classes}, 1 / temperature.temperature, number),
                                      at::zeros({classes}, number)}));
  InverseHessian inverse;
  VectorScaling fit;

  const auto gradient = [&] { return at.gradient.abs().max().item<double>(); };

  // LBFGS. Without history the direction is the gradient, whose size says nothing about the step:
  // the first step is limited to an L1 length of 1.
  for (; fit.steps < options.most_steps && gradient() > options.tolerance; ++fit.steps) {
    const double first_step =
        inverse.empty() ? std::min(1.0, 1 / at.gradient.abs().sum().item<double>()) : 1;

    // No decrease with an approximation that is out of date: forget it and try the gradient once.
    auto next = search_line(z, labels, at, inverse.times(at.gradient).neg(), first_step);
    if (next.x.is_same(at.x)) {
      if (inverse.empty()) break;  // the value cannot be made smaller in f64
      inverse.clear();
      continue;
    }
    inverse.add(next.x - at.x, next.gradient - at.gradient);
    at = std::move(next);
  }

  // A constant added to all shifts changes no probability: the shifts are centred.
  const auto shift = at.x.narrow(0, classes, classes);
  fit.scale = at.x.narrow(0, 0, classes).clone();
  fit.shift = shift - shift.mean();
  fit.nll = at.value;
  fit.gradient = gradient();
  fit.converged = fit.gradient <= options.tolerance;
  return fit;
}

at::Tensor scale_logits(const at::Tensor& logits, const VectorScaling& scaling) {
  DISSENT_CHECK(scaling.scale.defined() && logits.defined() && logits.dim() >= 1 &&
                    logits.size(-1) == scaling.scale.size(0) &&
                    at::isFloatingType(logits.scalar_type()),
                kUsage, "scale_logits: logits: expected [..., {}] of f32 or f64, found {}",
                scaling.scale.defined() ? scaling.scale.size(0) : 0, describe(logits));

  // In f64, as the fit, and back to the type of the logits.
  return (logits.to(at::kDouble) * scaling.scale.to(logits.device()) +
          scaling.shift.to(logits.device()))
      .to(logits.scalar_type());
}

}  // namespace dissent::scores
