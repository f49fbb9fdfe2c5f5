#include "models/mlp_head.hpp"

#include <cmath>
#include <cstdint>
#include <vector>

#include "core/random.hpp"
#include "models/linear.hpp"

namespace dissent {
namespace {

// As torch.nn.Linear: kaiming_uniform with a = sqrt(5) is uniform in +-1/sqrt(in), and so is the
// bias.
void initialise_linear(const at::Tensor& flat, const ParameterLayout& layout, size_t weight,
                       size_t bias, uint64_t seed, int64_t member) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(layout.entry(weight).shape[1]));
  for (const size_t entry : {weight, bias})
    fill_uniform(parameter(flat, layout.entry(entry)), -bound, bound,
                 Random(seed, Purpose::kWeights, member, entry));
}

}  // namespace

MlpHead::MlpHead(int64_t dim, int64_t hidden, int64_t classes) {
  fc1_weight_ = layout_.add("fc1.weight", {hidden, dim});
  fc1_bias_ = layout_.add("fc1.bias", {hidden});
  fc2_weight_ = layout_.add("fc2.weight", {classes, hidden});
  fc2_bias_ = layout_.add("fc2.bias", {classes});
}

void MlpHead::initialise(at::Tensor flat, uint64_t seed, int64_t member) const {
  flat.zero_();
  initialise_linear(flat, layout_, fc1_weight_, fc1_bias_, seed, member);
  initialise_linear(flat, layout_, fc2_weight_, fc2_bias_, seed, member);
}

at::Tensor MlpHead::forward(const at::Tensor& flat, const at::Tensor& x,
                            std::vector<at::Tensor>* saved) const {
  const auto p = [&](size_t entry) { return parameter(flat, layout_.entry(entry)); };
  auto a = linear(x, p(fc1_weight_), p(fc1_bias_)).relu_();
  auto logits = linear(a, p(fc2_weight_), p(fc2_bias_));
  if (saved) *saved = {a};
  return logits;
}

HeadGradient MlpHead::backward(const at::Tensor& flat, const at::Tensor& x,
                               const std::vector<at::Tensor>& saved, const at::Tensor& dlogits,
                               at::Tensor* dx) const {
  const auto p = [&](size_t entry) { return parameter(flat, layout_.entry(entry)); };
  const auto& a = saved[0];

  // Through the ReLU: a > 0 where its input was.
  const auto dz = at::threshold_backward(linear_input_gradient(dlogits, p(fc2_weight_)), a, 0);

  if (dx) *dx = linear_input_gradient(dz, p(fc1_weight_));
  return {{{fc1_weight_, dz, x}, {fc2_weight_, dlogits, a}},
          {{fc1_bias_, dz.sum(0)}, {fc2_bias_, dlogits.sum(0)}}};
}

at::Tensor MlpHead::forward_stack(const at::Tensor& flats, const at::Tensor& x,
                                  std::vector<at::Tensor>* saved) const {
  const auto p = [&](size_t entry) { return stacked_parameter(flats, layout_.entry(entry)); };
  auto a = stacked_linear(x, p(fc1_weight_), p(fc1_bias_)).relu_();
  auto logits = stacked_linear(a, p(fc2_weight_), p(fc2_bias_));
  if (saved) *saved = {a};
  return logits;
}

void MlpHead::backward_stack(const at::Tensor& flats, const at::Tensor& x,
                             const std::vector<at::Tensor>& saved, const at::Tensor& dlogits,
                             at::Tensor& gradient) const {
  const auto g = [&](size_t entry) { return stacked_parameter(gradient, layout_.entry(entry)); };
  const auto& a = saved[0];

  stacked_linear_gradient(dlogits, a, g(fc2_weight_), g(fc2_bias_));

  const auto da =
      stacked_linear_input_gradient(dlogits, stacked_parameter(flats, layout_.entry(fc2_weight_)));
  stacked_linear_gradient(at::threshold_backward(da, a, 0), x, g(fc1_weight_), g(fc1_bias_));
}

LinearHead::LinearHead(int64_t dim, int64_t classes) {
  weight_ = layout_.add("head.weight", {classes, dim});
  bias_ = layout_.add("head.bias", {classes});
}

void LinearHead::initialise(at::Tensor flat, uint64_t seed, int64_t member) const {
  flat.zero_();
  initialise_linear(flat, layout_, weight_, bias_, seed, member);
}

at::Tensor LinearHead::forward(const at::Tensor& flat, const at::Tensor& x,
                               std::vector<at::Tensor>* saved) const {
  if (saved) saved->clear();
  return linear(x, parameter(flat, layout_.entry(weight_)), parameter(flat, layout_.entry(bias_)));
}

HeadGradient LinearHead::backward(const at::Tensor& flat, const at::Tensor& x,
                                  const std::vector<at::Tensor>&, const at::Tensor& dlogits,
                                  at::Tensor* dx) const {
  if (dx) *dx = linear_input_gradient(dlogits, parameter(flat, layout_.entry(weight_)));
  return {{{weight_, dlogits, x}}, {{bias_, dlogits.sum(0)}}};
}

at::Tensor LinearHead::forward_stack(const at::Tensor& flats, const at::Tensor& x,
                                     std::vector<at::Tensor>* saved) const {
  if (saved) saved->clear();
  return stacked_linear(x, stacked_parameter(flats, layout_.entry(weight_)),
                        stacked_parameter(flats, layout_.entry(bias_)));
}

void LinearHead::backward_stack(const at::Tensor&, const at::Tensor& x,
                                const std::vector<at::Tensor>&, const at::Tensor& dlogits,
                                at::Tensor& gradient) const {
  stacked_linear_gradient(dlogits, x, stacked_parameter(gradient, layout_.entry(weight_)),
                          stacked_parameter(gradient, layout_.entry(bias_)));
}

}  // namespace dissent
