// docs/scores.md.
#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>
#include <dissent/scores/registry.hpp>

#include "core/option_page.hpp"
#include "scores/postprocessors.hpp"

namespace dissent::scores {
namespace {

std::string joined(const std::vector<FitField>& fields) {
  std::vector<std::string> names;
  for (const auto field : fields) names.push_back(fit_field_name(field));
  return names.empty() ? "nothing" : fmt::format("{}", fmt::join(names, ", "));
}

std::string reads(const PostprocessorInfo& row) {
  return row.scores_features && row.scores_logits ? "features, logits"
         : row.scores_features                    ? "features"
                                                  : "logits";
}

const char* side(Positive positive) { return positive == Positive::kId ? "ID" : "OOD"; }

std::string ensemble_scores() {
  std::string out = "| score | meaning | larger for | members | reads |\n|---|---|---|---|---|\n";
  for (const auto& score : score_table())
    out += fmt::format("| `{}` | {} | {} | >= {} | {} |\n", score.name,
                       markdown_cell(score.meaning), side(score.positive), score.min_members,
                       score.needs == Needs::kLogits ? "logits" : "logits or probabilities");

  // Each citation once, in the order of the table.
  out += "\nSources: ";
  std::vector<std::string> sources;
  for (const auto& score : score_table())
    if (std::find(sources.begin(), sources.end(), score.citation) == sources.end())
      sources.push_back(score.citation);
  return out + fmt::format("{}.\n", fmt::join(sources, "; "));
}

std::string search_text(const PostprocessorInfo& row) {
  std::string out;
  for (const auto& list : row.search) {
    std::vector<std::string> values;
    for (const auto& value : list.values) values.push_back(toml_text(value));
    out += fmt::format("{}`{}` in {}", out.empty() ? "" : "; ", list.key, fmt::join(values, ", "));
  }
  return out;
}

std::string section(const PostprocessorInfo& row) {
  std::string out =
      fmt::format("\n## `{}`\n\n{}.\n\n    {}\n\n", row.name, row.summary, row.formula);
  out += fmt::format("- fit reads: {}; score reads: {}\n", joined(row.needs), reads(row));
  if (!row.answers.empty()) out += fmt::format("- edge cases: {}\n", row.answers);
  if (!row.search.empty()) out += fmt::format("- OpenOOD's search: {}\n", search_text(row));
  return out + fmt::format("- source: {}\n\n", row.citation) + markdown_keys(row.options);
}

}  // namespace

std::string scores_page() {
  // Only the introductions are written here: everything about a score comes from its entry in a
  // table.
  std::string out =
      "# Scores\n\n"
      "Written by `scripts/generate_docs` from what `dissent config scores` prints; do not "
      "edit.\n\n"
      "# Scores of ensembles\n\n"
      "Each score is a function of the members' outputs in `include/dissent/scores/`, and an entry "
      "of the table in `src/scores/registry.cpp`. `evaluate.scores`\n"
      "selects the scores of an evaluation ([configuration.md](configuration.md)).\n\n" +
      ensemble_scores() +
      "\n# Post-processors\n\n"
      "A post-processor is fitted on features of one network on one set and scores features of "
      "other "
      "sets; larger scores are expected in distribution. The functions are\n"
      "`fit_<name>` and `score_<name>`: `include/dissent/scores/postprocessor.hpp` describes what "
      "they have in common, the headers next to it describe shapes, states,\n"
      "memory and edge cases, and the tables are in `src/scores/*_rows.cpp`.\n\n"
      "h are features, z = W h + b logits, p = softmax(z), N samples, D features, C classes. A fit "
      "that reads logits also accepts features and head.\n\n"
      "| post-processor | fit reads | score reads |\n|---|---|---|\n";

  for (const auto& row : postprocessor_table())
    out += fmt::format("| [`{}`](#{}) | {} | {} |\n", row.name, row.name, joined(row.needs),
                       reads(row));
  for (const auto& row : postprocessor_table()) out += section(row);
  return out;
}

}  // namespace dissent::scores
