#pragma once
#include <ATen/core/Tensor.h>

#include <dissent/losses/divdis.hpp>
#include <dissent/losses/member_inputs.hpp>
#include <dissent/losses/weight.hpp>

#include <any>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/options.hpp"

// The one table of losses. Configuration, documentation, error messages and evaluate() come from
// it; CONTRIBUTING.md says how one is added.
namespace dissent::losses {

/// What the losses of one step may read; a step fills what its losses need. Tensors are of one
/// dtype (f32 or f64) and device.
struct LossInput {
  at::Tensor logits;  ///< [M, B, C]
  at::Tensor
      labels;  ///< [B] i64; base losses take [M, B] too, where each member has a batch of its own
  std::optional<MemberInputs>
      feature_maps;  ///< [B, K, H, W] of each member, in the graph of logits
  std::optional<MemberInputs>
      images;              ///< [B, ...] of each member, requires_grad, in the graph of logits
  at::Tensor logit_noise;  ///< [M, B, C] for gradcam's small_logits (gradcam.hpp)
  at::Tensor features;     ///< [M, B, D]
  std::vector<at::Tensor> discriminator;  ///< dice_discriminator.hpp; constants here
  at::Tensor unlabelled_logits;   ///< [M, B', C] on the batch of outliers or unlabelled samples
  at::Tensor adversarial_logits;  ///< [M, B, C] at adversarial_inputs(..)
  int64_t drawn_member = 0;       ///< of A2D, an index into M
};

enum class LossKind {
  kBase,         ///< trains each member for its task
  kDiversity,    ///< couples members, so that they differ
  kRegulariser,  ///< keeps predictions from drifting where there are no labels
};

/// What a loss reads, or what ranks that hold different members have to exchange for it.
enum class Field {
  kLogits,
  kLabels,
  kDrawnMember,
  kFeatureMaps,
  kLogitNoise,
  kImages,
  kFeatures,
  kDiscriminator,
  kUnlabelledLogits,
  kAdversarialLogits,
  kSaliencyMaps,
  kInputGradients,  // exchanged only
};
/// "logits", "feature maps", ..
std::string field_name(Field field);
std::string kind_name(LossKind kind);

struct LossTraits {
  std::vector<Field> needs = {};
  std::vector<Field> exchanged =
      {};  ///< of every member, by ranks that hold others; empty: no member sees another
  int64_t min_members = 1;
  bool nonlinear_in_batch =
      false;  ///< not a mean over samples: ranks that split a batch exchange it first

  // What the trainers have to prepare beyond one labelled batch and its forward pass.

  /// The unlabelled logits have to come from a set of outliers that the configuration names; an
  /// unlabelled batch taken from the training set would not do.
  bool needs_outliers = false;
  /// Reads two batches in the same step, both seen by all members: `logits` on the labelled one and
  /// `unlabelled_logits` on the one that the diversity losses read.
  bool needs_labelled_and_unlabelled_batch = false;
  /// Reads `adversarial_logits`, a second forward pass on inputs that were moved along the gradient
  /// of the other base losses (adversarial.hpp); the length of the step is
  /// AdversarialOptions::epsilon.
  bool needs_moved_inputs = false;
  /// Has a discriminator with its own optimiser, trained beside the members on their gathered
  /// features (dice_discriminator.hpp).
  bool trains_discriminator = false;
};

/// One row of the table.
struct LossInfo {
  std::string name, summary, formula, citation;
  LossKind kind;
  LossTraits traits = {};        ///< at default options
  std::string traits_note = {};  ///< how options change them, or empty
  TableSpec options =
      {};  ///< [loss.<name>]: the keys of its own; those of weight_table() come before them
  std::any default_options = {};  ///< the struct that `options` is bound to
  std::function<void*(std::any&)> struct_of =
      {};  ///< that struct inside options, nullptr if they are of another loss
  std::function<void(const std::any&, LossTraits&)> adjust =
      {};  ///< empty: traits are the same for all options
  std::function<at::Tensor(const LossInput&, const std::any&)> function = {};
};

/// All losses, in the order of the docs.
const std::vector<LossInfo>& loss_table();
/// The loss of this name. Throws Error::kUsage that lists the known names.
const LossInfo& find_loss(const std::string& name);
/// The keys of LossWeight.
const TableSpec& weight_table();

/// Puts a value into options of this loss (default_options or what evaluate takes). Throws
/// Error::kUsage: unknown key, with the nearest known one; a value that does not fit, with what is
/// expected.
void set_option(const LossInfo& loss, std::any& options, const std::string& key,
                const Value& value);
/// Traits at these options (empty: the defaults).
LossTraits traits_of(const LossInfo& loss, const std::any& options);

/// The loss of this name, a scalar (mean over members and samples where it has one value each),
/// differentiable in what it reads. options: the struct of the loss (`AdpOptions{..}`), or empty
/// for its defaults.
/// Throws Error::kUsage: unknown name, options of another loss, a missing input, too few members,
/// and what the function itself refuses.
at::Tensor evaluate(const std::string& name, const LossInput& input, const std::any& options = {});

/// Options of losses whose functions take arguments instead.
enum class CrossEntropyOutput { kMembers, kProductOfExperts };
struct CrossEntropyOptions {
  double label_smoothing = 0;
  CrossEntropyOutput output = CrossEntropyOutput::kMembers;
};
enum class SampleWeight { kNone, kHard };
struct A2dOptions {
  SampleWeight sample_weight = SampleWeight::kNone;
};
struct DivDisOptions {
  DivDisMode mode = DivDisMode::kMutualInformation;
  DivDisReduction reduction = DivDisReduction::kMean;
};
struct AdversarialOptions {
  double epsilon = 0.01;  ///< read by adversarial_inputs(..), before the second forward pass
};
struct NoOptions {};

/// docs/losses.md.
std::string losses_page();

}  // namespace dissent::losses
