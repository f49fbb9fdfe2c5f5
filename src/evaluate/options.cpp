#include "evaluate/options.hpp"

#include <glob.h>

#include <dissent/error.hpp>
#include <dissent/metrics/registry.hpp>
#include <dissent/scores/imagenet_subset.hpp>
#include <dissent/scores/registry.hpp>

#include <filesystem>
#include <map>

#include "data/options.hpp"
#include "data/transforms/corruption.hpp"
#include "data/transforms/transform.hpp"
#include "evaluate/figures.hpp"
#include "scores/postprocessors.hpp"

namespace dissent {
namespace {

std::vector<std::string> score_names() {
  std::vector<std::string> names;
  for (const auto& score : scores::score_table()) names.push_back(score.name);
  for (const auto& score : scores::postprocessor_table())
    if (!wants(names, score.name)) names.push_back(score.name);
  return names;
}

std::vector<std::string> transform_names() {
  std::vector<std::string> names{"auto"};
  for (const auto& spec : transform_table()) names.push_back(spec.name);
  return names;
}

std::vector<std::string> corruption_names() {
  std::vector<std::string> names{"none", "all"};
  for (const auto& spec : corruption_table()) names.push_back(spec.name);
  return names;
}

std::vector<std::string> subset_names() {
  auto names = scores::imagenet_subset_names();
  names.insert(names.begin(), "");
  return names;
}

// Those of one predictor, and of scores.
std::vector<std::string> metric_names() {
  std::vector<std::string> names;
  for (const auto& metric : metrics::metric_table())
    if (is_label_metric(metric.name) || is_ranking_metric(metric.name))
      names.push_back(metric.name);
  return names;
}

// Of members alone, and the scores whose mean is reported beside.
std::vector<std::string> diversity_names() {
  std::vector<std::string> names;
  for (const auto& metric : metrics::metric_table())
    if (std::find(metric.needs.begin(), metric.needs.end(), metrics::MetricNeed::kMemberLogits) !=
        metric.needs.end())
      names.push_back(metric.name);
  for (const char* score : {"different_predictions", "pds"}) names.emplace_back(score);
  return names;
}

// The keys of a post-processor, bound to the any of a ScoreTable.
TableSpec score_option_table(const scores::PostprocessorInfo& score) {
  TableSpec table{"score." + score.name, score.summary, {}, &typeid(ScoreTable)};
  const auto own = [&score](void* target) {
    return score.struct_of(static_cast<ScoreTable*>(target)->options);
  };
  for (auto option : score.options.options) {
    const auto assign = option.assign;
    const auto text = option.text;
    option.assign = [assign, own](void* target, const Value& value) {
      return assign(own(target), value);
    };
    option.text = [text, own](const void* target) { return text(own(const_cast<void*>(target))); };
    table.options.push_back(std::move(option));
  }
  return table;
}

// Keys of what is evaluated; those of how follow.
void add_what(TableOf<EvaluateOptions>& table) {
  using T = EvaluateOptions;
  table
      .option("experiment", &T::experiment,
              {.meaning =
                   "name in the result rows, column `evaluation`; their column `experiment` is the "
                   "training's"})
      .option("runs", &T::runs,
              {.meaning =
                   "run folders, checkpoint files, or folders with an ensemble.json, as `dissent "
                   "export` and scripts/convert_sed_models.py write; shell patterns"})
      .option("id", &T::id,
              {.meaning = "cache of the in-distribution test set; or a set of role id"})
      .option("id_name", &T::id_name,
              {.meaning = "its name in the results; empty: that of the folder"})
      .option("transform", &T::transform,
              {.meaning = "what makes inputs of pictures; auto: that of the first ensemble's "
                          "training with _test for _train",
               .choices = transform_names()})
      .option(
          "validation", &T::validation,
          {.meaning = "cache of the in-distribution validation set, on which temperatures, "
                      "options, `best` and greedy choices are made; or a set of role validation"})
      .option("fit", &T::fit,
              {.meaning =
                   "cache of in-distribution training rows for scores that are fitted on them; or "
                   "a set of role fit. One network's features of all of it are held in memory"})
      .option("scores", &T::scores,
              {.meaning =
                   "scores that tell unknown from known inputs, of ensembles and post-processors "
                   "(`dissent config scores`). A post-processor on logits reads the ensemble's "
                   "output; one on features gives the ensemble the mean of its members' scores",
               .choices = score_names()})
      .option("shaping", &T::shaping,
              {.meaning = "the scores of ensembles also from features changed before the last "
                          "layer, as react+average; options from [score.react], .., ReAct's "
                          "threshold pooled over members",
               .choices = {"react", "ash_p", "ash_b", "ash_s", "scale"}})
      .option(
          "score_of", &T::score_of,
          {.meaning = "what a post-processor on logits reads of an ensemble: its output; the log "
                      "of the members' mean probabilities (rows say gen:mean_probabilities); each "
                      "member, and the mean of the scores counts (gen:mean_score)",
           .choices = {"output", "mean_probabilities", "mean_score"}})
      .option("predictors", &T::predictors,
              {.meaning = "whose figures are reported; mean is over members, best the member that "
                          "is most accurate on validation, greedy and greedy_soup are chosen there",
               .choices = {"ensemble", "soup", "best", "mean", "members", "greedy", "greedy_soup"}})
      .option("metrics", &T::metrics,
              {.meaning = "figures (docs/metrics.md); with a temperature those of calibration come "
                          "before and after it",
               .choices = metric_names()});
}

void add_how(TableOf<EvaluateOptions>& table) {
  using T = EvaluateOptions;
  table
      .option("combine", &T::combine,
              {.meaning = "output of the ensemble",
               .choices = {"mean_logits", "mean_probabilities", "product_of_experts"}})
      .option("weights", &T::weights,
              {.meaning = "a weight a member for mean_logits, L2-normalised, divided by the "
                          "members; empty: equal"})
      .option("temperature", &T::temperature,
              {.meaning =
                   "one a predictor, fitted on validation. optimum: the least NLL inside 0.001 .. "
                   "100; sdde: its golden section, kept inside; openood: its one call of LBFGS",
               .choices = {"none", "optimum", "sdde", "openood"}})
      .option("temperature_in_scores", &T::temperature_in_scores,
              {.meaning = "scores of ensembles read logits over the ensemble's temperature, as "
                          "SDDE's do; changed features bypass it"})
      .option("vector_scaling", &T::vector_scaling,
              {.meaning = "figures of calibration also after a factor and a shift a class, fitted "
                          "on validation"})
      .option("conformal", &T::conformal,
              {.meaning = "coverage and mean size of prediction sets calibrated on validation",
               .choices = {"none", "aps", "raps"}})
      .option(
          "conformal_level", &T::conformal_level,
          {.meaning = "coverage that is wanted, above 0 and below 1", .min = 1e-6, .max = 0.999999})
      .option("bins", &T::bins,
              {.meaning = "of calibration errors and reliability", .min = 1, .max = 1000})
      .option("batch_rows", &T::batch_rows,
              {.meaning = "under sdde and openood nll, under sed the means of scores in "
                          "`diversity`, are means "
                          "of the means of batches: their rows there",
               .min = 1})
      .option("search", &T::search,
              {.meaning = "tries OpenOOD's values for the options of scores: the largest AUROC of "
                          "validation against the sets of role validation_ood"})
      .option("allow_test_selection", &T::allow_test_selection,
              {.meaning = "choices may be made on test sets; their rows say so"})
      .option("sub_ensembles", &T::sub_ensembles,
              {.meaning =
                   "for each size, the mean and spread over at most so many sub-ensembles; 0: none",
               .min = 0,
               .max = 10000})
      .option("full_spectrum", &T::full_spectrum,
              {.meaning = "the sets of shift covariate (those with all classes, all their files) "
                          "are in distribution, as in OpenOOD's full spectrum: accuracy and "
                          "calibration of them and the test set as one set, <name>+covariate, and "
                          "unknown inputs told from it; those rows have the split full_spectrum"})
      .option("diversity", &T::diversity,
              {.meaning =
                   "how different the members are, on each set (those of right and wrong answers "
                   "where there are labels), as rows of metric `diversity`: those of `dissent "
                   "config metrics` that need members' logits, as defined there whatever the "
                   "convention; and the means of the scores different_predictions and pds",
               .choices = diversity_names()})
      .option(
          "compare", &T::compare,
          {.meaning = "differences between these methods, as the rows name them (\"*\": all that "
                      "are loaded), of each pair: accuracy_difference and auroc_difference of the "
                      "ensembles, with _low and _high, a 95 % interval by 1,000 paired resamples "
                      "of samples and seeds; each method with the same seeds"})
      .option("saliency", &T::saliency,
              {.meaning = "maps of the first so many pictures of the in-distribution set, into "
                          "<output>/figures/<run>-saliency.h5, and their mean cosine between "
                          "members, metric saliency_cosine; 0: none",
               .min = 0,
               .max = 100000})
      .option("convention", &T::convention,
              {.meaning = "whose definitions: sklearn is what the names say; sed: scores as SED's "
                          "release orients and defines them; sdde, openood, torch_uncertainty: "
                          "FPR, AUPR and ECE as there",
               .choices = {"sklearn", "sed", "sdde", "openood", "torch_uncertainty"}})
      .option("block_rows", &T::block_rows,
              {.meaning = "rows that go through the networks at a time: bounds memory",
               .min = 16,
               .max = 1 << 20})
      .option("logits_cache", &T::logits_cache,
              {.meaning = "keeps the members' logits and penultimate features beside each "
                          "checkpoint, so that a later evaluation needs no forward pass",
               .choices = {"none", "f32", "f16"}})
      .option("work", &T::work,
              {.meaning = "folder of logits and fitted states; empty: beside each checkpoint",
               .scope = Scope::kExecution})
      .option("figures", &T::figures,
              {.meaning =
                   "what `dissent plot` draws, in <output>/figures: <run>-<set>-reliability.csv, "
                   "<run>-<set>-roc.csv, <run>-<score>-histogram.csv (docs/evaluation.md)",
               .scope = Scope::kExecution})
      .option("output", &T::output,
              {.meaning = "folder of the result file", .scope = Scope::kExecution});
}

// A set of role calibration is named by one that is tested, and by its name alone.
void add_calibration_conflicts(
    const EvaluateConfig& c, const EvaluateSet& set,
    const std::function<std::string(const char*)>& key,
    const std::function<void(bool, const std::string&, std::string)>& add) {
  const auto same = [&](const auto& other) {
    return other.role == "calibration" && other.name == set.name;
  };
  add(std::count_if(c.sets.begin(), c.sets.end(), same) > 1, key("name"),
      fmt::format("expected one set of role calibration of this name, found two named \"{}\"",
                  set.name));
  add(std::none_of(c.sets.begin(), c.sets.end(),
                   [&](const auto& other) { return other.calibration == set.name; }),
      key("role"),
      fmt::format(
          "expected a set with calibration = \"{}\", found none: this one would not be read",
          set.name));
  add(c.evaluate.temperature == "none" && !c.evaluate.vector_scaling &&
          c.evaluate.conformal == "none",
      key("role"), "nothing is fitted on it: expected evaluate.temperature, found none");
}

void add_set_conflicts(const EvaluateConfig& c,
                       const std::function<void(bool, const std::string&, std::string)>& add) {
  bool outside = false;
  std::vector<std::string> roles;
  for (size_t i = 0; i < c.sets.size(); ++i) {
    const auto& set = c.sets[i];
    const auto key = [&](const char* name) { return fmt::format("evaluate.sets[{}].{}", i, name); };
    const bool pictures = !set.list.empty() || !set.dataset.empty();
    add(set.name.empty(), key("name"), "expected a name, found nothing");
    const bool twice = std::any_of(
        c.sets.begin(), c.sets.begin() + static_cast<ptrdiff_t>(i), [&](const auto& other) {
          return set.role == "test" && other.role == "test" && other.name == set.name &&
                 other.split == set.split && other.shift == set.shift;
        });
    add(twice && !set.name.empty(), key("name"),
        fmt::format(
            "expected another name than that of an earlier set of this split and shift, found "
            "'{}' again: result rows could not be told apart",
            set.name));
    add(set.paths.empty() && !pictures, key("paths"),
        "expected caches (or a list or dataset of pictures), found none");
    add(!set.paths.empty() && pictures, key("paths"), "expected caches or pictures, found both");
    add(!pictures && set.corruption != "none", key("corruption"),
        "expected pictures (dataset or list), of which it is made, found cached features");
    add(!pictures && set.transform != "auto", key("transform"),
        "expected pictures (dataset or list), found cached features");
    add(!pictures && set.ignore_label, key("ignore_label"),
        "expected pictures (dataset or list), found cached features");
    add(!pictures && set.background != "none", key("background"),
        "expected pictures (dataset or list), found cached features");
    add(pictures && set.count > 0, key("count"), "expected caches (paths), found pictures");
    add(set.label >= 0 && set.role != "test", key("label"),
        fmt::format("expected a set that is tested, found one of the role {}", set.role));
    add(set.as_stored && set.corruption == "none", key("as_stored"),
        "is of corrupted pictures: expected a corruption, found none");
    outside = outside || set.role == "validation_ood";
    const bool once = set.role == "id" || set.role == "validation" || set.role == "fit";
    add(once && wants(roles, set.role), key("role"),
        fmt::format("expected one set of role {}, found another before", set.role));
    roles.push_back(set.role);
    add(!set.calibration.empty() && set.role != "test", key("calibration"),
        fmt::format("expected a set that is tested, found one of the role {}", set.role));
    if (set.role == "calibration") add_calibration_conflicts(c, set, key, add);
  }
  const auto twice = [&](const std::string& value, const char* role) {
    add(!value.empty() && wants(roles, role), fmt::format("evaluate.{}", role),
        fmt::format("expected this key or a set of role {}, found both", role));
  };
  twice(c.evaluate.id, "id");
  twice(c.evaluate.validation, "validation");
  twice(c.evaluate.fit, "fit");
  add(c.evaluate.id.empty() && !wants(roles, "id"), "evaluate.id",
      "expected the cache of the in-distribution set, found nothing");
  const bool cached_id =
      !c.evaluate.id.empty() || std::any_of(c.sets.begin(), c.sets.end(), [](const auto& set) {
        return set.role == "id" && !set.paths.empty();
      });
  add(c.evaluate.saliency > 0 && cached_id, "evaluate.saliency",
      "heads on cached features have no saliency maps: expected an in-distribution set of "
      "pictures, found a cache");
  const auto shifted = [](const EvaluateSet& set) {
    return set.role == "test" && set.shift == "covariate" && set.classes.empty();
  };
  add(c.evaluate.full_spectrum && std::none_of(c.sets.begin(), c.sets.end(), shifted),
      "evaluate.full_spectrum", "expected a set of shift covariate, found none");
  add(c.evaluate.search && !outside, "evaluate.search",
      "expected sets of role validation_ood, found none: options are never chosen on test sets");
}

// What is chosen or fitted needs a set to do it on.
void add_missing_sets(const EvaluateConfig& c,
                      const std::function<void(bool, const std::string&, std::string)>& add) {
  using scores::FitField;
  const auto& e = c.evaluate;
  const auto given = [&](const std::string& path, const char* role) {
    return !path.empty() || std::any_of(c.sets.begin(), c.sets.end(),
                                        [&](const auto& set) { return set.role == role; });
  };
  const bool validation = given(e.validation, "validation") || e.allow_test_selection,
             fit = given(e.fit, "fit");
  for (const char* name : {"best", "greedy", "greedy_soup"})
    add(wants(e.predictors, name) && !validation, "evaluate.predictors",
        fmt::format(
            "\"{}\": expected evaluate.validation, on which it is chosen, found none; a choice "
            "on test sets needs evaluate.allow_test_selection = true",
            name));
  add(e.temperature != "none" && !validation, "evaluate.temperature",
      "expected evaluate.validation, on which it is fitted, found none");
  add(e.vector_scaling && !validation, "evaluate.vector_scaling",
      "expected evaluate.validation, on which it is fitted, found none");
  add(e.conformal != "none" && !validation, "evaluate.conformal",
      "expected evaluate.validation, on which it is calibrated, found none");
  add(wants(e.shaping, "react") && !validation, "evaluate.shaping",
      "\"react\": expected evaluate.validation, on which it is fitted, found none");
  for (const auto& name : e.scores) {
    const auto& table = scores::postprocessor_table();
    const auto info =
        std::find_if(table.begin(), table.end(), [&](const auto& row) { return row.name == name; });
    if (info == table.end()) continue;
    for (const auto field : info->needs) {
      const bool training = field == FitField::kTrainFeatures || field == FitField::kTrainLogits ||
                            field == FitField::kTrainLabels;
      if (field == FitField::kHead || (training ? fit : validation)) continue;
      add(true, "evaluate.scores",
          fmt::format("\"{}\": expected evaluate.{}, on which it is fitted, found none", name,
                      training ? "fit" : "validation"));
      break;
    }
  }
}

}  // namespace

std::vector<ScoreTable> EvaluateConfig::default_scores() {
  std::vector<ScoreTable> tables;
  for (const auto& score : scores::postprocessor_table())
    tables.push_back({false, score.default_options});
  return tables;
}

const TableSpec& evaluate_table() {
  static const TableSpec table = [] {
    TableOf<EvaluateOptions> made("evaluate", "What is evaluated, and how");
    add_what(made);
    add_how(made);
    return made;
  }();
  return table;
}

const TableSpec& evaluate_set_table() {
  using T = EvaluateSet;
  static const TableSpec table =
      TableOf<T>("evaluate.sets", "A set of inputs: those that are tested, by default")
          .option("name", &T::name, {.meaning = "name in the results"})
          .option("role", &T::role,
                  {.meaning = "test; id, validation, fit: as the keys of [evaluate], which name "
                              "caches; validation_ood: unknown inputs that options are searched on "
                              "(all of them together); calibration: what other sets name as theirs",
                   .choices = {"test", "id", "validation", "fit", "validation_ood", "calibration"}})
          .option(
              "shift", &T::shift,
              {.meaning =
                   "kind of difference; accuracy and calibration are reported for id and covariate",
               .choices = {"id", "covariate", "near", "far", "semantic"}})
          .option("paths", &T::paths,
                  {.meaning = "caches; shell patterns. Several: figures of each, then their mean"})
          .option("count", &T::count,
                  {.meaning = "how many files the patterns of paths have to match, so that a mean "
                              "over them is of all; 0: any number above 0",
                   .min = 0})
          .option("list", &T::list,
                  {.meaning = "of pictures, in OpenOOD's layout (path and label a line)"})
          .option("root", &T::root,
                  {.meaning = "folder of the pictures", .scope = Scope::kExecution})
          .option("dataset", &T::dataset, {.meaning = "a registered set of pictures"})
          .option("transform", &T::transform,
                  {.meaning = "of pictures; auto: evaluate.transform. imagenet_c_test takes files "
                              "of 224 x 224 as they are, as OpenOOD does with ImageNet-C's",
                   .choices = transform_names()})
          .option("split", &T::split, {.meaning = "part of it"})
          .option("rows", &T::rows,
                  {.meaning = "of pictures: part of the set, as a slice, \"0:5000\"; empty: all"})
          .option("ignore_label", &T::ignore_label,
                  {.meaning = std::string("of pictures: ") + kIgnoreLabelMeaning, .word = "none"})
          .option("allow_empty", &T::allow_empty, {.meaning = kAllowEmptyMeaning})
          .option("background", &T::background, {.meaning = kBackgroundMeaning})
          .option("corruption", &T::corruption,
                  {.meaning = "of pictures: a corruption of ImageNet-C after the transform's crop; "
                              "all: each of the 15, figures of each, then their mean",
                   .choices = corruption_names()})
          .option("severity", &T::severity, {.meaning = "of the corruption", .min = 1, .max = 5})
          .option("as_stored", &T::as_stored,
                  {.meaning = "the corrupted crop goes through the transform once more, as "
                              "ImageNet-C's stored files of 224 x 224 do: resized to 256, the "
                              "middle 224"})
          .option("pool", &T::pool,
                  {.meaning = "several files are one set: figures of all rows together, as SDDE's "
                              "error on corrupted images"})
          .option("calibration", &T::calibration,
                  {.meaning = "what the temperature for this set is fitted on (SDDE: corrupted "
                              "validation images): the name of a set of role calibration, or a "
                              "cache; empty: evaluate.validation"})
          .option(
              "classes", &T::classes,
              {.meaning =
                   "the set has some of ImageNet's classes, or categories of them: accuracy alone "
                   "is reported; under convention sed by the members' one-hot votes or category "
                   "means, else by the output's softmax over those classes. Empty: all classes",
               .choices = subset_names()})
          .option("labels", &T::labels,
                  {.meaning = "of a set with classes: numbers within the subset, as SED's files "
                              "have them, or of all 1,000",
                   .choices = {"subset", "all"}})
          .option("label", &T::label,
                  {.meaning =
                       "of every row, in place of the set's own labels; with it the figures on "
                       "labels are reported for any shift. SED's release has 0 for iNaturalist and "
                       "OpenImages; -1: the set's own",
                   .min = -1});
  return table;
}

const std::vector<TableSpec>& score_option_tables() {
  static const std::vector<TableSpec> tables = [] {
    std::vector<TableSpec> all;
    for (const auto& score : scores::postprocessor_table())
      all.push_back(score_option_table(score));
    return all;
  }();
  return tables;
}

std::vector<EvaluateConflict> conflicts(const EvaluateConfig& c) {
  std::vector<EvaluateConflict> found;
  const auto add = [&](bool wrong, const std::string& key, std::string message) {
    if (wrong) found.push_back({key, std::move(message)});
  };
  const auto& e = c.evaluate;
  add(e.runs.empty(), "evaluate.runs", "expected run folders or checkpoint files, found none");
  add(!e.weights.empty() && e.combine != "mean_logits", "evaluate.weights",
      "expected combine = \"mean_logits\", which alone reads them, found another");
  for (const auto& metric : e.metrics)
    add(!metrics::find_metric(metric).has_convention(e.convention), "evaluate.metrics",
        fmt::format("\"{}\": expected a convention that it has, found \"{}\"", metric,
                    e.convention));
  add(e.temperature_in_scores && e.temperature == "none", "evaluate.temperature_in_scores",
      "expected evaluate.temperature, found none");
  add_set_conflicts(c, add);
  add_missing_sets(c, add);
  return found;
}

bool wants(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

std::vector<std::string> expand_paths(const std::vector<std::string>& patterns) {
  std::vector<std::string> paths;
  std::map<std::string, std::string> named;  // what is meant, by which pattern
  for (const auto& pattern : patterns) {
    glob_t matches{};
    const int code = glob(pattern.c_str(), 0, nullptr, &matches);
    for (size_t i = 0; code == 0 && i < matches.gl_pathc; ++i)
      paths.emplace_back(matches.gl_pathv[i]);
    const size_t count = code == 0 ? matches.gl_pathc : 0;
    globfree(&matches);
    DISSENT_CHECK(code == 0, kData,
                  "{}: expected files or folders of this name or pattern, found none", pattern);
    for (size_t i = paths.size() - count; i < paths.size(); ++i) {
      std::error_code ignored;
      auto place = std::filesystem::weakly_canonical(paths[i], ignored).string();
      if (place.empty()) place = paths[i];
      const auto [before, added] = named.emplace(place, pattern);
      DISSENT_CHECK(added, kUsage, "{}: expected to be named once, found it by {} and by {}",
                    paths[i], toml_text(before->second), toml_text(pattern));
    }
  }
  return paths;
}

}  // namespace dissent
