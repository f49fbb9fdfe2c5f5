#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "models/parameters.hpp"

namespace dissent {

class Communicator;

/// Initial value of a parameter: a constant, uniform in +-value, or normal with deviation `value`
/// truncated at +-2 (absolute, as timm's trunc_normal_; for the deviations of networks, at most
/// 0.2, this truncates nothing).
struct Initial {
  enum class Kind { kConstant, kUniform, kNormal } kind;
  double value;
};

/// PyTorch's default for weights and biases of convolutions and linear layers: uniform in
/// +-1/sqrt(fan_in).
Initial default_initial(int64_t fan_in);

/// Parameters and buffers of a network, in the order in which its layers add them: PyTorch's order
/// of named_parameters().
struct NetworkParts {
  ParameterLayout parameters;
  std::vector<Initial> initial;  ///< one per parameter
  ParameterLayout buffers;       ///< BatchNorm's running_mean, running_var, num_batches_tracked
  std::vector<double> buffer_initial;
};

/// The data that a forward pass reads and, in training mode, updates.
struct Pass {
  const std::vector<at::Tensor>& parameters;  ///< in the order of the layout
  std::vector<at::Tensor> buffers;  ///< views of the flat buffers, in the order of the layout
  bool training;
  /// Ranks that share the batch, if BatchNorm uses the statistics of the whole batch; else null.
  Communicator* data = nullptr;
};

/// Adds a single parameter and returns its position.
size_t add_parameter(NetworkParts& parts, std::string name, std::vector<int64_t> shape,
                     Initial initial);

/// x in the dtype of the parameters, so that saliency losses do not read half precision under
/// autocast.
inline at::Tensor as_parameters(const Pass& pass, const at::Tensor& x) {
  return x.to(pass.parameters[0].scalar_type());
}

/// y = w * x (+ b): weight [out, in, k, k].
struct Convolution {
  size_t weight, bias;
  bool has_bias;
  int64_t stride, padding;
  at::Tensor operator()(const Pass& pass, const at::Tensor& x) const;
};
struct ConvolutionShape {
  int64_t in, out, kernel, stride = 1, padding = 0;
  bool bias = false;
};
/// With PyTorch's default initialisation, or weights normal with deviation sqrt(2 / (out k k))
/// (torchvision's ResNet: He et al. 2015, fan out).
Convolution add_convolution(NetworkParts& parts, const std::string& name,
                            const ConvolutionShape& shape, bool normal_fan_out = false);

/// y = (x - mean) / sqrt(var + 1e-5) * weight + bias, per channel of x [B, K, H, W]. In training
/// mode: mean and biased variance of the batch, and the running values move by 0.1 towards the
/// batch's mean and unbiased variance; if Pass::data is set, over the batch of all these ranks
/// (synchronised_batch_norm.hpp). In evaluation mode: the running values. Twice differentiable in
/// both modes.
struct BatchNorm {
  size_t weight, bias, mean, variance, count;
  at::Tensor operator()(const Pass& pass, const at::Tensor& x) const;
};
BatchNorm add_batch_norm(NetworkParts& parts, const std::string& name, int64_t channels);

/// Maxima of 2 x 2 windows, bitwise as at::max_pool2d(x, 2) (an odd last row or column is dropped,
/// NaN wins, the first of equal values gets the gradient), differentiable any number of times. Five
/// times as fast as LibTorch's on the CPU, where it takes a fifth of LeNet's step.
at::Tensor max_pool_2x2(const at::Tensor& x);

/// y = x w' + b: weight [out, in].
struct Linear {
  size_t weight, bias;
  bool has_bias;
  at::Tensor operator()(const Pass& pass, const at::Tensor& x) const;
};
struct LinearShape {
  int64_t in, out;
  bool bias = true;
};
/// With PyTorch's default initialisation.
Linear add_linear(NetworkParts& parts, const std::string& name, const LinearShape& shape);
/// With the initialisation of transformers: weights truncated normal with deviation 0.02, biases 0.
Linear add_transformer_linear(NetworkParts& parts, const std::string& name,
                              const LinearShape& shape);

/// Normalisation over the last dimension, biased variance.
struct LayerNorm {
  size_t weight, bias;
  int64_t dim;
  double eps;
  at::Tensor operator()(const Pass& pass, const at::Tensor& x) const;
};
LayerNorm add_layer_norm(NetworkParts& parts, const std::string& name, int64_t dim, double eps);

}  // namespace dissent
