#include "report/layouts.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include <fmt/ranges.h>

#include "core/option_page.hpp"
#include "core/options.hpp"
#include "data/transforms/corruption_names.hpp"

namespace dissent::report {
namespace {

const char* const kSed = "SED (arXiv:2409.16797)";

Condition dataset(std::vector<std::string> names) { return {"dataset", std::move(names)}; }

// ImageNet-C at one severity: the mean over its corruptions, or a row with this name.
Selection corrupted(const std::string& name, int severity) {
  auto names = corruption_names(severity);
  Selection column{.name = name, .datasets = names};
  names.push_back(name);
  column.where = {dataset(names)};
  return column;
}
Selection one_set(const std::string& name, std::vector<std::string> aliases) {
  return {.name = name, .where = {dataset(std::move(aliases))}};
}

std::vector<std::string> inaturalist() { return {"iNaturalist", "inat"}; }
std::vector<std::string> openimages() { return {"OpenImages", "OpenImage-O", "openimageo", "oi"}; }

std::vector<Selection> formatted(std::vector<Selection> columns, double scale, int digits) {
  for (auto& column : columns) {
    column.scale = scale;
    column.digits = digits;
  }
  return columns;
}

Layout sed_generalisation() {
  // The in-distribution set has no fixed name: it is the set of shift id.
  const Selection val{.name = "val", .where = {{"shift", {"id"}}}};
  return {
      "sed_generalisation",
      "OOD generalisation: accuracy in per cent on ImageNet's validation set, ImageNet-A and "
      "-R, and the mean of the 15 corruptions of severity 1 and 5",
      std::string(kSed) + ", table 1",
      {"experiment", "method", "members", "predictor"},
      formatted({val, one_set("A", {"imagenet_a", "in_a"}), one_set("R", {"imagenet_r", "in_r"}),
                 corrupted("C-1", 1), corrupted("C-5", 5)},
                100, 1),
      {{"metric", {"accuracy"}},
       {"predictor", {"ensemble", "soup", "best", "mean", "greedy", "greedy_soup"}}}};
}

Layout sed_detection() {
  return {"sed_detection",
          "OOD detection: area under the ROC curve against corruptions of severity 1 and 5 "
          "(covariate shift), iNaturalist and OpenImages (semantic shift)",
          std::string(kSed) + ", table 3",
          {"experiment", "method", "members", "predictor", "score"},
          formatted({corrupted("C-1", 1), corrupted("C-5", 5),
                     one_set("iNaturalist", inaturalist()), one_set("OpenImages", openimages())},
                    1, 3),
          {{"metric", {"auroc"}}, {"predictor", {"ensemble"}}}};
}

// Output of scripts/generate_result_tables.py of the release: values rounded to 9 decimals before
// and after the mean over corruptions.
Layout sed_released_generalisation() {
  Layout layout{"sed_released_generalisation",
                "ood_gen_df.csv of SED's release, byte for byte",
                std::string(kSed) + ", release, result_tables/",
                {"experiment"},
                {},
                {}};
  const auto block = [&](const std::string& group, const std::vector<Condition>& where,
                         double scale) {
    std::vector<Selection> columns{one_set("in_val", {"in_val", "imagenet_val"}),
                                   one_set("imagenet_a", {"imagenet_a", "in_a"}),
                                   one_set("imagenet_r", {"imagenet_r", "in_r"}),
                                   corrupted("C-1", 1),
                                   corrupted("C-5", 5),
                                   one_set("iNaturalist", inaturalist()),
                                   one_set("OpenImages", openimages())};

    // Rounding to 9 decimals before and after the mean, as the release does.
    for (auto& column : columns) {
      column.group = group;
      column.where.insert(column.where.end(), where.begin(), where.end());
      column.scale = scale;
      column.round_to = 9;
      layout.columns.push_back(std::move(column));
    }
  };

  // One block of columns per predictor and per diversity measure, in the order of the release.
  for (const auto& [predictor, label] :
       {std::pair("best", "best_single_model"), {"ensemble", "ensemble"}, {"soup", "soup"}})
    block(fmt::format("('{}', 100)", label), {{"metric", {"accuracy"}}, {"predictor", {predictor}}},
          100);
  const std::vector<std::string> diversity{"diversity", "mean", "mean_score"};
  block("div_different_preds", {{"metric", diversity}, {"score", {"different_predictions"}}}, 1);
  block("div_continous_unique", {{"metric", diversity}, {"score", {"pds"}}}, 1);
  return layout;
}

Layout sed_released_detection() {
  Layout layout{"sed_released_detection",
                "ood_det_df.csv of SED's release, byte for byte",
                std::string(kSed) + ", release, result_tables/",
                {"experiment"},
                {},
                {{"metric", {"auroc"}}, {"predictor", {"ensemble"}}}};

  // Per data set one column for each score, in the order of the release.
  for (const auto& column :
       {corrupted("C-1", 1), corrupted("C-5", 5), one_set("iNaturalist", inaturalist()),
        one_set("OpenImages", openimages())})
    for (const auto& [score, label] :
         {std::pair("msp", "ensemble_conf"), {"pds", "div_continous_unique_per_sample"}}) {
      layout.columns.push_back(column);
      layout.columns.back().group = label;
      layout.columns.back().where.push_back({"score", {score}});
      layout.columns.back().round_to = 9;
    }
  return layout;
}

constexpr const char* kSdde = "SDDE (arXiv:2305.11616), tables of OOD detection and calibration";
constexpr const char* kScaled = "temperature";  // `score` of values after temperature scaling

// Accuracy and calibration on sets of one shift; calibration also after temperature scaling where
// it was evaluated.
std::vector<Selection> calibration(const char* shift) {
  // Values after temperature scaling have a `score` of their own.
  const auto column = [&](const char* name, const char* metric, const char* score, double scale,
                          int digits) {
    const Selection selection{
        .name = name,
        .where = {{"metric", {metric}}, {"shift", {shift}}, {"score", {score}}},
        .optional = *score != 0};
    return formatted({selection}, scale, digits)[0];
  };

  return {
      column("accuracy (%)", "accuracy", "", 100, 2), column("NLL", "nll", "", 1, 4),
      column("ECE (%)", "ece", "", 100, 2),           column("Brier", "brier", "", 1, 4),
      column("NLL, T", "nll", kScaled, 1, 4),         column("ECE, T (%)", "ece", kScaled, 100, 2),
      column("Brier, T", "brier", kScaled, 1, 4)};
}

Layout sdde() {
  // Means over all sets of a shift, whatever their names; published values give only the mean.
  const auto ranking = [](const char* name, const char* shift) {
    return Selection{.name = name,
                     .where = {{"metric", {"auroc"}}, {"shift", {shift}}},
                     .every_dataset = true,
                     .whole = shift,
                     .scale = 100,
                     .digits = 2};
  };

  Layout layout{"sdde",
                "near and far OOD detection (AUROC, per cent, plain mean over the data sets of "
                "each kind), accuracy and calibration on the in-distribution test set; "
                "calibration also after temperature scaling (T) where it was evaluated",
                kSdde,
                {"experiment", "method", "members", "score"},
                {ranking("near (%)", "near"), ranking("far (%)", "far")},
                {{"predictor", {"ensemble"}}}};

  for (auto& column : calibration("id")) layout.columns.push_back(std::move(column));

  // Values without a score (accuracy, calibration) belong to the row of every score.
  layout.common_scores = {"", kScaled};
  return layout;
}

Layout sdde_corrupted() {
  return {"sdde_corrupted",
          "accuracy and calibration on each set with shift covariate (C-1, C-5: all corruptions as "
          "one set), before and after temperature scaling (T)",
          kSdde,
          {"experiment", "method", "members", "dataset"},
          calibration("covariate"),
          {{"predictor", {"ensemble"}}}};
}

Layout openood() {
  Layout layout{"openood",
                "ood.csv of OpenOOD: near sets and their mean, far sets and their mean, per cent; "
                "one method and score at a time",
                "OpenOOD v1.5 (arXiv:2306.09301), openood/evaluators/ood_evaluator.py",
                {"dataset"},
                {},
                {{"predictor", {"ensemble"}}}};

  layout.by_dataset = true;

  // Rows are data sets, so a column only selects the metric. Accuracy is that of the
  // in-distribution set in every row.
  for (const auto& [name, metric] : {std::pair("FPR@95", "fpr95"),
                                     {"AUROC", "auroc"},
                                     {"AUPR_IN", "aupr_in"},
                                     {"AUPR_OUT", "aupr_out"}})
    layout.columns.push_back({.name = name, .where = {{"metric", {metric}}}});
  layout.columns.push_back(
      {.name = "ACC", .where = {{"metric", {"accuracy"}}, {"shift", {"id"}}}, .whole_table = true});

  layout.columns = formatted(layout.columns, 100, 2);
  return layout;
}

}  // namespace

std::vector<std::string> corruption_names(int severity) {
  std::vector<std::string> names;
  for (const auto name : kCorruptionNames) names.push_back(fmt::format("{}_{}", name, severity));

  // SED's release adds them up in this order, and its tables are compared byte for byte.
  std::ranges::sort(names);
  return names;
}

const std::vector<Layout>& layouts() {
  static const std::vector<Layout> table{
      sed_generalisation(),          sed_detection(),         sdde(), sdde_corrupted(), openood(),
      sed_released_generalisation(), sed_released_detection()};
  return table;
}

const Layout& find_layout(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& layout : layouts()) {
    if (layout.name == name) return layout;
    names.push_back(layout.name);
  }
  const auto near = nearest(name, names);
  DISSENT_FAIL(kUsage, "layout: expected one of {}, found '{}'{}", fmt::join(names, ", "), name,
               near ? fmt::format("; did you mean '{}'?", *near) : "");
}

bool has_released_form(const Layout& layout) {
  return layout.by_dataset || layout.name.starts_with("sed_released_");
}

Layout pivot_layout(const ResultSet& set, const std::vector<std::string>& rows,
                    const std::vector<std::string>& columns, const std::vector<Condition>& where,
                    double scale, int digits) {
  Layout layout{"pivot", "rows and columns by the values of result columns", "", rows, {}, where};
  for (const auto& column : columns)
    DISSENT_CHECK(std::find(set.columns.begin(), set.columns.end(), column) != set.columns.end(),
                  kUsage, "--columns: expected columns of the result files ({}), found '{}'",
                  fmt::join(set.columns, ", "), column);

  // Only combinations of values that occur become columns.
  std::vector<std::vector<std::string>> found;  // in the order of the files
  for (const auto& row : set.rows) {
    if (!std::all_of(where.begin(), where.end(),
                     [&](const auto& condition) { return holds(condition, row); }))
      continue;
    std::vector<std::string> names;
    for (const auto& column : columns) names.push_back(row.field(column));
    if (std::find(found.begin(), found.end(), names) == found.end()) found.push_back(names);
  }

  for (const auto& names : found) {
    // The column's heading: its values without empty ones (no score).
    std::vector<std::string> shown_names;
    std::copy_if(names.begin(), names.end(), std::back_inserter(shown_names),
                 [](const auto& name) { return !name.empty(); });
    Selection column{
        .name = fmt::format("{}", fmt::join(shown_names, " ")), .scale = scale, .digits = digits};
    for (size_t i = 0; i < columns.size(); ++i) column.where.push_back({columns[i], {names[i]}});
    layout.columns.push_back(std::move(column));
  }
  return layout;
}

std::string layouts_page() {
  std::string text = "| layout | holds | rows | columns | source |\n|---|---|---|---|---|\n";
  for (const auto& layout : layouts()) {
    std::vector<std::string> names;

    // A name that several groups of columns have is listed once.
    for (const auto& column : layout.columns)
      if (std::find(names.begin(), names.end(), column.name) == names.end())
        names.push_back(column.name);
    text += fmt::format("| `{}` | {} | {} | {} | {} |\n", layout.name,
                        markdown_cell(layout.meaning), fmt::join(layout.rows, ", "),
                        fmt::join(names, ", "), markdown_cell(layout.citation));
  }
  return text;
}

}  // namespace dissent::report
