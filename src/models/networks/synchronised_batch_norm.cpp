#include "models/networks/synchronised_batch_norm.hpp"

#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "core/tensor_check.hpp"

namespace dissent {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The planes of a contiguous x [rows, channels, H, W]; `area` = H W values each.
struct Planes {
  int64_t rows, channels, area;
  explicit Planes(const at::Tensor& x)
      : rows(x.size(0)), channels(x.size(1)), area(x.size(2) * x.size(3)) {}
  template <class F>
  void each(F&& f) const {
    for (int64_t b = 0; b < rows; ++b)
      for (int64_t k = 0; k < channels; ++k) f(k, (b * channels + k) * area);
  }
};

// Mean of `count` values and the sum of their squared distances from it.
struct Moments {
  double count = 0, mean = 0, squares = 0;
  void merge(const Moments& other) {
    if (other.count == 0) return;

    // Chan, Golub, LeVeque: S = S_a + S_b + d^2 n_a n_b / n, with d the distance of the means.
    // Unlike sums of squares about 0, nothing cancels.
    const double all = count + other.count, distance = other.mean - mean;
    mean += distance * (other.count / all);
    squares += other.squares + distance * distance * (count * (other.count / all));
    count = all;
  }
};

// Sums in eight lanes, as many as a vector unit holds, in a fixed order of additions.
template <class F>
double sum_of(int64_t n, F&& value) {
  double lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int64_t l = 0; l < 8; ++l) lanes[l] += value(i + l);
  for (; i < n; ++i) lanes[i % 8] += value(i);
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
         ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

template <class T>
std::vector<Moments> moments_of(const T* x, const Planes& planes) {
  std::vector<Moments> moments(planes.channels);
  planes.each([&](int64_t k, int64_t first) {
    const T* plane = x + first;
    Moments own{static_cast<double>(planes.area), 0, 0};
    own.mean =
        sum_of(planes.area, [&](int64_t i) { return static_cast<double>(plane[i]); }) / own.count;
    // Two passes over a plane, while it is in cache: the sum of squares about the mean does not
    // cancel.
    own.squares = sum_of(planes.area, [&](int64_t i) {
      const double distance = static_cast<double>(plane[i]) - own.mean;
      return distance * distance;
    });
    moments[k].merge(own);
  });
  return moments;
}

at::Tensor gather(const at::Tensor& values, Communicator& data) {
  const std::vector<int64_t> counts(data.size(), values.numel());
  return data.all_gather(values.contiguous(), counts).view({data.size(), values.numel()});
}

struct RankSum : torch::autograd::Function<RankSum> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& values,
                            Communicator* data) {
    context->saved_data["data"] = reinterpret_cast<int64_t>(data);

    // Added in rank order on every rank, unlike an all-reduce: the same bits everywhere.
    const auto all = gather(values, *data);
    auto sum = all[0].clone();
    for (int64_t rank = 1; rank < all.size(0); ++rank) sum.add_(all[rank]);
    return sum;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    // The sum is on every rank, so the derivative of one rank's part is the sum of the derivatives
    // on all ranks.
    return {
        apply(gradients[0], reinterpret_cast<Communicator*>(context->saved_data["data"].toInt())),
        at::Tensor()};
  }
};

at::Tensor by_channel(const at::Tensor& values) { return values.view({1, -1, 1, 1}); }
at::Tensor channel_sums(const at::Tensor& x) {
  return at::sum(x, at::IntArrayRef{0, 2, 3}, false, at::kDouble);
}
at::ScalarType compute_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// Statistics of the whole batch for one layer.
struct Statistics {
  double count = 0;
  at::Tensor mean, inverse;  // [K] f64; inverse: 1 / sqrt(var + eps)
  at::Tensor normalised;     // from differentiable operators: (x - mean) inverse
};

void check_count(double count, const at::Tensor& x) {
  DISSENT_CHECK(
      count > 1, kUsage,
      "batch norm: x: expected more than one value per channel over all ranks in training mode, "
      "found {} on this rank",
      describe(x));
}

void move_running(const SplitBatchNorm& layer, const at::Tensor& mean, const at::Tensor& squares,
                  double count) {
  if (!layer.running_mean.defined()) return;

  // running <- (1 - momentum) running + momentum now, in f64, with the unbiased variance.
  const at::NoGradGuard no_graph;
  const auto move = [&](const at::Tensor& running, const at::Tensor& now) {
    running.copy_(running.to(at::kDouble).mul_(1 - layer.momentum).add_(now, layer.momentum));
  };
  move(layer.running_mean, mean);
  move(layer.running_variance, squares / (count - 1));
}

Statistics composed_statistics(const at::Tensor& x, const SplitBatchNorm& layer) {
  const int64_t channels = x.size(1);
  const auto work = x.to(compute_type(x));
  const auto own_count = at::full({1}, static_cast<double>(x.size(0) * x.size(2) * x.size(3)),
                                  work.options().dtype(at::kDouble));
  const auto sums = sum_over_ranks(at::cat({channel_sums(work), own_count}), layer.data);

  Statistics all;
  all.count = sums[channels].item<double>();
  check_count(all.count, x);
  all.mean = sums.narrow(0, 0, channels) / all.count;

  // Two passes, mean first, since the sum of squares about 0 would cancel.
  const auto centred = work - by_channel(all.mean.to(work.scalar_type()));
  const auto squares = sum_over_ranks(channel_sums(centred.square()), layer.data);
  all.inverse = (squares / all.count + layer.eps).rsqrt();
  all.normalised = centred * by_channel(all.inverse.to(work.scalar_type()));

  // Running statistics are not part of the graph.
  move_running(layer, all.mean.detach(), squares.detach(), all.count);
  return all;
}

// Plain loops, for the forward pass and for a backward pass without a graph.
Statistics fast_statistics(const at::Tensor& x, const SplitBatchNorm& layer) {
  const Planes planes(x);
  std::vector<Moments> own;
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, x.scalar_type(), "synchronised_batch_norm",
                                 [&] { own = moments_of(x.const_data_ptr<scalar_t>(), planes); });

  // Each rank sends its count and, per channel, mean and sum of squares.
  auto sent = at::empty({2 * planes.channels + 1}, at::kDouble);
  auto* number = sent.data_ptr<double>();
  number[0] = static_cast<double>(planes.rows * planes.area);
  for (int64_t k = 0; k < planes.channels; ++k) {
    number[1 + 2 * k] = own[k].mean;
    number[2 + 2 * k] = own[k].squares;
  }
  const auto all = gather(sent, layer.data);

  // Chan, Golub, LeVeque: merge the moments in rank order, so that every rank gets the same bits.
  Statistics result;
  result.mean = at::empty({planes.channels}, at::kDouble);
  result.inverse = at::empty({planes.channels}, at::kDouble);
  auto squares = at::empty({planes.channels}, at::kDouble);
  for (int64_t k = 0; k < planes.channels; ++k) {
    Moments whole;
    for (int64_t rank = 0; rank < layer.data.size(); ++rank) {
      const auto* of = all.const_data_ptr<double>() + rank * sent.numel();
      whole.merge({of[0], of[1 + 2 * k], of[2 + 2 * k]});
    }
    result.count = whole.count;
    result.mean.data_ptr<double>()[k] = whole.mean;
    result.inverse.data_ptr<double>()[k] = 1 / std::sqrt(whole.squares / whole.count + layer.eps);
    squares.data_ptr<double>()[k] = whole.squares;
  }

  // Only now is the count of the whole batch known, on every rank: all of them throw, or none.
  check_count(result.count, x);
  move_running(layer, result.mean, squares, result.count);
  return result;
}

template <class T>
using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;

// y = (x - mean) factor + offset
template <class T>
void normalise(const T* x, const Planes& planes, const double* mean, const double* factor,
               const double* offset, T* y) {
  planes.each([&](int64_t k, int64_t first) {
    const auto m = static_cast<Compute<T>>(mean[k]), f = static_cast<Compute<T>>(factor[k]),
               o = static_cast<Compute<T>>(offset[k]);
    for (int64_t i = first; i < first + planes.area; ++i)
      y[i] = static_cast<T>((static_cast<Compute<T>>(x[i]) - m) * f + o);
  });
}

// Adds up dy and dy (x - mean) of each channel: to [2, K].
template <class T>
void add_backward(const T* dy, const T* x, const Planes& planes, const double* mean, double* sums) {
  planes.each([&](int64_t k, int64_t first) {
    sums[k] += sum_of(planes.area, [&](int64_t i) { return static_cast<double>(dy[first + i]); });
    sums[planes.channels + k] += sum_of(planes.area, [&](int64_t i) {
      return static_cast<double>(dy[first + i]) * (static_cast<double>(x[first + i]) - mean[k]);
    });
  });
}

// dx = factor (dy - level - (x - mean) slope)
template <class T>
void backward_values(const T* dy, const T* x, const Planes& planes, const double* mean,
                     const double* factor, const double* level, const double* slope, T* dx) {
  planes.each([&](int64_t k, int64_t first) {
    const auto m = static_cast<Compute<T>>(mean[k]), f = static_cast<Compute<T>>(factor[k]),
               l = static_cast<Compute<T>>(level[k]), s = static_cast<Compute<T>>(slope[k]);
    for (int64_t i = first; i < first + planes.area; ++i)
      dx[i] = static_cast<T>(
          f * (static_cast<Compute<T>>(dy[i]) - l - (static_cast<Compute<T>>(x[i]) - m) * s));
  });
}

const double* numbers(const at::Tensor& values) { return values.const_data_ptr<double>(); }

// Backward pass without a graph.
variable_list fast_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& mean, const at::Tensor& inverse, double count,
                            Communicator& data) {
  const Planes planes(x);
  auto own = at::zeros({2, planes.channels}, at::kDouble), dx = at::empty(x.sizes(), x.options());
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, x.scalar_type(), "synchronised_batch_norm", [&] {
    add_backward(dy.const_data_ptr<scalar_t>(), x.const_data_ptr<scalar_t>(), planes, numbers(mean),
                 own.data_ptr<double>());
  });

  //   dx = (w / s) (dy - mean(dy) - n mean(dy n)),  n = (x - mean) / s,  s = sqrt(var + eps)
  // where the means are over the whole batch: their sums are what ranks exchange.
  const auto means = sum_over_ranks(own.view(-1), data).view({2, -1}) / count;
  const auto factor = inverse * weight.to(at::kDouble), slope = means[1] * inverse * inverse;

  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, x.scalar_type(), "synchronised_batch_norm", [&] {
    backward_values(dy.const_data_ptr<scalar_t>(), x.const_data_ptr<scalar_t>(), planes,
                    numbers(mean), numbers(factor), numbers(means), numbers(slope),
                    dx.data_ptr<scalar_t>());
  });

  // Derivatives of weight and bias are those of this rank's rows; the trainer sums them over ranks
  // with all others.
  return {dx, (own[1] * inverse).to(weight.scalar_type()), own[0].to(weight.scalar_type())};
}

// Backward pass with a graph: the same formula by differentiable operators, statistics included, so
// that their derivatives cross ranks too.
variable_list composed_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                                double eps, Communicator& data) {
  const auto all = composed_statistics(x, {weight, {}, {}, {}, 0, eps, data});
  const auto type = compute_type(x);
  const auto derivative = dy.to(type), product = derivative * all.normalised;
  const auto inner = derivative * by_channel(weight.to(type)),
             inner_product = product * by_channel(weight.to(type));

  // With g = dy weight and n the normalised x: dx = (g - mean(g) - n mean(g n)) / sqrt(var + eps),
  // the means over the whole batch.
  const auto means =
      sum_over_ranks(at::cat({channel_sums(inner), channel_sums(inner_product)}), data)
          .view({2, -1}) /
      all.count;

  const auto dx =
      (inner - by_channel(means[0].to(type)) - all.normalised * by_channel(means[1].to(type))) *
      by_channel(all.inverse.to(type));
  return {dx.to(x.scalar_type()), channel_sums(product).to(weight.scalar_type()),
          channel_sums(derivative).to(weight.scalar_type())};
}

struct Normalise : torch::autograd::Function<Normalise> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, const Statistics& all, double eps,
                            Communicator* data) {
    context->save_for_backward({x, weight, all.mean, all.inverse});
    context->saved_data["count"] = all.count;
    context->saved_data["eps"] = eps;
    context->saved_data["data"] = reinterpret_cast<int64_t>(data);

    auto y = at::empty(x.sizes(), x.options());

    const auto factor = all.inverse * weight.to(at::kDouble), offset = bias.to(at::kDouble);
    AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, x.scalar_type(), "synchronised_batch_norm", [&] {
      normalise(x.const_data_ptr<scalar_t>(), Planes(x), numbers(all.mean), numbers(factor),
                numbers(offset), y.data_ptr<scalar_t>());
    });
    return y;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &mean = saved[2], &inverse = saved[3];
    auto& data = *reinterpret_cast<Communicator*>(context->saved_data["data"].toInt());

    // Saliency losses differentiate a backward pass: it has to build a graph then, which the loops
    // cannot.
    const bool graph = at::GradMode::is_enabled();
    auto result = graph ? composed_backward(gradients[0], x, weight,
                                            context->saved_data["eps"].toDouble(), data)
                        : fast_backward(gradients[0].contiguous(), x, weight, mean, inverse,
                                        context->saved_data["count"].toDouble(), data);
    result.resize(6);  // no gradient for arguments that are not tensors
    return result;
  }
};

}  // namespace

at::Tensor sum_over_ranks(const at::Tensor& values, Communicator& data) {
  return RankSum::apply(values, &data);
}

at::Tensor composed_batch_norm(const at::Tensor& x, const SplitBatchNorm& layer) {
  const auto all = composed_statistics(x, layer);
  const auto type = compute_type(x);
  return (all.normalised * by_channel(layer.weight.to(type)) + by_channel(layer.bias.to(type)))
      .to(x.scalar_type());
}

at::Tensor synchronised_batch_norm(const at::Tensor& x, const SplitBatchNorm& layer) {
  if (!x.is_cpu()) return composed_batch_norm(x, layer);

  // The statistics are computed outside the graph: Normalise has the whole derivative.
  const auto dense = x.contiguous();
  Statistics all;
  {
    const at::NoGradGuard no_graph;
    all = fast_statistics(dense, layer);
  }
  return Normalise::apply(dense, layer.weight, layer.bias, all, layer.eps, &layer.data);
}

}  // namespace dissent
