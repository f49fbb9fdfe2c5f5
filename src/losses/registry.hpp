#pragma once
#include <ATen/core/Tensor.h>

#include <dissent/losses/member_inputs.hpp>
#include <dissent/losses/weight.hpp>

#include <algorithm>
#include <any>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/options.hpp"

// The table of losses. Configuration, documentation, error messages, the Python package and
// evaluate() read it; CONTRIBUTING.md says how to add a loss.
namespace dissent::losses {

/// Everything that losses read in one step. A trainer fills the fields that its losses need. All
/// tensors have the same dtype (f32 or f64) and device.
struct LossInput {
  at::Tensor logits;  ///< [M, B, C]
  at::Tensor labels;  ///< [B] i64; base losses also take [M, B], if each member has its own batch
  std::optional<MemberInputs>
      feature_maps;  ///< [B, K, H, W] of each member, in the graph of the logits
  std::optional<MemberInputs>
      images;              ///< [B, ...] of each member, requires_grad, in the graph of the logits
  at::Tensor logit_noise;  ///< [M, B, C] for gradcam's small_logits (gradcam.hpp)
  at::Tensor features;     ///< [M, B, D]
  std::vector<at::Tensor> discriminator;  ///< parameters (dice_discriminator.hpp), constant here
  at::Tensor unlabelled_logits;   ///< [M, B', C] on the batch of outliers or unlabelled samples
  at::Tensor adversarial_logits;  ///< [M, B, C] at adversarial_inputs(..)
  int64_t drawn_member = 0;       ///< index into M of the member that A2D repels from the others
};

enum class LossKind {
  kBase,         ///< trains each member for its task
  kDiversity,    ///< couples members, so that they become different
  kRegulariser,  ///< restricts predictions on samples without labels
};

/// A field of LossInput, or a quantity that ranks with different members exchange for a loss.
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

/// What trainers have to know about a loss. All of it is found here, so that no other code compares
/// names of losses.
struct LossTraits {
  std::vector<Field> needs = {};
  /// Fields of every member that ranks with different members exchange; empty: the loss is a mean
  /// of values of single members.
  std::vector<Field> exchanged = {};
  int64_t min_members = 1;
  /// The loss is not a mean over samples: ranks that split a batch exchange it first.
  bool nonlinear_in_batch = false;

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
  /// Has a discriminator with its own optimiser, trained together with the members on their
  /// gathered features (dice_discriminator.hpp).
  bool trains_discriminator = false;
  /// Weights each sample by how wrong the ensemble is on it. So it cannot be combined with
  /// `below_threshold`, which selects samples by the same property.
  bool weights_hard_samples = false;

  bool reads(Field field) const { return std::ranges::count(needs, field) > 0; }
  bool exchanges(Field field) const { return std::ranges::count(exchanged, field) > 0; }
};

/// One loss of the table. Its source file, src/losses/<name>.cpp, has the function `<name>_info()`
/// that returns it (loss_info.hpp).
struct LossInfo {
  std::string name, summary, formula, citation;
  LossKind kind;
  LossTraits traits = {};        ///< at default options
  std::string traits_note = {};  ///< how options change them, or empty
  TableSpec options = {};  ///< [loss.<name>]: its own keys; those of weight_table() precede them
  std::any default_options = {};  ///< the struct that `options` is bound to
  std::function<void*(std::any&)> struct_of =
      {};  ///< address of that struct in the given options; nullptr: options of another loss
  std::function<void(const std::any&, LossTraits&)> adjust =
      {};  ///< changes the traits to those of the given options; empty: they never change
  std::function<at::Tensor(const LossInput&, const std::any&)> function = {};

  // A loss that compares a derivative of each member's own network (saliency maps, input gradients)
  // is computed in two parts, so that ranks exchange this derivative, the one field in
  // `traits.exchanged`, and not what it is computed from. Both are empty for all other losses.

  /// The derivative [m, B, ..] of the members in the input.
  std::function<at::Tensor(const LossInput&, const std::any&, bool create_graph)> member_maps = {};
  /// The loss from the derivatives [M, B, ..] of all members.
  std::function<at::Tensor(const at::Tensor&, const std::any&)> compare_maps = {};
};

/// All losses, in the order of the documentation.
const std::vector<LossInfo>& loss_table();
/// The loss of this name.
/// Throws Error::kUsage that lists the known names.
const LossInfo& find_loss(const std::string& name);
/// The keys of LossWeight.
const TableSpec& weight_table();

/// Sets a key in the options of this loss (default_options, or what evaluate takes).
/// Throws Error::kUsage: unknown key, with the nearest known one; a value that does not fit, with
/// what is expected.
void set_option(const LossInfo& loss, std::any& options, const std::string& key,
                const Value& value);
/// Traits at these options (empty: the defaults).
LossTraits traits_of(const LossInfo& loss, const std::any& options);
/// Throws Error::kUsage unless the input has every field that the loss needs at these options.
void check_needs(const LossInfo& loss, const LossInput& input, const std::any& options);

/// The loss of this name, a scalar (mean over members and samples if it has one value for each),
/// differentiable in what it reads. options: the struct of the loss (`AdpOptions{..}`), or empty
/// for its defaults.
/// Throws Error::kUsage: unknown name, options of another loss, a missing input, too few members,
/// and the errors of the function itself.
at::Tensor evaluate(const std::string& name, const LossInput& input, const std::any& options = {});

/// The options of a loss that has no keys of its own.
struct NoOptions {};

/// docs/losses.md.
std::string losses_page();

}  // namespace dissent::losses
