#include "train/images/image_objective.hpp"

#include <algorithm>

namespace dissent {

losses::LossTraits traits_of(const losses::LossTerm& term) {
  return losses::traits_of(losses::find_loss(term.name), term.options);
}

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
  auto unit = term.weight;
  unit.weight = 1;
  unit.ramp_epochs = 0;
  return losses::weight_at(unit, input.epoch, input.batch) > 0;
}

bool ensemble_losses_on(const ImageObjective& objective, const ImageStepInput& input) {
  return std::any_of(objective.terms.begin(), objective.terms.end(),
                     [&](const auto& term) { return !is_base(term) && is_on(term, input); });
}

double weight_of(const losses::LossTerm& term, const ImageStepInput& input) {
  return losses::weight_at(term.weight, input.epoch, input.batch);
}

}  // namespace dissent
