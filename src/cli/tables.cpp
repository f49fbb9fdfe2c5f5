#include <cstdio>
#include <optional>

#include "cli/verb.hpp"
#include "report/arguments.hpp"
#include "report/layouts.hpp"
#include "report/table_text.hpp"

namespace dissent::cli {
namespace {

namespace po = boost::program_options;
using Texts = std::vector<std::string>;

void add_options(CommandLine& line) {
  line.add()("layout,l", po::value<std::string>(),
             "a layout of the list that `dissent tables layouts` prints")(
      "rows", po::value<std::string>(),
      "result columns that name a row, as experiment,method; default: those of the layout")(
      "columns", po::value<std::string>(),
      "without --layout: result columns whose values become the columns, as dataset or "
      "dataset,metric")("metric", po::value<std::string>(),
                        "one metric, as auroc: the same as --where metric=auroc")(
      "score", po::value<std::string>(), "one score, as pds; figures that depend on no score stay")(
      "where,w", po::value<Texts>()->composing(),
      "column=value, or column=a,b for any of several: rows that are taken; may be given again")(
      "seeds,s", po::value<std::string>(),
      "seeds that are expected of every row, as 1..5; default: all that a row has in any column")(
      "format,f", po::value<std::string>()->default_value("markdown"),
      "csv (all digits), markdown or latex (booktabs)")("precision,p", po::value<int>(),
                                                        "digits after the point")(
      "percent", po::bool_switch(), "without --layout: values times 100")(
      "deviation", po::value<std::string>()->default_value("sample"),
      "standard deviation over seeds: sample (n - 1) or population (n)")(
      "published", po::value<std::string>(),
      "result rows of published figures (results/published/sed.csv), set beside ours with the "
      "difference")("published-as", po::value<Texts>()->composing(),
                    "ours=theirs: which published experiment a row of ours is compared with, where "
                    "the names differ")("output,o", po::value<std::string>()->default_value("-"),
                                        "file; - is the standard output");
}

Texts texts(const CommandLine& line, const std::string& name) {
  return line.has(name) ? line.get<Texts>(name) : Texts{};
}

report::Layout layout_of(const CommandLine& line, const report::ResultSet& set,
                         const std::vector<report::Condition>& where) {
  const bool has_rows = line.has("rows");
  if (line.has("layout")) {
    DISSENT_CHECK(
        !line.has("columns") && !line.flag("percent"), kUsage,
        "--layout has columns and scales of its own: --columns and --percent go without it");
    auto layout = report::find_layout(line.get<std::string>("layout"));
    DISSENT_CHECK(!has_rows || !layout.by_dataset, kUsage,
                  "--rows: the rows of layout {} are the data sets", layout.name);
    if (has_rows) layout.rows = report::comma_list(line.get<std::string>("rows"));
    return layout;
  }
  DISSENT_CHECK(has_rows && line.has("columns"), kUsage,
                "expected --layout, or --rows and --columns");
  return report::pivot_layout(set, report::comma_list(line.get<std::string>("rows")),
                              report::comma_list(line.get<std::string>("columns")), where,
                              line.flag("percent") ? 100 : 1, line.flag("percent") ? 2 : 4);
}

std::vector<report::Condition> where_of(const CommandLine& line) {
  auto where = report::conditions(texts(line, "where"));
  if (line.has("metric")) where.push_back({"metric", {line.get<std::string>("metric")}});
  if (line.has("score"))
    where.push_back({"score", {line.get<std::string>("score"), "", "temperature"}});
  return where;
}

void tables(const CommandLine& line) {
  const auto set = report::read_result_files(line.positional());
  report::TableOptions options{
      .seeds = line.has("seeds") ? report::seed_list("--seeds", line.get<std::string>("seeds"))
                                 : std::vector<int64_t>{},
      .where = where_of(line)};
  report::TextOptions text{.format = line.get<std::string>("format"),
                           .precision = line.has("precision") ? line.get<int>("precision") : -1,
                           .freedom = report::freedom_of(line.get<std::string>("deviation"))};
  DISSENT_CHECK(!line.has("precision") || (text.precision >= 0 && text.precision <= 20), kUsage,
                "--precision: expected 0 .. 20, found {}", text.precision);
  const auto layout = layout_of(line, set, options.where);
  const auto table = report::build_table(set, layout, options);
  const auto output = line.get<std::string>("output");
  if (report::has_released_form(layout)) {
    DISSENT_CHECK(!line.has("format") || text.format == "csv", kUsage,
                  "--format: layout {} is a release's CSV file, found '{}'", layout.name,
                  text.format);
    DISSENT_CHECK(!line.has("published"), kUsage,
                  "--published goes with the layouts that stand for tables of a paper, not with {}",
                  layout.name);
    return report::write_output(output, report::released_text(table, text));
  }
  std::optional<report::Published> published;
  if (line.has("published")) {
    const auto path = line.get<std::string>("published");
    published = report::match_published(
        table, report::build_table(report::read_result_files({path}), layout, {}),
        report::name_pairs("--published-as", texts(line, "published-as")), path);
  }
  report::write_output(output, report::table_text(table, text, published ? &*published : nullptr));
}

}  // namespace

int run_tables(Runtime& runtime, const std::vector<std::string>& arguments) {
  CommandLine line(
      verb("tables"),
      "Tables over seeds (mean, deviation, count; what is missing is shown) from result files, or "
      "from all below folders. `dissent tables layouts` lists the layouts.",
      "FILE...", -1);
  add_options(line);
  if (!line.parse(runtime, arguments)) return 0;
  agree(runtime.world(), [&] {
    if (runtime.world().rank() != 0) return;
    if (line.positional() == Texts{"layouts"})
      fmt::print("{}", report::layouts_page());
    else
      tables(line);
  });
  return 0;
}

}  // namespace dissent::cli
