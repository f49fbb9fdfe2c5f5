// Cases of sdde_losses.h5 on saliency maps: gradcam, inpgrad, similarity_*.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <dissent/losses/gradcam.hpp>
#include <dissent/losses/input_gradient.hpp>

#include "verify/case.hpp"

namespace dissent::verify {
namespace {

using losses::MemberInputs;

// For an option of the reference that is a constant here: a case with another value cannot be
// computed.
void expect_param(const Case& reference, const std::string& parameter, double ours) {
  const double found = reference.param<double>(parameter);
  DISSENT_CHECK(found == ours, kCheck, "parameter {}: expected {}, found {}", parameter, ours,
                found);
}

losses::GradCamOptions grad_cam_options(const Case& reference) {
  expect_param(reference, "std_eps", losses::kStdEps);
  expect_param(reference, "norm_eps", losses::kNormEps);
  if (reference.has("noise_scale")) expect_param(reference, "noise_scale", losses::kLogitNoise);
  if (reference.has("quantile")) expect_param(reference, "quantile", 0.5);
  return {.target = losses::grad_cam_target(reference.param<std::string>("mode")),
          .activation = losses::map_activation(reference.param<std::string>("activation")),
          .crop = reference.param<int64_t>("padding"),
          .similarity = losses::similarity_kind(reference.param<std::string>("similarity"))};
}

// The heads described in the notes of the cases, on maps f [M, B, K, H, W], by the parameter
// `head`:
//   pixel    z_c = sum_p W2_cp mean_xy tanh(sum_k W1_pk f_kxy)
//   pool     z_c = sum_p W2_cp softplus(sum_k W1_pk mean_xy f_kxy)
//   flatten  z_c = sum_kxy W2_ckxy f_kxy
at::Tensor head_logits(const std::string& head, const at::Tensor& f, const at::Tensor& w1,
                       const at::Tensor& w2) {
  const auto last = w2.transpose(1, 2);
  if (head == "pixel")
    return at::matmul(at::matmul(w1.unsqueeze(1), f.flatten(3)).tanh().mean(-1), last);
  if (head == "pool")
    return at::matmul(at::softplus(at::matmul(f.mean(at::IntArrayRef{3, 4}), w1.transpose(1, 2))),
                      last);
  DISSENT_CHECK(head == "flatten", kCheck, "head: expected pixel, pool or flatten, found '{}'",
                head);
  return at::matmul(f.flatten(2), last);
}

void check_gradcam(const Case& reference, Checker& checker) {
  std::vector<std::pair<std::string, at::Tensor>> leaves;
  for (const auto* name : {"feature_maps", "W2", "W1"})
    if (reference.has_input(name)) leaves.emplace_back(name, reference.differentiable(name));

  // The order of `leaves` is that of the names above. A flat head has no W1; the back is then W2
  // again, which head_logits ignores for this head.
  const auto& maps = leaves[0].second;
  const auto logits = head_logits(reference.param<std::string>("head"), maps, leaves.back().second,
                                  leaves[1].second);
  const auto stack = MemberInputs::stacked(maps);

  const auto options = grad_cam_options(reference);
  const auto noise = reference.has_input("noise") ? reference.input("noise") : at::Tensor();
  const auto& labels = reference.input("labels");

  checker.output("logits", logits);
  checker.output("salience", losses::activation_maps(logits, labels, stack, options, noise, false));
  checker.value(losses::gradcam(logits, labels, stack, options, noise), leaves);
}

// z_mbc = sum_p W2_mcp tanh(sum_d W1_mpd x_mbd).
void check_input_gradient(const Case& reference, Checker& checker) {
  // The network of the case is not linear in x: only then has the loss a second derivative to
  // compare.
  expect_param(reference, "norm_eps", losses::kNormEps);
  const auto images = reference.differentiable("images"), w1 = reference.differentiable("W1"),
             w2 = reference.differentiable("W2");
  const auto logits =
      at::matmul(at::matmul(images.flatten(2), w1.transpose(1, 2)).tanh(), w2.transpose(1, 2));

  const losses::InputGradientOptions options{
      losses::input_gradient_mode(reference.param<std::string>("mode"))};
  checker.value(losses::input_gradient(logits, reference.input("labels"),
                                       MemberInputs::stacked(images), options),
                {{"images", images}, {"W1", w1}, {"W2", w2}});
}

void check_similarity(const Case& reference, Checker& checker) {
  const auto stats = reference.differentiable("stats");
  checker.value(
      losses::similarity(
          stats, losses::similarity_kind(reference.name.substr(std::string("similarity_").size()))),
      {{"stats", stats}});
}

}  // namespace

const std::vector<CaseHandler>& saliency_handlers() {
  static const std::vector<CaseHandler> table = [] {
    std::vector<CaseHandler> handlers = {{"loss", "gradcam", check_gradcam},
                                         {"loss", "inpgrad", check_input_gradient}};
    for (const auto& name : losses::similarity_names())
      handlers.push_back({"loss", "similarity_" + name, check_similarity});
    return handlers;
  }();
  return table;
}

}  // namespace dissent::verify
