#include "evaluate/options.hpp"

#include <glob.h>

#include <dissent/error.hpp>
#include <dissent/scores/imagenet_subset.hpp>
#include <dissent/scores/registry.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "data/options.hpp"
#include "data/transforms/corruption.hpp"
#include "data/transforms/transform.hpp"
#include "evaluate/values/metric_values.hpp"
#include "scores/postprocessors.hpp"

namespace dissent {
namespace {

// Choices of a key, read from the registries.

std::vector<std::string> score_choices() {
  std::vector<std::string> names;
  for (const auto& score : scores::score_table()) names.push_back(score.name);

  // A name in both tables (msp, energy) is one choice; plan_scores() decides which it means.
  for (const auto& score : scores::postprocessor_table())
    if (!contains(names, score.name)) names.push_back(score.name);
  return names;
}

std::vector<std::string> transform_choices() {
  std::vector<std::string> names{kAutoTransform};
  for (const auto& spec : transform_table()) names.push_back(spec.name);
  return names;
}

std::vector<std::string> corruption_choices() {
  std::vector<std::string> names{kNoCorruption, kAllCorruptions};
  for (const auto& spec : corruption_table()) names.push_back(spec.name);
  return names;
}

std::vector<std::string> subset_choices() {
  auto names = scores::imagenet_subset_names();
  names.insert(names.begin(), "");
  return names;
}

std::vector<std::string> metric_choices() {
  std::vector<std::string> names;
  for (const auto& metric : metrics::metric_table())
    if (is_label_metric(metric) || is_ranking_metric(metric)) names.push_back(metric.name);
  return names;
}

// Metrics of the members' logits, and the scores whose mean can be reported with them.
std::vector<std::string> diversity_choices() {
  std::vector<std::string> names;
  for (const auto& metric : metrics::metric_table())
    if (metric.needs_input(metrics::MetricNeed::kMemberLogits)) names.push_back(metric.name);

  // The order of the names is part of the docs: different_predictions comes before pds.
  const auto& table = scores::score_table();
  for (auto score = table.rbegin(); score != table.rend(); ++score)
    if (score->diversity_mean) names.push_back(score->name);
  return names;
}

// The options of a post-processor, bound to ScoreTable::options.
TableSpec score_option_table(const scores::PostprocessorInfo& score) {
  TableSpec table{"score." + score.name, score.summary, {}, &typeid(ScoreTable)};

  // The options of a post-processor are a struct inside an any, so every access goes through it.
  const auto struct_of = [&score](void* target) {
    return score.struct_of(static_cast<ScoreTable*>(target)->options);
  };

  // Keys, meanings and ranges stay those of the post-processor; only the place of the value
  // changes.
  for (auto option : score.options.options) {
    const auto assign = option.assign;
    const auto text = option.text;
    option.assign = [assign, struct_of](void* target, const Value& value) {
      return assign(struct_of(target), value);
    };
    option.text = [text, struct_of](const void* target) {
      return text(struct_of(const_cast<void*>(target)));
    };
    table.options.push_back(std::move(option));
  }
  return table;
}

// The order of all keys is part of the configuration's hash.

void add_input_options(OptionTable<EvaluateOptions>& table) {
  using T = EvaluateOptions;

  // Networks and in-distribution inputs.
  table
      .option("experiment", &T::experiment,
              {.meaning = "name of this evaluation, column `evaluation` of the result rows; their "
                          "column `experiment` is that of the training"})
      .option("runs", &T::runs,
              {.meaning = "run folders, checkpoint files, or folders with an ensemble.json as "
                          "written by `dissent export` and scripts/convert_sed_models.py; shell "
                          "patterns are expanded"})
      .option("id", &T::id,
              {.meaning = "feature cache of the in-distribution test set; alternatively a set of "
                          "role id"})
      .option("id_name", &T::id_name,
              {.meaning = "name of the in-distribution set in the results; empty: that of its "
                          "folder"})
      .option("transform", &T::transform,
              {.meaning = "transform of images; auto: the transform of the first ensemble's "
                          "training, with _test in place of _train",
               .choices = transform_choices()});

  // Sets for choices and fits.
  table
      .option(
          "validation", &T::validation,
          {.meaning = "feature cache of the in-distribution validation set, on which temperatures, "
                      "options, `best` and greedy members are chosen; alternatively a set of role "
                      "validation"})
      .option("fit", &T::fit,
              {.meaning = "feature cache of in-distribution training rows, for scores that are "
                          "fitted on them; alternatively a set of role fit. The features of one "
                          "network on all rows are held in memory"});
}

void add_result_options(OptionTable<EvaluateOptions>& table) {
  using T = EvaluateOptions;

  // Scores of unknown inputs.
  table
      .option(
          "scores", &T::scores,
          {.meaning = "scores that distinguish unknown from known inputs: scores of ensembles and "
                      "post-processors (`dissent config scores`). A post-processor on logits reads "
                      "the ensemble's output; with one on features the score of the "
                      "ensemble is the mean of its members' scores",
           .choices = score_choices()})
      .choices("shaping", &T::shaping, option_names<Shaping>(),
               "also computes the scores of ensembles from features that are changed before the "
               "last layer, as rows named react+average; options come from [score.react], "
               "[score.ash_p], ..; ReAct's threshold is pooled over members")
      .choices("score_of", &T::score_of, option_names<ScoreForm>(),
               "input of post-processors on logits for an ensemble. output: its output; "
               "mean_probabilities: the log of the members' mean probabilities (rows are named "
               "gen:mean_probabilities); mean_score: each member, averaging the scores "
               "(gen:mean_score)");

  // What is reported.
  table
      .choices("predictors", &T::predictors, option_names<ReportedPredictor>(),
               "predictors whose metrics are reported. mean: mean over the members; best: the most "
               "accurate member on the validation set; greedy, greedy_soup: chosen on the "
               "validation set")
      .option("metrics", &T::metrics,
              {.meaning = "metrics (docs/metrics.md); with a temperature, calibration metrics are "
                          "reported before and after scaling",
               .choices = metric_choices()});
}

void add_method_options(OptionTable<EvaluateOptions>& table) {
  using T = EvaluateOptions;

  // The ensemble's output and its calibration.
  table
      .choice("combine", &T::combine, option_names<Combine>(),
              "how the members' outputs become the output of the ensemble")
      .option("weights", &T::weights,
              {.meaning = "one weight per member for mean_logits; L2-normalised, then divided by "
                          "the number of members; empty: equal weights"})
      .choice("temperature", &T::temperature, option_names<TemperatureMethod>(),
              "one temperature per predictor, fitted on the validation set. optimum: the least NLL "
              "in 0.001 .. 100; sdde: SDDE's golden section, clamped to this range; openood: one "
              "call of LBFGS as in OpenOOD")
      .option("temperature_in_scores", &T::temperature_in_scores,
              {.meaning = "scores of ensembles read logits divided by the ensemble's temperature, "
                          "as in SDDE; scores of changed features do not"})
      .option("vector_scaling", &T::vector_scaling,
              {.meaning = "also reports calibration metrics after vector scaling (one factor and "
                          "one shift per class), fitted on the validation set"})
      .choice("conformal", &T::conformal, option_names<ConformalMethod>(),
              "reports coverage and mean size of prediction sets calibrated on the validation set")
      .option("conformal_level", &T::conformal_level,
              {.meaning = "target coverage, above 0 and below 1", .min = 1e-6, .max = 0.999999})
      .option("bins", &T::bins,
              {.meaning = "number of bins of calibration errors and reliability diagrams",
               .min = 1,
               .max = 1000})
      .option("batch_rows", &T::batch_rows,
              {.meaning = "rows per batch for metrics that are means of batch means: nll under "
                          "sdde and openood, the means of scores in `diversity` under sed",
               .min = 1});

  // Choices on validation sets.
  table
      .option("search", &T::search,
              {.meaning = "searches the options of scores over OpenOOD's values, for the largest "
                          "AUROC of the validation set against the sets of role validation_ood"})
      .option("allow_test_selection", &T::allow_test_selection,
              {.meaning = "allows model selection on test sets; marked in the result rows"});

  // Further results.
  table
      .option("sub_ensembles", &T::sub_ensembles,
              {.meaning = "for each size, reports mean and standard deviation over at most this "
                          "many sub-ensembles; 0: none",
               .min = 0,
               .max = 10000})
      .option(
          "full_spectrum", &T::full_spectrum,
          {.meaning =
               "sets of shift covariate that have all classes count, with all of their files, as "
               "in distribution, as in OpenOOD's full spectrum: reports accuracy and "
               "calibration of these sets and the test set as one set, "
               "<name>+covariate, and detects unknown inputs against it; the split of "
               "these rows is full_spectrum"})
      .option(
          "diversity", &T::diversity,
          {.meaning = "reports how much the members differ on each set, as rows of metric "
                      "`diversity`: metrics of `dissent config metrics` that need members' logits, "
                      "with the same definition under every convention (those of correct and wrong "
                      "predictions only on labelled sets); and the means of the scores "
                      "different_predictions and pds",
           .choices = diversity_choices()})
      .option("compare", &T::compare,
              {.meaning =
                   "methods, named as in the result rows (\"*\": all loaded methods), whose "
                   "ensembles are compared in pairs: accuracy_difference and auroc_difference, "
                   "with _low and _high of a 95 % interval from 1,000 paired resamples of samples "
                   "and seeds; all methods need the same seeds"});
}

void add_execution_options(OptionTable<EvaluateOptions>& table) {
  using T = EvaluateOptions;

  table
      .option("saliency", &T::saliency,
              {.meaning = "writes saliency maps of this many images of the in-distribution set to "
                          "<output>/figures/<run>-saliency.h5, and reports their mean cosine "
                          "between members as metric saliency_cosine; 0: none",
               .min = 0,
               .max = 100000})
      .choice(
          "convention", &T::convention, metrics::convention_names(),
          "definitions of scores and metrics. sklearn: the usual ones; sed: scores as oriented and "
          "defined in SED's release; sdde, openood, torch_uncertainty: FPR, AUPR and ECE as "
          "defined there");

  // Memory, caches and files.
  table
      .option("block_rows", &T::block_rows,
              {.meaning = "rows per forward pass; bounds memory", .min = 16, .max = 1 << 20})
      .choice(
          "logits_cache", &T::logits_cache, option_names<CacheDtype>(),
          "stores the members' logits and penultimate features next to each checkpoint, so that "
          "a later evaluation needs no forward pass")
      .option(
          "work", &T::work,
          {.meaning = "folder of cached logits and fitted states; empty: next to each checkpoint",
           .scope = Scope::kExecution})
      .option("plots", &T::plots,
              {.meaning = "writes the data of plots for `dissent plot` to <output>/figures: "
                          "<run>-<set>-reliability.csv, <run>-<set>-roc.csv, "
                          "<run>-<score>-histogram.csv (docs/evaluation.md)",
               .scope = Scope::kExecution,
               .former_names = {"figures"}})
      .option("output", &T::output,
              {.meaning = "folder of the result file", .scope = Scope::kExecution});
}

// Collects contradictions.
class ConflictList {
 public:
  void add_if(bool wrong, const std::string& key, std::string message) {
    if (wrong) conflicts_.push_back({key, std::move(message)});
  }
  std::vector<EvaluateConflict> take() { return std::move(conflicts_); }

 private:
  std::vector<EvaluateConflict> conflicts_;
};

std::string set_key(size_t number, const char* key) {
  return fmt::format("evaluate.sets[{}].{}", number, key);
}

bool has_images(const EvaluateSet& set) { return !set.list.empty() || !set.dataset.empty(); }

bool has_role(const EvaluateConfig& config, SetRole role) {
  return std::any_of(config.sets.begin(), config.sets.end(),
                     [&](const auto& set) { return set.role == role; });
}

// A set of role calibration is found by its name, which a tested set gives.
void add_calibration_conflicts(const EvaluateConfig& config, size_t number, ConflictList& list) {
  const auto& set = config.sets[number];
  const auto has_its_name = [&](const auto& other) {
    return other.role == SetRole::kCalibration && other.name == set.name;
  };
  const bool is_used = std::any_of(config.sets.begin(), config.sets.end(), [&](const auto& other) {
    return other.calibration == set.name;
  });

  list.add_if(std::count_if(config.sets.begin(), config.sets.end(), has_its_name) > 1,
              set_key(number, "name"),
              fmt::format("expected one set of role calibration with this name, found two named "
                          "\"{}\"",
                          set.name));

  // A set that nothing reads is probably a misspelt name.
  list.add_if(!is_used, set_key(number, "role"),
              fmt::format("expected a set with calibration = \"{}\", found none: this set would "
                          "not be read",
                          set.name));

  // Only what is fitted on a validation set is fitted on this one.
  list.add_if(config.evaluate.temperature == TemperatureMethod::kNone &&
                  !config.evaluate.vector_scaling &&
                  config.evaluate.conformal == ConformalMethod::kNone,
              set_key(number, "role"),
              "expected evaluate.temperature, found none: nothing would be fitted on this set");
}

// Keys that only sets of images or only feature caches have.
void add_input_conflicts(const EvaluateSet& set, size_t number, ConflictList& list) {
  const bool images = has_images(set);

  // A set is read either from feature caches or from images.
  list.add_if(set.paths.empty() && !images, set_key(number, "paths"),
              "expected feature caches, or images (dataset or list), found none");
  list.add_if(!set.paths.empty() && images, set_key(number, "paths"),
              "expected feature caches or images, found both");

  list.add_if(images && set.count > 0, set_key(number, "count"),
              "expected feature caches (paths), found images");

  // Cached features were computed from images that had these properties already.
  const char* const needs_images = "expected images (dataset or list), found cached features";
  list.add_if(!images && set.corruption != kNoCorruption, set_key(number, "corruption"),
              needs_images);
  list.add_if(!images && set.transform != kAutoTransform, set_key(number, "transform"),
              needs_images);
  list.add_if(!images && set.ignore_label, set_key(number, "ignore_label"), needs_images);
  list.add_if(!images && set.background != kNoneSelected, set_key(number, "background"),
              needs_images);
}

// Whether an earlier tested set would give rows with the same keys as those of this one.
bool repeats_earlier_set(const EvaluateConfig& config, size_t number) {
  const auto& set = config.sets[number];
  return std::any_of(config.sets.begin(), config.sets.begin() + static_cast<ptrdiff_t>(number),
                     [&](const auto& other) {
                       return set.role == SetRole::kTest && other.role == SetRole::kTest &&
                              other.name == set.name && other.split == set.split &&
                              other.shift == set.shift;
                     });
}

void add_set_conflicts(const EvaluateConfig& config, size_t number, ConflictList& list) {
  const auto& set = config.sets[number];
  list.add_if(set.name.empty(), set_key(number, "name"), "expected a name, found nothing");
  list.add_if(repeats_earlier_set(config, number) && !set.name.empty(), set_key(number, "name"),
              fmt::format("expected another name than that of an earlier set of this split and "
                          "shift, found '{}' again: result rows would be ambiguous",
                          set.name));
  add_input_conflicts(set, number, list);

  // Keys that only tested sets have.
  const auto needs_test =
      fmt::format("expected a set of role test, found one of role {}", option_name(set.role));
  list.add_if(set.label >= 0 && set.role != SetRole::kTest, set_key(number, "label"), needs_test);
  list.add_if(set.as_stored && set.corruption == kNoCorruption, set_key(number, "as_stored"),
              "expected a corruption, found none");

  // The evaluation reads one set of each of these roles.
  const bool single_role =
      set.role == SetRole::kId || set.role == SetRole::kValidation || set.role == SetRole::kFit;
  const bool repeated =
      std::any_of(config.sets.begin(), config.sets.begin() + static_cast<ptrdiff_t>(number),
                  [&](const auto& other) { return other.role == set.role; });
  list.add_if(single_role && repeated, set_key(number, "role"),
              fmt::format("expected one set of role {}, found two", option_name(set.role)));

  list.add_if(!set.calibration.empty() && set.role != SetRole::kTest,
              set_key(number, "calibration"), needs_test);
  if (set.role == SetRole::kCalibration) add_calibration_conflicts(config, number, list);
}

// Contradictions between [evaluate] and the list of sets.
void add_role_conflicts(const EvaluateConfig& config, ConflictList& list) {
  const auto& options = config.evaluate;
  const auto given_twice = [&](const std::string& path, SetRole role) {
    list.add_if(
        !path.empty() && has_role(config, role), fmt::format("evaluate.{}", option_name(role)),
        fmt::format("expected this key or a set of role {}, found both", option_name(role)));
  };

  // A key of [evaluate] and a set of the same role would name two sets.
  given_twice(options.id, SetRole::kId);
  given_twice(options.validation, SetRole::kValidation);
  given_twice(options.fit, SetRole::kFit);
  list.add_if(options.id.empty() && !has_role(config, SetRole::kId), "evaluate.id",
              "expected the feature cache of the in-distribution set, found nothing");

  const bool cached_id = !options.id.empty() ||
                         std::any_of(config.sets.begin(), config.sets.end(), [](const auto& set) {
                           return set.role == SetRole::kId && !set.paths.empty();
                         });
  list.add_if(options.saliency > 0 && cached_id, "evaluate.saliency",
              "expected an in-distribution set of images, found a cache: heads on cached features "
              "have no saliency maps");

  // Options that need sets of a kind.
  const bool has_covariate =
      std::any_of(config.sets.begin(), config.sets.end(), [](const EvaluateSet& set) {
        return set.role == SetRole::kTest && set.shift == Shift::kCovariate && set.classes.empty();
      });
  list.add_if(options.full_spectrum && !has_covariate, "evaluate.full_spectrum",
              "expected a set of shift covariate, found none");
  list.add_if(options.search && !has_role(config, SetRole::kValidationOod), "evaluate.search",
              "expected sets of role validation_ood, found none: options are never chosen on test "
              "sets");
}

bool is_training_field(scores::FitField field) {
  return field == scores::FitField::kTrainFeatures || field == scores::FitField::kTrainLogits ||
         field == scores::FitField::kTrainLabels;
}

// Choices and fits need a set to be made on.
void add_missing_set_conflicts(const EvaluateConfig& config, ConflictList& list) {
  const auto& options = config.evaluate;

  // With allow_test_selection the test set takes the place of a missing validation set (choose());
  // nothing takes the place of a fit set.
  const bool validation = !options.validation.empty() || has_role(config, SetRole::kValidation) ||
                          options.allow_test_selection;
  const bool fit = !options.fit.empty() || has_role(config, SetRole::kFit);

  for (const auto predictor :
       {ReportedPredictor::kBest, ReportedPredictor::kGreedy, ReportedPredictor::kGreedySoup})
    list.add_if(contains(options.predictors, predictor) && !validation, "evaluate.predictors",
                fmt::format("\"{}\": expected evaluate.validation, on which it is chosen, found "
                            "none; a choice on test sets needs evaluate.allow_test_selection = "
                            "true",
                            option_name(predictor)));

  // Everything that is fitted for calibrated probabilities, and the threshold of ReAct.
  const char* const fitted = "expected evaluate.validation, on which it is fitted, found none";
  list.add_if(options.temperature != TemperatureMethod::kNone && !validation,
              "evaluate.temperature", fitted);
  list.add_if(options.vector_scaling && !validation, "evaluate.vector_scaling", fitted);
  list.add_if(options.conformal != ConformalMethod::kNone && !validation, "evaluate.conformal",
              "expected evaluate.validation, on which it is calibrated, found none");
  list.add_if(contains(options.shaping, Shaping::kReact) && !validation, "evaluate.shaping",
              fmt::format("\"react\": {}", fitted));

  // One message per post-processor, for the first missing set.
  for (const auto& name : options.scores) {
    const auto& table = scores::postprocessor_table();
    const auto score = std::find_if(table.begin(), table.end(),
                                    [&](const auto& entry) { return entry.name == name; });
    if (score == table.end()) continue;
    for (const auto field : score->needs) {
      const bool training = is_training_field(field);
      if (field == scores::FitField::kHead || (training ? fit : validation)) continue;
      list.add_if(true, "evaluate.scores",
                  fmt::format("\"{}\": expected evaluate.{}, on which it is fitted, found none",
                              name, training ? "fit" : "validation"));
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
    OptionTable<EvaluateOptions> made("evaluate", "Evaluation");
    add_input_options(made);
    add_result_options(made);
    add_method_options(made);
    add_execution_options(made);
    return made;
  }();
  return table;
}

const TableSpec& evaluate_set_table() {
  using T = EvaluateSet;
  static const TableSpec table = [] {
    OptionTable<T> made("evaluate.sets", "A set of inputs, by default a test set");

    made.option("name", &T::name, {.meaning = "name in the results"})
        .choice("role", &T::role, option_names<SetRole>(),
                "use of the set. test: evaluated; id, validation, fit: as the keys of [evaluate] "
                "that name caches; validation_ood: unknown inputs on which options are searched "
                "(all such sets together); calibration: a set that other sets name in their key "
                "calibration")
        .choice("shift", &T::shift, option_names<Shift>(),
                "how the set differs from the training data; accuracy and calibration are reported "
                "for id and covariate");

    // Where the inputs come from.
    made.option("paths", &T::paths,
                {.meaning = "feature caches; shell patterns are expanded. With several caches, "
                            "metrics are computed for each and averaged"})
        .option("count", &T::count,
                {.meaning = "number of files that the patterns of paths have to match, so that no "
                            "file is missing in the average; 0: any number above 0",
                 .min = 0})
        .option("list", &T::list,
                {.meaning = "list of images in OpenOOD's layout (one path and label per line)"})
        .option("root", &T::root, {.meaning = "folder of the images", .scope = Scope::kExecution})
        .option("dataset", &T::dataset, {.meaning = "a registered image set"})
        .option("transform", &T::transform,
                {.meaning = "transform of images; auto: evaluate.transform. imagenet_c_test takes "
                            "files of 224 x 224 as they are, as OpenOOD does for ImageNet-C",
                 .choices = transform_choices()})
        .option("split", &T::split, {.meaning = "split of the image set"})
        .option("rows", &T::rows,
                {.meaning = "part of the image set, as a slice: \"0:5000\"; empty: all images"})
        .option("ignore_label", &T::ignore_label,
                {.meaning = std::string("for images: ") + kIgnoreLabelMeaning, .word = "none"})
        .option("allow_empty", &T::allow_empty, {.meaning = kAllowEmptyMeaning})
        .option("background", &T::background, {.meaning = kBackgroundMeaning});

    // Corruptions of images.
    made.option("corruption", &T::corruption,
                {.meaning = fmt::format(
                     "for images: a corruption of ImageNet-C, applied after the crop of the "
                     "transform; all: each of the {}, averaging the metrics",
                     corruption_table().size()),
                 .choices = corruption_choices()})
        .option("severity", &T::severity,
                {.meaning = "severity of the corruption", .min = 1, .max = 5})
        .option("as_stored", &T::as_stored,
                {.meaning = "applies the transform once more to the corrupted crop, as for "
                            "ImageNet-C's stored files of 224 x 224: resized to 256, then cropped "
                            "to the central 224"});

    // How the set is evaluated.
    made.option("pool", &T::pool,
                {.meaning = "treats several files as one set: metrics over all rows together, as "
                            "SDDE's error on corrupted images"})
        .option("calibration", &T::calibration,
                {.meaning = "set on which the temperature for this set is fitted (SDDE: corrupted "
                            "validation images): the name of a set of role calibration, or a "
                            "feature cache; empty: evaluate.validation"})
        .option("classes", &T::classes,
                {.meaning =
                     "the set has some of ImageNet's classes, or categories of them; only accuracy "
                     "is reported. Under convention sed predictions are the members' one-hot votes "
                     "or category means, else the output's softmax over these classes. Empty: all "
                     "classes",
                 .choices = subset_choices()})
        .choice("labels", &T::labels, option_names<LabelNumbers>(),
                "label numbers of a set with classes: within the subset, as in SED's files, or of "
                "all 1,000 classes")
        .option("label", &T::label,
                {.meaning = "label of every row, replacing the set's own labels; metrics of labels "
                            "are then reported for any shift. SED's release uses 0 for iNaturalist "
                            "and OpenImages; -1: the set's own labels",
                 .min = -1});
    return made;
  }();
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

std::vector<EvaluateConflict> conflicts(const EvaluateConfig& config) {
  ConflictList list;
  const auto& options = config.evaluate;

  // Keys of [evaluate] that contradict each other.
  list.add_if(options.runs.empty(), "evaluate.runs",
              "expected run folders or checkpoint files, found none");
  list.add_if(!options.weights.empty() && options.combine != Combine::kMeanLogits,
              "evaluate.weights",
              fmt::format("expected combine = \"mean_logits\", the only one that uses weights, "
                          "found \"{}\"",
                          option_name(options.combine)));

  // A convention holds the definitions of one program, which may lack a metric.
  for (const auto& metric : options.metrics)
    list.add_if(!metrics::find_metric(metric).has_convention(options.convention),
                "evaluate.metrics",
                fmt::format("\"{}\": expected a convention that defines it, found \"{}\"", metric,
                            metrics::convention_name(options.convention)));
  list.add_if(options.temperature_in_scores && options.temperature == TemperatureMethod::kNone,
              "evaluate.temperature_in_scores", "expected evaluate.temperature, found none");

  // Then each set, the sets together, and what choices and fits need.
  for (size_t number = 0; number < config.sets.size(); ++number)
    add_set_conflicts(config, number, list);
  add_role_conflicts(config, list);
  add_missing_set_conflicts(config, list);
  return list.take();
}

std::vector<std::string> expand_paths(const std::vector<std::string>& patterns) {
  std::vector<std::string> paths;
  std::map<std::string, std::string> pattern_of_file;
  for (const auto& pattern : patterns) {
    // Without a match glob() returns an error code: a misspelt pattern is never an empty list.
    glob_t matches{};
    const int code = glob(pattern.c_str(), 0, nullptr, &matches);
    std::vector<std::string> found;
    for (size_t i = 0; code == 0 && i < matches.gl_pathc; ++i)
      found.emplace_back(matches.gl_pathv[i]);
    globfree(&matches);
    DISSENT_CHECK(code == 0, kData,
                  "{}: expected files or folders of this name or pattern, found none", pattern);

    // A file counts once in every mean, so it may be named once, whatever the spelling of its path.
    for (const auto& path : found) {
      std::error_code ignored;
      auto place = std::filesystem::weakly_canonical(path, ignored).string();
      if (place.empty()) place = path;
      const auto [before, added] = pattern_of_file.emplace(place, pattern);
      DISSENT_CHECK(added, kUsage,
                    "{}: expected one entry that matches this path, found two: {} and {}", path,
                    toml_text(before->second), toml_text(pattern));
      paths.push_back(path);
    }
  }
  return paths;
}

}  // namespace dissent
