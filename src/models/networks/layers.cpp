#include "models/networks/layers.hpp"

#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>

#include "core/tensor_check.hpp"
#include "models/networks/synchronised_batch_norm.hpp"

namespace dissent {
namespace {

constexpr double kBatchNormEps = 1e-5;
constexpr double kBatchNormMomentum = 0.1;
constexpr double kTransformerDeviation = 0.02;

size_t add_buffer(NetworkParts& parts, std::string name, std::vector<int64_t> shape,
                  double initial) {
  parts.buffer_initial.push_back(initial);
  return parts.buffers.add(std::move(name), std::move(shape));
}

constexpr Initial constant(double value) { return {Initial::Kind::kConstant, value}; }
constexpr Initial normal(double deviation) { return {Initial::Kind::kNormal, deviation}; }

Linear add_linear(NetworkParts& parts, const std::string& name, const LinearShape& shape,
                  Initial weight, Initial bias) {
  Linear layer{add_parameter(parts, name + ".weight", {shape.out, shape.in}, weight), 0,
               shape.bias};
  if (shape.bias) layer.bias = add_parameter(parts, name + ".bias", {shape.out}, bias);
  return layer;
}

template <class T>
void pool_plane(const T* x, int64_t width, int64_t out_height, int64_t out_width, T* out,
                int64_t* indices) {
  for (int64_t i = 0; i < out_height; ++i) {
    const T *top = x + 2 * i * width, *bottom = top + width;
    for (int64_t j = 0; j < out_width; ++j) {
      const T values[4] = {top[2 * j], top[2 * j + 1], bottom[2 * j], bottom[2 * j + 1]};

      // The first of equal values wins, and NaN always wins.
      T best = values[0];
      int64_t place = 0;
      for (int64_t k = 1; k < 4; ++k) {
        const bool larger = values[k] > best || values[k] != values[k];
        best = larger ? values[k] : best;
        place = larger ? k : place;
      }
      out[i * out_width + j] = best;
      indices[i * out_width + j] = (2 * i + place / 2) * width + 2 * j + place % 2;
    }
  }
}

// The forward pass uses the loop above; the backward pass and its derivative use ATen's operators,
// which read the indices of the maxima.
struct MaxPool2x2 : torch::autograd::Function<MaxPool2x2> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x) {
    const int64_t height = x.size(2), width = x.size(3), out_height = height / 2,
                  out_width = width / 2, planes = x.size(0) * x.size(1);

    // An odd last row or column is dropped, as max_pool2d does.
    auto out = at::empty({x.size(0), x.size(1), out_height, out_width}, x.options());
    auto indices = at::empty(out.sizes(), x.options().dtype(at::kLong));
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "max_pool_2x2", [&] {
      for (int64_t plane = 0; plane < planes; ++plane)
        pool_plane(x.const_data_ptr<scalar_t>() + plane * height * width, width, out_height,
                   out_width, out.data_ptr<scalar_t>() + plane * out_height * out_width,
                   indices.data_ptr<int64_t>() + plane * out_height * out_width);
    });

    context->save_for_backward({x, indices});
    return out;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    return {at::max_pool2d_with_indices_backward(gradients[0].contiguous(), saved[0], {2, 2},
                                                 {2, 2}, {0, 0}, {1, 1}, false, saved[1])};
  }
};

}  // namespace

at::Tensor max_pool_2x2(const at::Tensor& x) {
  const bool plain = x.is_cpu() && x.is_contiguous() &&
                     (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble);

  // ATen's pooling handles any window; for 2 x 2 a plain loop is faster.
  return plain ? MaxPool2x2::apply(x) : at::max_pool2d(x, {2, 2});
}

Initial default_initial(int64_t fan_in) {
  return {Initial::Kind::kUniform, 1 / std::sqrt(static_cast<double>(fan_in))};
}

size_t add_parameter(NetworkParts& parts, std::string name, std::vector<int64_t> shape,
                     Initial initial) {
  parts.initial.push_back(initial);
  return parts.parameters.add(std::move(name), std::move(shape));
}

Convolution add_convolution(NetworkParts& parts, const std::string& name,
                            const ConvolutionShape& shape, bool normal_fan_out) {
  const int64_t area = shape.kernel * shape.kernel;
  const auto initial = normal_fan_out
                           ? normal(std::sqrt(2.0 / static_cast<double>(shape.out * area)))
                           : default_initial(shape.in * area);

  Convolution layer{add_parameter(parts, name + ".weight",
                                  {shape.out, shape.in, shape.kernel, shape.kernel}, initial),
                    0, shape.bias, shape.stride, shape.padding};
  if (shape.bias)
    layer.bias =
        add_parameter(parts, name + ".bias", {shape.out}, default_initial(shape.in * area));
  return layer;
}

at::Tensor Convolution::operator()(const Pass& pass, const at::Tensor& x) const {
  const std::optional<at::Tensor> offset =
      has_bias ? std::make_optional(pass.parameters[bias]) : std::nullopt;
  return at::conv2d(x, pass.parameters[weight], offset, {stride, stride},
                    at::IntArrayRef{padding, padding});
}

BatchNorm add_batch_norm(NetworkParts& parts, const std::string& name, int64_t channels) {
  return {add_parameter(parts, name + ".weight", {channels}, constant(1)),
          add_parameter(parts, name + ".bias", {channels}, constant(0)),
          add_buffer(parts, name + ".running_mean", {channels}, 0),
          add_buffer(parts, name + ".running_var", {channels}, 1),
          add_buffer(parts, name + ".num_batches_tracked", {}, 0)};
}

at::Tensor BatchNorm::operator()(const Pass& pass, const at::Tensor& x) const {
  // With one value per channel the variance is 0 and its unbiased estimate 0 / 0. With ranks that
  // share the batch, their values are counted together.
  if (pass.training) {
    DISSENT_CHECK(
        pass.data || x.size(0) * x.size(2) * x.size(3) > 1, kUsage,
        "batch norm: x: expected more than one value per channel in training mode, found {}",
        describe(x));

    // PyTorch's state dicts contain the count; nothing here depends on it.
    at::NoGradGuard no_grad;
    at::Tensor(pass.buffers[count]).add_(1);
  }

  // Moves the running statistics too, with those of the whole batch.
  if (pass.training && pass.data)
    return synchronised_batch_norm(
        x, {pass.parameters[weight], pass.parameters[bias], pass.buffers[mean],
            pass.buffers[variance], kBatchNormMomentum, kBatchNormEps, *pass.data});

  return at::batch_norm(x, pass.parameters[weight], pass.parameters[bias], pass.buffers[mean],
                        pass.buffers[variance], pass.training, kBatchNormMomentum, kBatchNormEps,
                        at::globalContext().userEnabledCuDNN());
}

Linear add_linear(NetworkParts& parts, const std::string& name, const LinearShape& shape) {
  return add_linear(parts, name, shape, default_initial(shape.in), default_initial(shape.in));
}

Linear add_transformer_linear(NetworkParts& parts, const std::string& name,
                              const LinearShape& shape) {
  return add_linear(parts, name, shape, normal(kTransformerDeviation), constant(0));
}

at::Tensor Linear::operator()(const Pass& pass, const at::Tensor& x) const {
  return at::linear(x, pass.parameters[weight],
                    has_bias ? std::make_optional(pass.parameters[bias]) : std::nullopt);
}

LayerNorm add_layer_norm(NetworkParts& parts, const std::string& name, int64_t dim, double eps) {
  return {add_parameter(parts, name + ".weight", {dim}, constant(1)),
          add_parameter(parts, name + ".bias", {dim}, constant(0)), dim, eps};
}

at::Tensor LayerNorm::operator()(const Pass& pass, const at::Tensor& x) const {
  return at::layer_norm(x, {dim}, pass.parameters[weight], pass.parameters[bias], eps);
}

}  // namespace dissent
