// Cases of networks.h5, kind network: LeNet, ResNets, ensembles and multihead variants of them,
// DeiT-3.
#include <dissent/losses/cross_entropy.hpp>
#include <dissent/scores/ensemble_output.hpp>

#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/networks/registry.hpp"
#include "models/networks/vision_transformer.hpp"
#include "verify/case.hpp"

namespace dissent::verify {
namespace {

constexpr std::string_view kEnsemble = "_ensemble";

// sin(f j + g k) with j = (i^2 + 31 i) mod 10007, at flat index i of the k-th tensor.
at::Tensor wave(const Case& reference, const ParameterEntry& entry, int64_t k) {
  const auto i = at::arange(entry.numel, at::kLong);
  const auto j = (i * i + 31 * i).remainder(10007).to(at::kDouble);
  return (j * reference.param<double>("f") + reference.param<double>("g") * static_cast<double>(k))
      .sin_()
      .view(entry.shape);
}

// The weights of a case: in/<name> if it exists, else the formula in the note of the case.
at::Tensor weights(const Case& reference, const ParameterEntry& entry, int64_t k) {
  if (reference.has_input(entry.name)) return reference.input(entry.name);

  // Matrices and kernels are scaled by sqrt(2 / fan_in), with fan_in = numel / shape[0], so that
  // activations keep their size through deep networks; norm weights stay near 1.
  const auto s = wave(reference, entry, k);
  if (entry.shape.size() >= 2)
    return s *
           std::sqrt(2.0 * static_cast<double>(entry.shape[0]) / static_cast<double>(entry.numel));
  return entry.name.ends_with("weight") ? 1 + 0.1 * s : 0.05 * s;
}

// A network with the parameters and buffers of a case.
struct Filled {
  std::shared_ptr<const ImageNetwork> network;
  std::vector<at::Tensor> parameters;
  at::Tensor buffers;
};

// The network with the parameters of the case, whose names and shapes are compared with the case's
// list from position `first` on.
Filled filled(const Case& reference, std::shared_ptr<const ImageNetwork> network,
              const std::string& prefix = "", int64_t first = 0) {
  const auto& listed = reference.params.at("parameters");

  Filled made{network, {}, at::zeros({network->buffer_layout().size()}, reference.numbers())};

  for (auto entry : network->layout().entries()) {
    entry.name = prefix + entry.name;
    const auto k = first + static_cast<int64_t>(made.parameters.size());
    const auto expected = k < static_cast<int64_t>(listed.size()) ? listed[k] : nlohmann::json();

    // The k-th tensor's values depend on k, so an order other than the reference's would give other
    // weights.
    DISSENT_CHECK(expected == nlohmann::json::array({entry.name, entry.shape}), kCheck,
                  "parameter {}: expected {} (reference), found {} [{}] (ours)", k, expected.dump(),
                  entry.name, fmt::join(entry.shape, ", "));
    made.parameters.push_back(
        weights(reference, entry, k).to(reference.numbers()).clone().set_requires_grad(true));
  }

  // Running statistics other than 0 and 1, which would hide that BatchNorm ignores them.
  for (const auto& entry : network->buffer_layout().entries()) {
    const auto s =
        at::arange(entry.numel, at::kDouble).sin_().view(entry.shape).to(reference.numbers());
    if (entry.name.ends_with("running_mean")) parameter(made.buffers, entry).copy_(0.01 * s);
    if (entry.name.ends_with("running_var"))
      parameter(made.buffers, entry).copy_(1 + 0.1 * s.square());
  }
  return made;
}

void check_count(const Case& reference, size_t parameters) {
  DISSENT_CHECK(parameters == reference.params.at("parameters").size(), kCheck,
                "{} parameters, the reference has {}", parameters,
                reference.params.at("parameters").size());
}

at::Tensor norms(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> list;
  for (const auto& values : parameters)
    list.push_back(values.detach().to(at::kDouble).norm());  // long sums, whatever the arithmetic
  return at::stack(list);
}

bool training(const Case& reference) {
  return reference.has("mode") && reference.param<std::string>("mode") == "train";
}

// <name> itself, <name>_mean over the last two dimensions, <name>_everyN = every N-th value of it.
void check_map(const Case& reference, Checker& checker, const at::Tensor& map) {
  checker.output("feature_map", map);
  checker.output("feature_map_mean", map.mean(at::IntArrayRef{-2, -1}));
  const std::string every = "feature_map_every";
  for (const auto& [name, values] : reference.out)
    if (name.starts_with(every))
      checker.output(
          name, map.flatten().slice(0, 0, std::nullopt, std::stoll(name.substr(every.size()))));
}

ImageNetworkOptions options_of(const Case& reference) {
  ImageNetworkOptions options{.classes = reference.param<int64_t>("num_classes")};
  if (reference.has("channels")) options.channels = reference.param<int64_t>("channels");
  if (reference.has("num_models")) options.heads = reference.param<int64_t>("num_models");
  return options;
}

// Cross-entropy with in/labels, and its gradients with respect to in/images and parameters as far
// as the case has them.
void check_value(const Case& reference, Checker& checker, const Filled& made,
                 const at::Tensor& images, const at::Tensor& logits) {
  if (!reference.has_input("labels")) return;
  std::vector<std::pair<std::string, at::Tensor>> leaves;
  const auto add = [&](const std::string& name, const at::Tensor& leaf) {
    if (reference.grad.count(name) > 0) leaves.emplace_back(name, leaf);
  };

  add("images", images);
  for (size_t i = 0; i < made.parameters.size(); ++i)
    add(made.network->layout().entry(i).name, made.parameters[i]);

  const auto value = losses::cross_entropy(logits.unsqueeze(0), reference.input("labels")).mean();
  if (leaves.empty()) return checker.output("value", value);
  checker.value(value, leaves);
}

void check_single(const Case& reference, Checker& checker) {
  const auto made = filled(reference, make_image_network(reference.name, options_of(reference)));
  check_count(reference, made.parameters.size());

  const auto images = reference.differentiable("images");
  const auto out =
      made.network->forward(made.parameters, made.buffers, images, training(reference));

  // The norms show whether the weights were made as in the reference, apart from the network
  // itself.
  checker.output("param_norms", norms(made.parameters));
  checker.output("logits", out.logits);
  checker.output("features", out.features);
  check_map(reference, checker, out.maps);

  // In training mode these are the statistics after the batch, else the given ones.
  for (const auto& entry : made.network->buffer_layout().entries())
    checker.output(entry.name, parameter(made.buffers, entry));
  check_value(reference, checker, made, images, out.logits);
}

// Images [B, c, H, W] for all members, or [M, B, c, H, W] with one batch per member. logits [M, B,
// C], features [M, B, D], maps [M, B, K, h, w].
void check_members(const Case& reference, Checker& checker, const ImageOutput& out) {
  checker.output("logits", out.logits);
  checker.output("features", out.features);
  check_map(reference, checker, out.maps);

  // The ensemble's output: the mean logit, or the logarithm of the mean probability, log((1/M)
  // sum_m p_m) = logsumexp_m(log p_m) - log M.
  const bool of_logits = reference.param<bool>("aggregate_logits");
  checker.output("agg_logits", of_logits ? scores::mean_logits(out.logits)
                                         : out.logits.log_softmax(-1).logsumexp(0) -
                                               std::log(static_cast<double>(out.logits.size(0))));
}

void check_ensemble(const Case& reference, Checker& checker) {
  const auto name = reference.name.substr(0, reference.name.size() - kEnsemble.size());
  const std::shared_ptr<const ImageNetwork> network =
      make_image_network(name, options_of(reference));
  const auto& images = reference.input("images");

  // The case lists the parameters of all members one after the other.
  std::vector<at::Tensor> all, logits, features, maps;
  for (int64_t m = 0; m < reference.param<int64_t>("num_models"); ++m) {
    const auto made =
        filled(reference, network, fmt::format("nets.{}.", m), static_cast<int64_t>(all.size()));
    all.insert(all.end(), made.parameters.begin(), made.parameters.end());

    // Members of some cases have images of their own: [M, B, C, H, W].
    const auto out = network->forward(made.parameters, made.buffers,
                                      images.dim() == 5 ? images[m] : images, training(reference));
    logits.push_back(out.logits);
    features.push_back(out.features);
    maps.push_back(out.maps);
    for (const auto& entry : network->buffer_layout().entries())
      checker.output(fmt::format("nets.{}.{}", m, entry.name), parameter(made.buffers, entry));
  }

  check_count(reference, all.size());
  checker.output("param_norms", norms(all));
  check_members(reference, checker, {at::stack(logits), at::stack(features), at::stack(maps)});
}

void check_multihead(const Case& reference, Checker& checker) {
  const auto made = filled(reference, make_image_network(reference.name, options_of(reference)));
  check_count(reference, made.parameters.size());
  auto out = made.network->forward(made.parameters, made.buffers, reference.input("images"),
                                   training(reference));

  checker.output("param_norms", norms(made.parameters));
  for (const auto& entry : made.network->buffer_layout().entries())
    checker.output(entry.name, parameter(made.buffers, entry));

  // The heads share one trunk: features and maps are the same for every head.
  const auto repeated = [&](const at::Tensor& shared) {
    return at::stack(std::vector<at::Tensor>(made.network->heads(), shared));
  };
  check_members(reference, checker, {out.logits, repeated(out.features), repeated(out.maps)});
}

VisionTransformerOptions transformer_of(const Case& reference) {
  VisionTransformerOptions options{.classes = reference.param<int64_t>("num_classes"),
                                   .image_size = reference.param<int64_t>("img_size"),
                                   .patch_size = reference.param<int64_t>("patch_size"),
                                   .dim = reference.param<int64_t>("embed_dim"),
                                   .depth = reference.param<int64_t>("depth"),
                                   .attention_heads = reference.param<int64_t>("num_heads"),
                                   .mlp_ratio = reference.param<double>("mlp_ratio")};

  // Keys that the case leaves out keep the defaults of the options.
  if (reference.has("in_chans")) options.channels = reference.param<int64_t>("in_chans");
  if (reference.has("qkv_bias")) options.qkv_bias = reference.param<bool>("qkv_bias");
  if (reference.has("norm_eps")) options.norm_eps = reference.param<double>("norm_eps");

  // In evaluation mode this rate has no effect. In training mode the reference would drop blocks at
  // random, which this network does not do.
  const bool drops = training(reference) && reference.has("drop_path_rate") &&
                     reference.param<double>("drop_path_rate") > 0;
  DISSENT_CHECK(
      !drops, kCheck,
      "drop_path_rate: expected 0 in training mode (no stochastic depth), found another value");
  return options;
}

void check_transformer(const Case& reference, Checker& checker) {
  const auto network = std::make_shared<VisionTransformer>(transformer_of(reference));
  const auto made = filled(reference, network);
  check_count(reference, made.parameters.size());

  const auto images = reference.differentiable("images");
  const auto out = network->forward(made.parameters, {}, images, training(reference));

  // The reference also lists the tokens before the final norm, which forward() does not return.
  const auto all = network->tokens({made.parameters, {}, training(reference)}, images);

  checker.output("param_norms", norms(made.parameters));
  checker.output("logits", out.logits);
  checker.output("pre_logits", out.features);
  checker.output("tokens", all.tokens);

  // The features that `dissent cache` stores for SED's heads.
  checker.output("cached_cls",
                 network->features_at("cls_after_last_attention", made.parameters, {}, images));
  check_value(reference, checker, made, images, out.logits);
}

}  // namespace

const std::vector<CaseHandler>& network_handlers() {
  static const std::vector<CaseHandler> table = [] {
    std::vector<CaseHandler> handlers{{"network", "deit3", check_transformer}};

    // A file may have cases of each network alone, as an ensemble, and with several heads.
    for (const auto& spec : image_network_registry()) {
      handlers.push_back({"network", spec.name, check_single});
      handlers.push_back({"network", spec.name + std::string(kEnsemble), check_ensemble});
      handlers.push_back({"network", spec.name + "_multihead", check_multihead});
    }
    return handlers;
  }();
  return table;
}

}  // namespace dissent::verify
