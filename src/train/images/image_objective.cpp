#include "train/images/image_objective.hpp"

namespace dissent {

std::optional<std::string> impossible_on_images(const losses::LossTerm& term,
                                                const ImageObjective& objective) {
  const auto traits = traits_of(term);
  if (traits.needs_labelled_and_unlabelled_batch)
    return "needs a labelled batch that all members see in addition to the unlabelled one, which "
           "training on images does not have";
  if (is_base(term) && !traits.exchanged.empty())
    return "couples members on their own batches: this output is for cached features";
  if (traits.needs_outliers && !objective.unlabelled)
    return "reads outliers: expected a table [unlabelled], found none";
  return {};
}

bool is_on(const losses::LossTerm& term, const ImageStepInput& input) {
  // With weight 1 and without a ramp only the loss's start and period decide: a term of weight 0 is
  // on, so that its value is reported. So is one at the start of its ramp, unlike on cached
  // features (ensemble/objective.cpp).
  auto unit = term.weight;
  unit.weight = 1;
  unit.ramp_epochs = 0;
  return losses::weight_at(unit, input.epoch, input.batch) > 0;
}

ActiveTerms active_terms(const ImageObjective& objective, const ImageStepInput& input) {
  using losses::Field;
  ActiveTerms active;
  for (size_t i = 0; i < objective.terms.size(); ++i) {
    const auto& term = objective.terms[i];
    if (!is_on(term, input)) continue;
    const auto traits = traits_of(term);
    const double weight = losses::weight_at(term.weight, input.epoch, input.batch);

    // Terms are sorted by the pass that computes them.
    if (is_base(term)) {
      (traits.needs_moved_inputs ? active.moved_inputs : active.base).push_back({i, &term, weight});
      continue;
    }
    const auto compares = traits.exchanges(Field::kSaliencyMaps)     ? Compared::kSaliencyMaps
                          : traits.exchanges(Field::kInputGradients) ? Compared::kInputGradients
                                                                     : Compared::kOutputs;
    active.ensemble.push_back({i, &term, weight, compares, traits.trains_discriminator});
    active.reads_images |= traits.reads(Field::kImages);
    active.reads_features |= traits.reads(Field::kFeatures);
  }
  return active;
}

}  // namespace dissent
