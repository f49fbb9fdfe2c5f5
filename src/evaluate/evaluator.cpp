#include "evaluate/evaluator.hpp"

#include <dissent/error.hpp>
#include <dissent/scores/imagenet_subset.hpp>

#include <cstdint>
#include <filesystem>
#include <utility>

#include <fmt/ranges.h>

#include "data/datasets/folder_list.hpp"
#include "data/options.hpp"
#include "data/transforms/transform.hpp"
#include "evaluate/results/comparisons.hpp"
#include "evaluate/subjects/content_hash.hpp"
#include "evaluate/test_evaluation.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

// A training on a set with class names writes them next to its checkpoint.
void check_class_names(const EvaluationSet& set, const std::vector<LoadedEnsemble>& ensembles) {
  // The same number of classes in another order would give a plausible but wrong accuracy.
  for (const auto& ensemble : ensembles) {
    const auto file = (std::filesystem::path(ensemble.path).parent_path() / kRunClassFile).string();
    if (path_exists(file)) set.check_class_names(read_class_file(file), file);
  }
}

void check_set(const EvaluationSet* set, const std::vector<LoadedEnsemble>& ensembles,
               bool labelled) {
  if (!set) return;
  for (const auto& ensemble : ensembles) ensemble.networks->check_input(*set, ensemble.path);

  // Class names and the range of labels matter only where labels are compared with predictions.
  if (!labelled) return;
  check_class_names(*set, ensembles);
  set->check_labels(ensembles.front().classes());
}

// A set with some of ImageNet's classes needs networks on all of them.
void check_subset(const EvaluateSet& spec, const EvaluationSet& file,
                  const std::vector<LoadedEnsemble>& ensembles) {
  for (const auto& ensemble : ensembles)
    DISSENT_CHECK(ensemble.classes() == scores::kImagenetClasses, kUsage,
                  "evaluate.sets: {}: classes = \"{}\": expected networks on ImageNet's {} "
                  "classes, found {} with {}",
                  spec.name, spec.classes, scores::kImagenetClasses, ensemble.path,
                  ensemble.classes());

  // Labels number either all of ImageNet's classes or the outputs of the subset.
  const auto outputs = static_cast<int64_t>(scores::imagenet_subset(spec.classes).outputs.size());
  file.check_labels(spec.labels == LabelNumbers::kAll ? scores::kImagenetClasses : outputs);
}

void check_sets(const std::vector<LoadedEnsemble>& ensembles, const EvaluationSets& sets) {
  // Sets on which something is fitted or measured need labels; unknown inputs have none.
  check_set(sets.validation.get(), ensembles, true);
  check_set(sets.id.get(), ensembles, true);
  check_set(sets.fit.get(), ensembles, true);
  check_set(sets.validation_ood.get(), ensembles, false);

  for (const auto& test : sets.tests) {
    for (const auto& file : test.files) {
      // The same networks read all sets, so the in-distribution set decides the shape.
      DISSENT_CHECK(file->input_shape() == sets.id->input_shape(), kUsage,
                    "evaluate.sets: {}: expected inputs [{}] as in the in-distribution set, found "
                    "[{}] after its transform \"{}\"",
                    test.spec.name, fmt::join(sets.id->input_shape(), ", "),
                    fmt::join(file->input_shape(), ", "), test.spec.transform);

      // Labels of a set with some of the classes may be numbered within these: check_subset()
      // checks their range.
      const bool all_classes = test.spec.classes.empty();
      check_set(file.get(), ensembles, test.labelled() && all_classes);
      if (!all_classes) check_subset(test.spec, *file, ensembles);
    }
    check_set(test.calibration.get(), ensembles, true);
  }
}

// Fills the logits caches in one pass, before fits read the rows out of order.
void fill_caches(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles,
                 const EvaluationSet* set, const EvaluateConfig& config, bool show_progress) {
  if (!set || config.evaluate.logits_cache == CacheDtype::kNone) return;

  // Plans without columns: the pass computes outputs only to store them.
  run_pass(comm, *set, ensembles, std::vector<ColumnPlan>(ensembles.size()), config.outputs(),
           show_progress);
}

}  // namespace

void check_members(const EvaluateOptions& options, int64_t members, const std::string& path) {
  DISSENT_CHECK(options.weights.empty() || static_cast<int64_t>(options.weights.size()) == members,
                kUsage, "evaluate.weights: expected {} values, one per member of {}, found {}",
                members, path, options.weights.size());
  DISSENT_CHECK(options.diversity.empty() || members > 1, kUsage,
                "{}: expected at least 2 members for evaluate.diversity, found {}", path, members);

  // Some scores are deviations over members, which one member does not have.
  for (const auto& name : options.scores)
    for (const auto& score : scores::score_table())
      DISSENT_CHECK(score.name != name || members >= score.min_members, kUsage,
                    "{}: expected at least {} members for score {}, found {}", path,
                    score.min_members, name, members);
}

EvaluationSets prepare_evaluation(std::vector<LoadedEnsemble>& ensembles, EvaluateConfig& config) {
  // Images are transformed as in the training of the first ensemble on images, but without its
  // random crops and flips.
  for (const auto& ensemble : ensembles)
    if (config.evaluate.transform == kAutoTransform && !ensemble.transform.empty())
      config.evaluate.transform = test_transform(ensemble.transform);

  // Misfits of configuration, networks and sets are found before the first forward pass.
  auto sets = open_evaluation_sets(config);
  check_sets(ensembles, sets);
  for (const auto& ensemble : ensembles)
    check_members(config.evaluate, ensemble.members(), ensemble.path);
  check_comparison(ensembles, config.evaluate);

  // Soups are further networks of an ensemble. The greedy soup needs the validation set and is
  // added later, by choose().
  if (contains(config.evaluate.predictors, ReportedPredictor::kSoup))
    for (auto& ensemble : ensembles)
      add_soup(ensemble, ReportedPredictor::kSoup, all_of(ensemble.members()));
  return sets;
}

Evaluation evaluate(Communicator& comm, std::vector<LoadedEnsemble> ensembles,
                    const EvaluateConfig& given, bool show_progress,
                    const std::function<void(const Evaluation&)>& record) {
  auto config = given;
  EvaluationSets sets;
  agree(comm, [&] { sets = prepare_evaluation(ensembles, config); });

  // Choices and fits read these two sets several times; with a logits cache only this pass runs the
  // networks.
  fill_caches(comm, ensembles, sets.fit.get(), config, show_progress);
  fill_caches(comm, ensembles, sets.validation.get(), config, show_progress);

  // Choices are final, and recorded, before the first score of a test set is computed.
  std::vector<FittedStates> states(ensembles.size());
  auto choices = choose(comm, ensembles, sets, config, states, show_progress);
  Evaluation result;
  agree(comm, [&] {
    result.choices = choices_text(ensembles, choices, sets, config);
    if (result.choices.empty()) return;
    result.choices_hash = content_hash(result.choices);
    record(result);
  });

  evaluate_tests(comm, ensembles, sets, config, std::move(choices), std::move(states),
                 show_progress, result);
  return result;
}

}  // namespace dissent
