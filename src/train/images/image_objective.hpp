#pragma once
#include <ATen/core/Tensor.h>

#include <any>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <dissent/error.hpp>

#include "losses/weighted_sum.hpp"

namespace dissent {

/// The objective of an image ensemble: the mean over members of the base losses, plus the weighted
/// losses between members ("ensemble losses": of kind diversity or regulariser).
struct ImageObjective {
  std::vector<losses::LossTerm> terms = {};  ///< each name once
  bool same_batch = false;  ///< one batch for all members: ensemble losses read the outputs of the
                            ///< training pass
  bool unlabelled = false;  ///< ensemble losses read a batch of the unlabelled set; its labels are
                            ///< the classes that the ensemble's mean logits predict

  /// True if ensemble losses read a batch of their own: in evaluation mode, after the training
  /// pass.
  bool has_common_batch() const { return !same_batch || unlabelled; }
};

/// A batch of images, or this data rank's part of it.
struct ImageRows {
  at::Tensor x;       ///< [b, 3, S, S]
  at::Tensor labels;  ///< [b] i64; undefined: unlabelled
  int64_t total = 0;  ///< rows of the batch over all data ranks
};

/// One batch of a training step.
struct ImageStepInput {
  int64_t epoch = 0, batch = 0;    ///< from 0; they decide which losses are on
  uint64_t seed = 0, counter = 0;  ///< key of the random draws of the batch
  int64_t drawn_member = 0;        ///< that A2D is measured from, and whose batch is the common one
                                   ///< without an unlabelled set
  std::vector<ImageRows> own = {};  ///< one batch per network of this rank; one for all with
                                    ///< same_batch
  ImageRows common = {};            ///< the batch of the ensemble losses; not read where they read
                                    ///< own[0] (has_common_batch() is false)
};

/// Reason why a loss cannot be trained on images with this objective; nothing if it can.
std::optional<std::string> impossible_on_images(const losses::LossTerm& term,
                                                const ImageObjective& objective);

/// True if the loss is computed for this batch, whatever its weight: a ramp that starts at 0 is on.
bool is_on(const losses::LossTerm& term, const ImageStepInput& input);

/// What an ensemble loss compares between members.
enum class Compared {
  kOutputs,        ///< logits or features of the forward pass
  kSaliencyMaps,   ///< derivatives with respect to feature maps, computed per network
  kInputGradients  ///< derivatives with respect to the images
};

/// A term of the objective that is computed for a batch.
struct ActiveTerm {
  size_t index;                  ///< in ImageObjective::terms
  const losses::LossTerm* term;  ///< points into the objective
  double weight;                 ///< in this batch; 0: computed and reported only
  Compared compares = Compared::kOutputs;
  bool trains_discriminator = false;
};
/// The terms that are on in a batch, by what they need.
struct ActiveTerms {
  std::vector<ActiveTerm> base;          ///< base losses on each member's own batch
  std::vector<ActiveTerm> moved_inputs;  ///< base losses on inputs that the others' gradient moves
  std::vector<ActiveTerm> ensemble;      ///< losses between members
  bool reads_images = false;             ///< an ensemble loss differentiates down to the images
  bool reads_features = false;           ///< an ensemble loss compares features
};
ActiveTerms active_terms(const ImageObjective& objective, const ImageStepInput& input);

/// Options of a term as the struct of its loss, the defaults if it has none.
template <class Options>
const Options& options_of(const losses::LossTerm& term) {
  const auto& any =
      term.options.has_value() ? term.options : losses::find_loss(term.name).default_options;
  const auto* options = std::any_cast<Options>(&any);
  DISSENT_CHECK(options, kInternal, "{}: expected options of this loss, found those of another",
                term.name);
  return *options;
}

/// Logits [B, C] of one member, or [M, B, C] of a multihead network, as [k, B, C].
inline at::Tensor with_member_dimension(const at::Tensor& logits) {
  return logits.dim() == 3 ? logits : logits.unsqueeze(0);
}

}  // namespace dissent
