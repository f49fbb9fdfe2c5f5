#include "evaluate/subjects/evaluation_sets.hpp"

#include <dissent/error.hpp>

#include <filesystem>
#include <iterator>
#include <utility>

#include <fmt/ranges.h>

#include "evaluate/subjects/picture_set.hpp"

namespace dissent {
namespace {

bool same_rows(const EvaluationSet& a, const EvaluationSet& b) {
  // identity() may read the whole set, so it is compared last.
  return a.rows() == b.rows() && a.input_shape() == b.input_shape() &&
         (a.place() == b.place() || a.identity() == b.identity());
}

// The set that a key of [evaluate] or a role names; nullptr if neither does.
std::unique_ptr<EvaluationSet> open_role(const EvaluateConfig& config, const std::string& path,
                                         SetRole role) {
  if (!path.empty()) return open_cache_set(path);

  // Several sets of a role count as one (unknown inputs for a search).
  std::vector<std::unique_ptr<EvaluationSet>> parts;
  for (const auto& spec : config.sets)
    if (spec.role == role)
      for (auto& part : open_sets(spec, config.evaluate.transform))
        parts.push_back(std::move(part));
  return parts.empty() ? nullptr : pooled_set(std::move(parts));
}

// The set of role calibration with this name, its files as one set; or a cache.
std::unique_ptr<EvaluationSet> open_calibration(const EvaluateConfig& config,
                                                const std::string& name) {
  for (const auto& spec : config.sets)
    if (spec.role == SetRole::kCalibration && spec.name == name)
      return pooled_set(open_sets(spec, config.evaluate.transform));
  DISSENT_CHECK(std::filesystem::exists(name), kData,
                "evaluate.sets: calibration = \"{}\": expected the name of a set of role "
                "calibration, or a feature cache; found neither",
                name);
  return open_cache_set(name);
}

TestSet open_test_set(const EvaluateConfig& config, const EvaluateSet& spec) {
  TestSet test{
      .spec = spec, .files = open_sets(spec, config.evaluate.transform), .calibration = nullptr};
  if (spec.label >= 0)
    for (auto& file : test.files) file = set_of_label(std::move(file), spec.label);

  // Pooled files are one set: metrics are computed over all rows together.
  if (spec.pool) {
    auto all = pooled_set(std::move(test.files));
    test.files.clear();
    test.files.push_back(std::move(all));
  }
  if (!spec.calibration.empty()) test.calibration = open_calibration(config, spec.calibration);
  return test;
}

// Choices on a set that has the rows of a test set would make the test results too good: an error,
// or recorded if the configuration allows it.
void check_leaks(const EvaluateConfig& config, EvaluationSets& sets) {
  const auto check = [&](const EvaluationSet* chosen_on, const EvaluationSet& test,
                         const char* key) {
    if (!chosen_on || !same_rows(*chosen_on, test)) return;
    sets.chosen_on_test = true;
    DISSENT_CHECK(config.evaluate.allow_test_selection, kUsage,
                  "evaluate.{}: {}: expected other rows than those of the test set {}, found the "
                  "same: choices on a test set are refused unless evaluate.allow_test_selection = "
                  "true",
                  key, chosen_on->place(), test.place());
  };

  // Sets on which something is chosen or calibrated are compared with every test set. The fit set
  // holds training rows.
  sets.chosen_on_test = !sets.validation && config.evaluate.allow_test_selection;
  check(sets.validation.get(), *sets.id, "validation");
  for (const auto& test : sets.tests)
    for (const auto& file : test.files) {
      check(sets.validation.get(), *file, "validation");
      check(sets.validation_ood.get(), *file, "sets");
      check(test.calibration.get(), *file, "sets");
    }
}

std::vector<std::unique_ptr<EvaluationSet>> open_images(const EvaluateSet& spec,
                                                        const std::string& transform) {
  DISSENT_CHECK(transform != kAutoTransform, kUsage,
                "evaluate.sets: {}: expected an ensemble of networks on images, or "
                "evaluate.transform, found neither: images need a transform",
                spec.name);

  // Each corruption is a set of its own, so that metrics are averaged over corruptions.
  std::vector<std::string> corruptions{spec.corruption};
  if (spec.corruption == kAllCorruptions) {
    corruptions.clear();
    for (const auto& info : corruption_table()) corruptions.push_back(info.name);
  }

  std::vector<std::unique_ptr<EvaluationSet>> sets;
  for (const auto& name : corruptions)
    sets.push_back(open_picture_set(picture_data(spec), spec.rows, transform,
                                    {name, spec.severity, spec.as_stored}));
  return sets;
}

}  // namespace

ImageDataOptions picture_data(const EvaluateSet& spec) {
  ImageDataOptions options;

  // Without `dataset` the name of the set is that of a registered one, or only a name for a list.
  options.dataset = spec.dataset.empty() ? spec.name : spec.dataset;
  options.root = spec.root;
  options.split = spec.split;
  options.list = spec.list;
  options.ignore_label = spec.ignore_label;
  options.allow_empty = spec.allow_empty;
  options.background = spec.background;
  return options;
}

std::vector<std::unique_ptr<EvaluationSet>> open_sets(const EvaluateSet& spec,
                                                      const std::string& default_transform) {
  if (spec.paths.empty())
    return open_images(spec, spec.transform == kAutoTransform ? default_transform : spec.transform);

  const auto paths = expand_paths(spec.paths);

  // A mean over an incomplete set of files would look like that of all of them.
  DISSENT_CHECK(spec.count == 0 || std::ssize(paths) == spec.count, kData,
                "evaluate.sets: {}: expected {} files, found {} that match {}", spec.name,
                spec.count, paths.size(), fmt::join(spec.paths, ", "));
  std::vector<std::unique_ptr<EvaluationSet>> sets;
  for (const auto& path : paths) sets.push_back(open_cache_set(path));
  return sets;
}

EvaluationSets open_evaluation_sets(const EvaluateConfig& config) {
  EvaluationSets sets;
  const auto& options = config.evaluate;
  sets.id = open_role(config, options.id, SetRole::kId);
  DISSENT_CHECK(sets.id, kUsage, "evaluate.id: expected the in-distribution set, found nothing");
  sets.id_name = options.id_name.empty() ? sets.id->name() : options.id_name;

  // The key evaluate.id_name, else the name of the set's table, else that of its folder.
  for (const auto& spec : config.sets)
    if (spec.role == SetRole::kId && options.id_name.empty()) sets.id_name = spec.name;

  // Sets for choices and fits may be missing.
  sets.validation = open_role(config, options.validation, SetRole::kValidation);
  sets.fit = open_role(config, options.fit, SetRole::kFit);
  sets.validation_ood = open_role(config, "", SetRole::kValidationOod);
  for (const auto& spec : config.sets)
    if (spec.role == SetRole::kTest) sets.tests.push_back(open_test_set(config, spec));

  check_leaks(config, sets);
  return sets;
}

}  // namespace dissent
