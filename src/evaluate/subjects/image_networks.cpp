#include "evaluate/subjects/image_networks.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/ranges.h>

#include <dissent/error.hpp>
#include <dissent/losses/gradcam.hpp>
#include <dissent/scores/ensemble_output.hpp>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"
#include "evaluate/subjects/content_hash.hpp"

namespace dissent {
namespace {

// Rows of one forward pass: a fixed number, so that bits do not depend on blocks or threads.
constexpr int64_t kPassRows = 64;

class ImageNetworks : public MemberNetworks {
 public:
  ImageNetworks(std::shared_ptr<const ImageNetwork> network, at::Tensor members, at::Tensor buffers)
      : network_(std::move(network)), members_(std::move(members)), buffers_(std::move(buffers)) {}

  int64_t members() const override { return multihead() ? network_->heads() : members_.size(0); }
  int64_t classes() const override { return network_->classes(); }
  int64_t feature_dim() const override { return network_->feature_dim(); }
  bool shared_features() const override { return multihead(); }

  void check_input(const EvaluationSet& set, const std::string& network) const override {
    const auto shape = set.input_shape();
    DISSENT_CHECK(shape.size() == 3 && shape[0] == network_->channels(), kData,
                  "{}: expected images [{}, S, S], the inputs of {}, found inputs [{}]",
                  set.place(), network_->channels(), network, fmt::join(shape, ", "));

    const auto needed = network_->size_misfit(shape[1], shape[2]);
    DISSENT_CHECK(needed.empty(), kData,
                  "{}: expected images with edges of {}, as {} needs, found {} x {}", set.place(),
                  needed, network, shape[1], shape[2]);
  }

  MemberOutputs forward(const at::Tensor& x, std::span<const int64_t> which,
                        bool features) const override {
    const auto n = static_cast<int64_t>(which.size());
    const int64_t rows = x.size(0), pieces = divide_up(rows, kPassRows),
                  networks = multihead() ? 1 : n;
    MemberOutputs out{
        at::empty({n, rows, classes()}, x.options()),
        features ? at::empty({networks, rows, feature_dim()}, x.options()) : at::Tensor(), 0};

    // A task is one network on one piece of the rows; a multihead network gives all members.
    parallel_tasks(networks * pieces, [&](int64_t task) {
      const at::NoGradGuard no_graph;
      const int64_t i = task / pieces, first = task % pieces * kPassRows,
                    count = std::min(kPassRows, rows - first), member = multihead() ? 0 : which[i];
      const auto given = network_->forward(unpack(members_[member], network_->layout()),
                                           buffers_[member], x.narrow(0, first, count), false);

      if (features) out.features[i].narrow(0, first, count).copy_(given.features);
      if (!multihead()) out.logits[i].narrow(0, first, count).copy_(given.logits);
      for (int64_t h = 0; multihead() && h < n; ++h)
        out.logits[h].narrow(0, first, count).copy_(given.logits[which[h]]);
    });
    return out;
  }

  scores::LinearHead head(int64_t member) const override {
    DISSENT_CHECK(!multihead(), kUsage,
                  "expected networks with a linear classifier on their features, found a multihead "
                  "network, whose members classify by two layers");
    const auto& layout = network_->layout();

    // Vision transformers name their classifier head, ResNets and LeNet fc.
    const std::string name = layout.find("head.weight") ? "head" : "fc";
    const auto *weight = layout.find(name + ".weight"), *bias = layout.find(name + ".bias");
    DISSENT_CHECK(weight && bias, kInternal,
                  "network: expected a classifier named head or fc, found neither");
    return {parameter(members_[member], *weight).clone(),
            parameter(members_[member], *bias).clone()};
  }

  std::unique_ptr<MemberNetworks> soup(std::span<const int64_t> which) const override {
    DISSENT_CHECK(!multihead(), kUsage,
                  "the members of a multihead network share a trunk, so the mean of their weights "
                  "is not a network");

    // Running statistics of batch norm are averaged like weights; they are not computed anew.
    const auto order = at::tensor(at::ArrayRef<int64_t>(which.data(), which.size()), at::kLong);
    return std::make_unique<ImageNetworks>(
        network_, scores::uniform_soup(members_.index_select(0, order)).unsqueeze(0),
        buffers_.index_select(0, order).mean(0, true));
  }

  MemberSaliency saliency(const at::Tensor& x, const at::Tensor& labels) const override {
    const int64_t networks = multihead() ? 1 : members();
    std::vector<at::Tensor> logits(networks), maps(networks), standardised(networks);
    parallel_tasks(networks, [&](int64_t n) {
      // Maps are derivatives of logits, so they have to be part of a graph.
      const at::AutoGradMode graph(true);
      const auto weights = members_[n].detach().requires_grad_();
      const auto given =
          network_->forward(unpack(weights, network_->layout()), buffers_[n], x, false);
      DISSENT_CHECK(given.maps.defined(), kUsage,
                    "evaluate.saliency: expected a network with feature maps, found one without");

      // A multihead network has one set of maps for all members.
      const auto z = multihead() ? given.logits : given.logits.unsqueeze(0);
      const auto read = multihead() ? losses::MemberInputs::shared(given.maps)
                                    : losses::MemberInputs::each({given.maps});

      // Small maps keep at least one pixel after cropping.
      losses::GradCamOptions options;
      options.crop = std::min<int64_t>(options.crop,
                                       (std::min(given.maps.size(2), given.maps.size(3)) - 1) / 2);
      logits[n] = z.detach();
      maps[n] = losses::activation_maps(z, labels, read, options, {}, false).detach();
      standardised[n] = losses::saliency_maps(z, labels, read, options, {}, false).detach();
    });
    return {at::cat(logits), at::cat(maps), at::cat(standardised)};
  }

  std::string weights_hash() const override {
    // Buffers belong to the identity too: batch norm's statistics change the outputs.
    ContentHash hash;
    const auto add = [&](const ParameterLayout& layout, const at::Tensor& stack) {
      for (const auto& entry : layout.entries()) {
        hash.add(entry.name);
        hash.add(stacked_parameter(stack, entry).contiguous());
      }
    };
    add(network_->layout(), members_);
    add(network_->buffer_layout(), buffers_);
    return hash.text();
  }

 private:
  bool multihead() const { return network_->heads() > 0; }
  std::shared_ptr<const ImageNetwork> network_;
  at::Tensor members_, buffers_;
};

}  // namespace

std::unique_ptr<MemberNetworks> image_networks(std::shared_ptr<const ImageNetwork> network,
                                               at::Tensor members, at::Tensor buffers) {
  return std::make_unique<ImageNetworks>(std::move(network), std::move(members),
                                         std::move(buffers));
}

}  // namespace dissent
