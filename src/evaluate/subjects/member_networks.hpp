#pragma once
#include <ATen/core/Tensor.h>
#include <dissent/scores/postprocessor.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "evaluate/subjects/evaluation_set.hpp"

namespace dissent {

/// Outputs of networks for a block of B inputs.
struct MemberOutputs {
  at::Tensor logits;      ///< [n, B, C] f32
  at::Tensor features;    ///< [n, B, D] f32, inputs of each network's classifier; [1, B, D] if they
                          ///< are the same for all; undefined if not requested
  int64_t first_row = 0;  ///< of the block in its set, if it belongs to one
};

/// Saliency of the true class of a block of B images (losses/gradcam.hpp, target gt_logit,
/// rectified).
struct MemberSaliency {
  at::Tensor logits;        ///< [M, B, C]
  at::Tensor maps;          ///< [M, B, h, w], before any scaling
  at::Tensor standardised;  ///< [M, B, h - 2, w - 2], as compared by the loss (maps of less than
                            ///< three pixels keep their edge)
};

/// The trained networks of one ensemble, for evaluation: the interface between scores and kinds of
/// networks (heads on features, networks on images). All functions are const and may be called from
/// one thread; forward uses the threads of core/parallel.hpp. Nothing is collective.
class MemberNetworks {
 public:
  virtual ~MemberNetworks() = default;
  virtual int64_t members() const = 0;
  virtual int64_t classes() const = 0;
  virtual int64_t feature_dim() const = 0;   ///< D
  virtual bool shared_features() const = 0;  ///< whether the classifiers of all members read the
                                             ///< same features (a linear head, a multihead network)
  /// Whether these features are the inputs themselves: linear heads on cached features.
  virtual bool features_are_inputs() const { return false; }
  /// Error::kData if these networks cannot read the set; network: path for the message.
  virtual void check_input(const EvaluationSet& set, const std::string& network) const = 0;
  /// Outputs of the members `which` for x [B, ..], in evaluation mode. A member's output depends
  /// only on x and its weights, not on other members; its bits do not depend on threads.
  virtual MemberOutputs forward(const at::Tensor& x, std::span<const int64_t> which,
                                bool features) const = 0;
  /// Weight [C, D] and bias [C] of a member's classifier: its logits are features W^T + b.
  virtual scores::LinearHead head(int64_t member) const = 0;
  /// One network whose weights are the mean of the weights of these members. Error::kUsage with the
  /// reason if that is not a network (heads on one trunk).
  virtual std::unique_ptr<MemberNetworks> soup(std::span<const int64_t> members) const = 0;
  /// Maps of all members for images x [B, 3, S, S] and labels [B]: a pass with gradients, one
  /// thread per member. Error::kUsage with the reason for networks without maps: heads on features.
  virtual MemberSaliency saliency(const at::Tensor& x, const at::Tensor& labels) const;
  /// Hash of the weights, and of anything else outside the configuration that changes the outputs.
  virtual std::string weights_hash() const = 0;
};

/// 0 .. count - 1.
std::vector<int64_t> all_of(int64_t count);

}  // namespace dissent
