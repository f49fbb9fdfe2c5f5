#include "evaluate/evaluation_sets.hpp"

#include <dissent/error.hpp>

#include <filesystem>

#include "evaluate/picture_set.hpp"

namespace dissent {
namespace {

bool same_rows(const EvaluationSet& a, const EvaluationSet& b) {
  return a.rows() == b.rows() && a.input_shape() == b.input_shape() &&
         (a.place() == b.place() || a.identity() == b.identity());
}

// The set that a key of [evaluate] or a role names; nullptr if neither does.
std::unique_ptr<EvaluationSet> open_role(const EvaluateConfig& config, const std::string& path,
                                         const std::string& role) {
  if (!path.empty()) return open_cache_set(path);
  std::vector<std::unique_ptr<EvaluationSet>> parts;
  for (const auto& spec : config.sets)
    if (spec.role == role)
      for (auto& part : open_sets(spec, config.evaluate.transform))
        parts.push_back(std::move(part));
  return parts.empty() ? nullptr : pooled_set(std::move(parts));
}

// The set of role calibration that has this name, its files as one; or a cache.
std::unique_ptr<EvaluationSet> open_calibration(const EvaluateConfig& config,
                                                const std::string& name) {
  for (const auto& spec : config.sets)
    if (spec.role == "calibration" && spec.name == name)
      return pooled_set(open_sets(spec, config.evaluate.transform));
  DISSENT_CHECK(std::filesystem::exists(name), kData,
                "evaluate.sets: calibration = \"{}\": expected the name of a set of role "
                "calibration, or a cache; found neither",
                name);
  return open_cache_set(name);
}

// A set on which something is chosen that holds the rows of a test set: an error, or noted where
// that is allowed.
void check_leaks(const EvaluateConfig& config, EvaluationSets& sets) {
  const auto check = [&](const EvaluationSet* chosen_on, const EvaluationSet& test,
                         const char* key) {
    if (!chosen_on || !same_rows(*chosen_on, test)) return;
    sets.chosen_on_test = true;
    DISSENT_CHECK(config.evaluate.allow_test_selection, kUsage,
                  "evaluate.{}: {} holds the rows of the test set {}: choices on a test set are "
                  "refused unless evaluate.allow_test_selection = true",
                  key, chosen_on->place(), test.place());
  };
  sets.chosen_on_test = !sets.validation && config.evaluate.allow_test_selection;
  check(sets.validation.get(), *sets.id, "validation");
  for (const auto& test : sets.tests)
    for (const auto& file : test.files) {
      check(sets.validation.get(), *file, "validation");
      check(sets.validation_ood.get(), *file, "sets");
      check(test.calibration.get(), *file, "sets");
    }
}

}  // namespace

ImageDataOptions picture_data(const EvaluateSet& spec) {
  ImageDataOptions options;
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
                                                      const std::string& of_all) {
  const auto& transform = spec.transform == "auto" ? of_all : spec.transform;
  std::vector<std::unique_ptr<EvaluationSet>> sets;
  if (spec.paths.empty()) {
    DISSENT_CHECK(transform != "auto", kUsage,
                  "evaluate.sets: {}: sets of pictures need an ensemble that reads pictures, or "
                  "evaluate.transform",
                  spec.name);
    const auto options = picture_data(spec);
    std::vector<std::string> corruptions{spec.corruption};
    if (spec.corruption == "all") {
      corruptions.clear();
      for (const auto& info : corruption_table()) corruptions.push_back(info.name);
    }
    for (const auto& name : corruptions)
      sets.push_back(
          open_picture_set(options, spec.rows, transform, {name, spec.severity, spec.as_stored}));
    return sets;
  }
  const auto paths = expand_paths(spec.paths);
  DISSENT_CHECK(spec.count == 0 || std::ssize(paths) == spec.count, kData,
                "evaluate.sets: {}: expected {} files, found {} that match {}", spec.name,
                spec.count, paths.size(), fmt::join(spec.paths, ", "));
  for (const auto& path : paths) sets.push_back(open_cache_set(path));
  return sets;
}

EvaluationSets open_evaluation_sets(const EvaluateConfig& config) {
  EvaluationSets sets;
  const auto& options = config.evaluate;
  sets.id = open_role(config, options.id, "id");
  DISSENT_CHECK(sets.id, kUsage, "evaluate.id: expected the in-distribution set, found nothing");
  sets.id_name = options.id_name.empty() ? sets.id->name() : options.id_name;
  for (const auto& spec : config.sets)
    if (spec.role == "id" && options.id_name.empty()) sets.id_name = spec.name;
  sets.validation = open_role(config, options.validation, "validation");
  sets.fit = open_role(config, options.fit, "fit");
  sets.validation_ood = open_role(config, "", "validation_ood");
  for (const auto& spec : config.sets) {
    if (spec.role != "test") continue;
    TestSet test{
        .spec = spec, .files = open_sets(spec, config.evaluate.transform), .calibration = nullptr};
    if (spec.label >= 0)
      for (auto& file : test.files) file = set_of_label(std::move(file), spec.label);
    if (spec.pool) {
      auto all = pooled_set(std::move(test.files));
      test.files.clear();
      test.files.push_back(std::move(all));
    }
    if (!spec.calibration.empty()) test.calibration = open_calibration(config, spec.calibration);
    sets.tests.push_back(std::move(test));
  }
  check_leaks(config, sets);
  return sets;
}

}  // namespace dissent
