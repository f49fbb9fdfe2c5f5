#include "train/images/image_objective.hpp"

#include <utility>

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
  // With weight 1 and without a ramp only the loss's start and period decide: a term of weight 0 is
  // on, so that its value is reported.
  auto unit = term.weight;
  unit.weight = 1;
  unit.ramp_epochs = 0;
  return losses::weight_at(unit, input.epoch, input.batch) > 0;
}

ActiveTerms active_terms(const ImageObjective& objective, const ImageStepInput& input) {
  ActiveTerms active;
  for (size_t i = 0; i < objective.terms.size(); ++i) {
    const auto& term = objective.terms[i];
    if (!is_on(term, input)) continue;
    ActiveTerm entry{i, &term, traits_of(term),
                     losses::weight_at(term.weight, input.epoch, input.batch)};

    // Terms are sorted by the pass that computes them.
    auto& kind = !is_base(term)                    ? active.ensemble
                 : entry.traits.needs_moved_inputs ? active.moved_inputs
                                                   : active.base;
    kind.push_back(std::move(entry));
  }
  return active;
}

}  // namespace dissent
