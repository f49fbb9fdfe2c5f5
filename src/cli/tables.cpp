#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <dissent/error.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/light_verbs.hpp"
#include "core/options.hpp"
#include "report/arguments.hpp"
#include "report/layouts.hpp"
#include "report/table_text.hpp"
#include "storage/results.hpp"

namespace dissent::cli {
namespace {

using Texts = std::vector<std::string>;

// The layout of --layout; nothing without it, where the values in the result rows become columns.
std::optional<report::Layout> named_layout(const CommandLine& line) {
  // A layout has its own columns and formats; only the names of its rows may be chosen.
  const bool has_rows = line.has("rows");
  if (line.has("layout")) {
    DISSENT_CHECK(
        !line.has("columns") && !line.flag("percent"), kUsage,
        "--layout: expected no --columns and no --percent, since a layout defines both, found one");
    auto layout = report::find_layout(line.get<std::string>("layout"));
    DISSENT_CHECK(!has_rows || !layout.by_dataset, kUsage,
                  "--rows: expected a layout whose rows can be chosen, found {}, whose rows are "
                  "the data sets",
                  layout.name);
    if (has_rows) layout.rows = report::comma_list(line.get<std::string>("rows"));
    return layout;
  }

  DISSENT_CHECK(has_rows && line.has("columns"), kUsage,
                "expected --layout, or --rows and --columns");
  return std::nullopt;
}

report::Layout layout_of(const CommandLine& line, const report::ResultSet& set,
                         const std::vector<report::Condition>& where) {
  if (auto named = named_layout(line)) return *std::move(named);
  return report::pivot_layout(set, report::comma_list(line.get<std::string>("rows")),
                              report::comma_list(line.get<std::string>("columns")), where,
                              line.flag("percent") ? 100 : 1, line.flag("percent") ? 2 : 4);
}

std::vector<report::Condition> where_of(const CommandLine& line) {
  auto where = report::conditions(line.texts("where"));
  if (line.has("metric")) where.push_back({"metric", {line.get<std::string>("metric")}});

  // Values that depend on no score stay: their score is empty, or "temperature".
  if (line.has("score"))
    where.push_back({"score", {line.get<std::string>("score"), "", "temperature"}});
  return where;
}

struct TableRequest {
  report::TableOptions options;
  report::TextOptions text;
};

report::TextOptions text_options(const CommandLine& line) {
  const report::TextOptions text{
      .format = report::table_format("--format", line.get<std::string>("format")),
      .precision = line.has("precision") ? line.get<int>("precision") : -1,
      .freedom = report::freedom_of(line.get<std::string>("deviation"))};
  DISSENT_CHECK(!line.has("precision") || (text.precision >= 0 && text.precision <= 20), kUsage,
                "--precision: expected 0 .. 20, found {}", text.precision);
  return text;
}

// The options, checked.
TableRequest table_request(const CommandLine& line) {
  TableRequest request;
  if (line.has("seeds"))
    request.options.seeds = report::seed_list("--seeds", line.get<std::string>("seeds"));
  request.options.where = where_of(line);
  request.text = text_options(line);

  // Only checked here; tables() reads the pairs again.
  report::name_pairs("--published-as", line.texts("published-as"));
  const auto layout = named_layout(line);
  const bool released = layout && report::has_released_form(*layout);
  request.options.part_rows = !line.has("rows") && !released;
  if (!released) return request;

  // A release's file has one form, and no table of a paper to compare with.
  DISSENT_CHECK(!line.has("format") || request.text.format == report::TableFormat::kCsv, kUsage,
                "--format: expected csv (layout {} is a CSV file of a release), found '{}'",
                layout->name, line.get<std::string>("format"));
  DISSENT_CHECK(!line.has("published"), kUsage,
                "--published: expected a layout of a paper's table, found {}", layout->name);
  return request;
}

void tables(const CommandLine& line) {
  // Options first: reading many result files takes longer than finding a wrong option.
  const auto [options, text] = table_request(line);
  const auto set = report::read_result_files(line.positional());
  const auto layout = layout_of(line, set, options.where);
  const auto table = report::build_table(set, layout, options);

  const auto output = line.get<std::string>("output");
  if (report::has_released_form(layout))
    return report::write_output(output, report::released_text(table, text));

  // Published rows may lack some rows of ours, and all of them.
  std::optional<report::Published> published;
  if (line.has("published")) {
    const auto path = line.get<std::string>("published");
    published = report::match_published(
        table,
        report::build_table(report::read_result_files({path}), layout,
                            {.part_rows = false, .may_be_empty = true}),
        report::name_pairs("--published-as", line.texts("published-as")), path);
  }
  report::write_output(output, report::table_text(table, text, published ? &*published : nullptr));
}

// The files may not exist yet, and may have more columns. So only a name at edit distance 1 from a
// result column counts as misspelt (except for `n`, which is that close to every single letter).
void check_spelling(const std::string& option, const Texts& names) {
  const auto& columns = result_columns();
  for (const auto& name : names) {
    if (std::find(columns.begin(), columns.end(), name) != columns.end()) continue;
    for (const auto& column : columns)
      DISSENT_CHECK(column.size() < 3 || edit_distance(name, column) > 1, kUsage,
                    "{}: expected a column of result files, found '{}'; did you mean '{}'?", option,
                    name, column);
  }
}

}  // namespace

void check_tables(const CommandLine& line, Files& files) {
  if (line.positional() == Texts{"layouts"}) return;
  const auto request = table_request(line);
  for (const auto& condition : request.options.where) check_spelling("--where", {condition.column});
  for (const char* option : {"rows", "columns"})
    if (line.has(option))
      check_spelling(fmt::format("--{}", option),
                     report::comma_list(line.get<std::string>(option)));

  for (const auto& path : line.positional()) files.reads_folder("FILE", path);
  if (!line.has("published")) return;
  files.reads("--published", line.get<std::string>("published"));
}

int run_tables(const CommandLine& line) {
  if (line.positional() == Texts{"layouts"})
    fmt::print("{}", report::layouts_page());
  else
    tables(line);
  return 0;
}

}  // namespace dissent::cli
