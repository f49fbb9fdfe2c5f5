#include "evaluate/options.hpp"

#include <glob.h>

#include <dissent/error.hpp>
#include <dissent/scores/registry.hpp>

namespace dissent {
namespace {

std::vector<std::string> score_names() {
  std::vector<std::string> names;
  for (const auto& score : scores::score_table()) names.push_back(score.name);
  return names;
}

}  // namespace

const TableSpec& evaluate_table() {
  using T = EvaluateOptions;
  static const TableSpec table = TableOf<T>("evaluate", "What is evaluated, and how")
      .option("experiment", &T::experiment, {.meaning = "name in the result rows"})
      .option("runs", &T::runs, {.meaning = "run folders or checkpoint files; shell patterns"})
      .option("id", &T::id, {.meaning = "cache of the in-distribution test set"})
      .option("id_name", &T::id_name, {.meaning = "its name in the results; empty: that of the folder"})
      .option("validation", &T::validation, {.meaning = "cache on which `best` is chosen; empty: on each test set itself, as SED does (such rows say convention sed)"})
      .option("scores", &T::scores, {.meaning = "scores of the ensemble that tell unknown from known inputs", .choices = score_names()})
      .option("predictors", &T::predictors, {.meaning = "whose figures are reported; mean is over members", .choices = {"ensemble", "soup", "best", "mean", "members"}})
      .option("metrics", &T::metrics, {.meaning = "figures", .choices = {"accuracy", "auroc"}})
      .option("combine", &T::combine, {.meaning = "output of the ensemble", .choices = {"mean_logits", "mean_probabilities", "product_of_experts"}})
      .option("weights", &T::weights, {.meaning = "a weight a member for mean_logits, L2-normalised, divided by the members; empty: equal"})
      .option("convention", &T::convention, {.meaning = "sklearn: scores oriented as they are meant; sed: as SED's release orients and defines them", .choices = {"sklearn", "sed"}})
      .option("output", &T::output, {.meaning = "folder of the result file", .scope = Scope::kExecution});
  return table;
}

const TableSpec& evaluate_set_table() {
  using T = EvaluateSet;
  static const TableSpec table = TableOf<T>("evaluate.sets", "A set of inputs that differ from the in-distribution ones")
      .option("name", &T::name, {.meaning = "name in the results"})
      .option("shift", &T::shift, {.meaning = "kind of difference; accuracy is reported for id and covariate", .choices = {"id", "covariate", "near", "far", "semantic"}})
      .option("paths", &T::paths, {.meaning = "caches; shell patterns. Several: figures of each, then their mean"});
  return table;
}

std::vector<std::string> expand_paths(const std::vector<std::string>& patterns) {
  std::vector<std::string> paths;
  for (const auto& pattern : patterns) {
    glob_t matches{};
    const int code = glob(pattern.c_str(), 0, nullptr, &matches);
    for (size_t i = 0; code == 0 && i < matches.gl_pathc; ++i) paths.emplace_back(matches.gl_pathv[i]);
    globfree(&matches);
    DISSENT_CHECK(code == 0, kData, "nothing matches {}", pattern);
  }
  return paths;
}

}  // namespace dissent
