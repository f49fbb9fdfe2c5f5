#include "models/block_head.hpp"

#include <cstdint>
#include <vector>

#include "core/random.hpp"
#include "models/linear.hpp"

namespace dissent {
namespace {
constexpr double kNormEps = 1e-6;
constexpr double kWeightDeviation = 0.02;
constexpr double kGammaStart = 1e-4;
enum Saved : size_t { kU, kMean2, kRstd2, kZ, kA, kF, kY, kMean, kRstd, kN };
}  // namespace

BlockHead::BlockHead(int64_t dim, int64_t hidden, int64_t classes) : dim_(dim) {
  // Names are those of SED's state dict, so that weights can be exchanged with it.
  norm2_weight_ = layout_.add("norm2.weight", {dim});
  norm2_bias_ = layout_.add("norm2.bias", {dim});
  fc1_weight_ = layout_.add("mlp.fc1.weight", {hidden, dim});
  fc1_bias_ = layout_.add("mlp.fc1.bias", {hidden});
  fc2_weight_ = layout_.add("mlp.fc2.weight", {dim, hidden});
  fc2_bias_ = layout_.add("mlp.fc2.bias", {dim});
  gamma_ = layout_.add("gamma_2", {dim});
  norm_weight_ = layout_.add("norm.weight", {dim});
  norm_bias_ = layout_.add("norm.bias", {dim});

  // The classifier comes last: its bias tells the number of classes.
  head_weight_ = layout_.add("head.weight", {classes, dim});
  head_bias_ = layout_.add("head.bias", {classes});
}

void BlockHead::initialise(at::Tensor flat, uint64_t seed, int64_t member) const {
  flat.zero_();
  for (const size_t entry : {norm2_weight_, norm_weight_})
    parameter(flat, layout_.entry(entry)).fill_(1);

  // A small gamma_2 makes the residual branch start near 0, as LayerScale does.
  parameter(flat, layout_.entry(gamma_)).fill_(kGammaStart);
  for (const size_t entry : {fc1_weight_, fc2_weight_, head_weight_})
    fill_truncated_normal(parameter(flat, layout_.entry(entry)), kWeightDeviation,
                          Random(seed, Purpose::kWeights, member, entry));
}

at::Tensor BlockHead::forward(const at::Tensor& flat, const at::Tensor& x,
                              std::vector<at::Tensor>* saved) const {
  const auto p = [&](size_t entry) { return parameter(flat, layout_.entry(entry)); };

  // y = x + gamma_2 * fc2(gelu(fc1(norm2(x)))), the MLP branch of the transformer block.
  auto [u, mean2, rstd2] =
      at::native_layer_norm(x, {dim_}, p(norm2_weight_), p(norm2_bias_), kNormEps);
  auto z = linear(u, p(fc1_weight_), p(fc1_bias_));
  auto a = at::gelu(z);
  auto f = linear(a, p(fc2_weight_), p(fc2_bias_));
  auto y = at::addcmul(x, f, p(gamma_));

  // logits = head(norm(y))
  auto [n, mean, rstd] = at::native_layer_norm(y, {dim_}, p(norm_weight_), p(norm_bias_), kNormEps);
  auto logits = linear(n, p(head_weight_), p(head_bias_));
  if (saved) *saved = {u, mean2, rstd2, z, a, f, y, mean, rstd, n};
  return logits;
}

HeadGradient BlockHead::backward(const at::Tensor& flat, const at::Tensor& x,
                                 const std::vector<at::Tensor>& saved, const at::Tensor& dlogits,
                                 at::Tensor* dx) const {
  const auto p = [&](size_t entry) { return parameter(flat, layout_.entry(entry)); };
  const auto dn = linear_input_gradient(dlogits, p(head_weight_));

  // Classifier and final norm, then through the scaled MLP branch y = x + gamma f.
  auto [dy, dnorm_weight, dnorm_bias] =
      at::native_layer_norm_backward(dn, saved[kY], {dim_}, saved[kMean], saved[kRstd],
                                     p(norm_weight_), p(norm_bias_), {true, true, true});

  // From f back to the input of norm2. Linear layers give their weight gradient as the two factors
  // dy' x, which the optimiser multiplies.
  const auto df = dy * p(gamma_);
  const auto dz = at::gelu_backward(linear_input_gradient(df, p(fc2_weight_)), saved[kZ]);
  const auto du = linear_input_gradient(dz, p(fc1_weight_));

  auto [dx_norm, dnorm2_weight, dnorm2_bias] =
      at::native_layer_norm_backward(du, x, {dim_}, saved[kMean2], saved[kRstd2], p(norm2_weight_),
                                     p(norm2_bias_), {dx != nullptr, true, true});

  // The input reaches y directly and through norm2.
  if (dx) *dx = dy + dx_norm;

  return {{{fc1_weight_, dz, saved[kU]},
           {fc2_weight_, df, saved[kA]},
           {head_weight_, dlogits, saved[kN]}},
          {{norm2_weight_, dnorm2_weight},
           {norm2_bias_, dnorm2_bias},
           {fc1_bias_, dz.sum(0)},
           {fc2_bias_, df.sum(0)},
           {gamma_, (dy * saved[kF]).sum(0)},
           {norm_weight_, dnorm_weight},
           {norm_bias_, dnorm_bias},
           {head_bias_, dlogits.sum(0)}}};
}

// Layer norms without their affine part, which differs between members and is applied separately.
at::Tensor BlockHead::forward_stack(const at::Tensor& flats, const at::Tensor& x,
                                    std::vector<at::Tensor>* saved) const {
  const auto p = [&](size_t entry) { return stacked_parameter(flats, layout_.entry(entry)); };
  const auto row = [&](size_t entry) { return p(entry).unsqueeze(1); };

  // The MLP branch.
  auto [x_hat, mean2, rstd2] = at::native_layer_norm(x, {dim_}, {}, {}, kNormEps);
  auto u = at::addcmul(row(norm2_bias_), x_hat, row(norm2_weight_));
  auto z = stacked_linear(u, p(fc1_weight_), p(fc1_bias_));
  auto a = at::gelu(z);
  auto f = stacked_linear(a, p(fc2_weight_), p(fc2_bias_));
  auto y = at::addcmul(x, f, row(gamma_));

  // Final norm and classifier.
  auto [y_hat, mean, rstd] = at::native_layer_norm(y, {dim_}, {}, {}, kNormEps);
  auto n = at::addcmul(row(norm_bias_), y_hat, row(norm_weight_));
  auto logits = stacked_linear(n, p(head_weight_), p(head_bias_));
  if (saved) *saved = {u, mean2, rstd2, z, a, f, y, mean, rstd, n, x_hat, y_hat};
  return logits;
}

void BlockHead::backward_stack(const at::Tensor& flats, const at::Tensor&,
                               const std::vector<at::Tensor>& saved, const at::Tensor& dlogits,
                               at::Tensor& gradient) const {
  const auto p = [&](size_t entry) { return stacked_parameter(flats, layout_.entry(entry)); };
  const auto g = [&](size_t entry) { return stacked_parameter(gradient, layout_.entry(entry)); };
  const auto &x_hat = saved[kN + 1], &y_hat = saved[kN + 2];

  // Classifier and final norm.
  stacked_linear_gradient(dlogits, saved[kN], g(head_weight_), g(head_bias_));
  const auto dn = stacked_linear_input_gradient(dlogits, p(head_weight_));
  g(norm_weight_).copy_((dn * y_hat).sum(1));
  g(norm_bias_).copy_(dn.sum(1));

  // The MLP branch, from its scale gamma back to norm2.
  const auto dy = std::get<0>(
      at::native_layer_norm_backward(dn * p(norm_weight_).unsqueeze(1), saved[kY], {dim_},
                                     saved[kMean], saved[kRstd], {}, {}, {true, false, false}));
  g(gamma_).copy_((dy * saved[kF]).sum(1));

  const auto df = dy * p(gamma_).unsqueeze(1);
  stacked_linear_gradient(df, saved[kA], g(fc2_weight_), g(fc2_bias_));

  const auto dz = at::gelu_backward(stacked_linear_input_gradient(df, p(fc2_weight_)), saved[kZ]);
  stacked_linear_gradient(dz, saved[kU], g(fc1_weight_), g(fc1_bias_));

  const auto du = stacked_linear_input_gradient(dz, p(fc1_weight_));
  g(norm2_weight_).copy_((du * x_hat).sum(1));
  g(norm2_bias_).copy_(du.sum(1));
}

}  // namespace dissent
