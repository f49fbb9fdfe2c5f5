// The functions of the losses as operators of torch, torch.ops.dissent.<name>. They are registered
// for every backend and for autograd at once: their derivatives are those of the operations that
// they consist of, on the device of their tensors. include/dissent/losses/<name>.hpp describes what
// each of them computes.
//
// Written by hand are only the functions whose arguments are not those of the table of losses:
// values per sample, parts of a loss, functions to look at. Losses themselves come from the table
// (loss_operators.hpp), so a new one needs no line here.
#include "core/prelude.hpp"

#include <torch/library.h>

#include <dissent/losses/a2d.hpp>
#include <dissent/losses/adversarial.hpp>
#include <dissent/losses/cross_entropy.hpp>
#include <dissent/losses/dice_discriminator.hpp>
#include <dissent/losses/gradcam.hpp>
#include <dissent/losses/hard_sample_weight.hpp>
#include <dissent/losses/input_gradient.hpp>
#include <dissent/losses/kl_backward.hpp>
#include <dissent/losses/logit_norm.hpp>

#include "loss_operators.hpp"
#include "operator_support.hpp"

namespace {

using namespace dissent;
using at::Tensor;
using python::MaybeTensor;
using python::member_inputs;
using python::or_undefined;
using python::run;

Tensor a2d(const Tensor& logits, int64_t m) {
  return run([&] { return losses::a2d(logits, m); });
}

Tensor a2d_probabilities(const Tensor& probabilities, int64_t m) {
  return run([&] { return losses::a2d_probabilities(probabilities, m); });
}

Tensor above_threshold(const Tensor& logits, const Tensor& labels, double threshold) {
  return run([&] { return losses::above_threshold(logits, labels, threshold); });
}

Tensor adversarial_inputs(const Tensor& loss, const Tensor& inputs, double epsilon) {
  return run([&] { return losses::adversarial_inputs(loss, inputs, epsilon); });
}

Tensor cross_entropy(const Tensor& logits, const Tensor& labels, double smoothing) {
  return run([&] { return losses::cross_entropy(logits, labels, smoothing); });
}

Tensor dice(const Tensor& pair_logits, double tau) {
  return run([&] {
    losses::DiceOptions options;
    options.tau = tau;
    return losses::dice(pair_logits, options);
  });
}

Tensor dice_pair_logits(const std::vector<Tensor>& parameters, const Tensor& features,
                        const Tensor& labels, double leaky_slope, const MaybeTensor& partner_rows) {
  return run([&] {
    losses::DiceOptions options;
    options.leaky_slope = leaky_slope;
    return losses::dice_pair_logits(parameters, features, labels, options,
                                    or_undefined(partner_rows));
  });
}

std::tuple<Tensor, Tensor> dice_discriminator_loss(const Tensor& joint, const Tensor& product) {
  return run([&] {
    const auto loss = losses::dice_discriminator_loss(joint, product);
    return std::tuple(loss.value, loss.accuracy);
  });
}

losses::GradCamOptions gradcam_options(const std::string& target, const std::string& activation) {
  return {.target = losses::grad_cam_target(target),
          .activation = losses::map_activation(activation)};
}

Tensor gradcam(const Tensor& logits, const MaybeTensor& labels,
               const std::vector<Tensor>& feature_maps, bool stacked, const std::string& target,
               const std::string& activation, int64_t crop, const std::string& similarity,
               const MaybeTensor& noise, bool create_graph) {
  return run([&] {
    auto options = gradcam_options(target, activation);
    options.crop = crop;
    options.similarity = losses::similarity_kind(similarity);
    return losses::gradcam(logits, or_undefined(labels), member_inputs(feature_maps, stacked),
                           options, or_undefined(noise), create_graph);
  });
}

Tensor activation_maps(const Tensor& logits, const MaybeTensor& labels,
                       const std::vector<Tensor>& feature_maps, bool stacked,
                       const std::string& target, const std::string& activation,
                       const MaybeTensor& noise, bool create_graph) {
  return run([&] {
    return losses::activation_maps(
        logits, or_undefined(labels), member_inputs(feature_maps, stacked),
        gradcam_options(target, activation), or_undefined(noise), create_graph);
  });
}

Tensor hard_sample_weight(const Tensor& logits, const Tensor& labels) {
  return run([&] { return losses::hard_sample_weight(logits, labels); });
}

Tensor input_gradient(const Tensor& logits, const MaybeTensor& labels,
                      const std::vector<Tensor>& images, bool stacked, const std::string& mode,
                      bool create_graph) {
  return run([&] {
    return losses::input_gradient(logits, or_undefined(labels), member_inputs(images, stacked),
                                  {losses::input_gradient_mode(mode)}, create_graph);
  });
}

Tensor input_gradients(const Tensor& logits, const MaybeTensor& labels,
                       const std::vector<Tensor>& images, bool stacked, const std::string& mode,
                       bool create_graph) {
  return run([&] {
    return losses::input_gradients(logits, or_undefined(labels), member_inputs(images, stacked),
                                   {losses::input_gradient_mode(mode)}, create_graph);
  });
}

Tensor kl_backward(const Tensor& logits, const Tensor& source_mean) {
  return run([&] { return losses::kl_backward(logits, source_mean); });
}

Tensor logit_norm(const Tensor& logits, const Tensor& labels, double tau) {
  return run([&] { return losses::logit_norm(logits, labels, {.tau = tau}); });
}

Tensor mean_prediction(const Tensor& logits) {
  return run([&] { return losses::mean_prediction(logits); });
}

Tensor roll_within_class(const Tensor& labels) {
  return run([&] { return losses::roll_within_class(labels); });
}

Tensor similarity(const Tensor& x, const std::string& kind) {
  return run([&] { return losses::similarity(x, losses::similarity_kind(kind)); });
}

}  // namespace

TORCH_LIBRARY(dissent, m) {
  m.def("a2d(Tensor logits, int m) -> Tensor", &a2d);
  m.def("a2d_probabilities(Tensor probabilities, int m) -> Tensor", &a2d_probabilities);
  m.def("above_threshold(Tensor logits, Tensor labels, float threshold) -> Tensor",
        &above_threshold);
  m.def("adversarial_inputs(Tensor loss, Tensor inputs, float epsilon) -> Tensor",
        &adversarial_inputs);
  m.def("cross_entropy(Tensor logits, Tensor labels, float smoothing=0.0) -> Tensor",
        &cross_entropy);
  m.def("dice(Tensor pair_logits, float tau=10.0) -> Tensor", &dice);
  m.def(
      "dice_pair_logits(Tensor[] parameters, Tensor features, Tensor labels, float "
      "leaky_slope=0.2, Tensor? partner_rows=None) -> Tensor",
      &dice_pair_logits);
  m.def("dice_discriminator_loss(Tensor joint, Tensor product) -> (Tensor value, Tensor accuracy)",
        &dice_discriminator_loss);
  m.def(
      "gradcam(Tensor logits, Tensor? labels, Tensor[] feature_maps, bool stacked=False, str "
      "target='gt_logit', str activation='relu', int crop=1, "
      "str similarity='cosine', Tensor? noise=None, bool create_graph=True) -> Tensor",
      &gradcam);
  m.def(
      "activation_maps(Tensor logits, Tensor? labels, Tensor[] feature_maps, bool stacked=False, "
      "str target='gt_logit', str activation='relu', "
      "Tensor? noise=None, bool create_graph=True) -> Tensor",
      &activation_maps);
  m.def("hard_sample_weight(Tensor logits, Tensor labels) -> Tensor", &hard_sample_weight);
  m.def(
      "input_gradient(Tensor logits, Tensor? labels, Tensor[] images, bool stacked=False, str "
      "mode='gt', bool create_graph=True) -> Tensor",
      &input_gradient);
  m.def(
      "input_gradients(Tensor logits, Tensor? labels, Tensor[] images, bool stacked=False, str "
      "mode='gt', bool create_graph=True) -> Tensor",
      &input_gradients);
  m.def("kl_backward(Tensor logits, Tensor source_mean) -> Tensor", &kl_backward);
  m.def("logit_norm(Tensor logits, Tensor labels, float tau=0.04) -> Tensor", &logit_norm);
  m.def("mean_prediction(Tensor logits) -> Tensor", &mean_prediction);
  m.def("roll_within_class(Tensor labels) -> Tensor", &roll_within_class);
  m.def("similarity(Tensor x, str kind='cosine') -> Tensor", &similarity);

  m.def("describe_losses() -> str", &python::describe_losses);
  python::define_loss_operators(m);  // last: it looks which names are taken
}
