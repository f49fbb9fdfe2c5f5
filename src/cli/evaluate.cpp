#include <cstdio>
#include <map>

#include "cli/schemas.hpp"
#include "cli/verb.hpp"
#include "config/read.hpp"
#include "config/resolved.hpp"
#include "evaluate/head_evaluator.hpp"
#include "storage/atomic_file.hpp"

namespace dissent::cli {
namespace {

namespace po = boost::program_options;

struct EvaluateVerbConfig {
  EvaluateConfig config;
  RuntimeOptions runtime;
};

config::Schema evaluate_schema_of(EvaluateVerbConfig& c) {
  config::Schema schema;
  schema.table(evaluate_table(), c.config.evaluate).tables(evaluate_set_table(), c.config.sets).table(runtime_table(), c.runtime);
  return schema;
}

EvaluateVerbConfig read_evaluate_config(const config::Document& document) {
  EvaluateVerbConfig c;
  config::ConfigErrors errors(document);
  config::read(document, evaluate_schema_of(c), errors);
  if (c.config.evaluate.runs.empty()) errors.add("evaluate.runs", "expected run folders or checkpoint files, found none");
  if (c.config.evaluate.id.empty()) errors.add("evaluate.id", "expected the cache of the in-distribution set, found nothing");
  if (!c.config.evaluate.weights.empty() && c.config.evaluate.combine != "mean_logits") errors.add("evaluate.weights", "go with combine = \"mean_logits\" only");
  for (size_t i = 0; i < c.config.sets.size(); ++i) {
    if (c.config.sets[i].name.empty()) errors.add(fmt::format("evaluate.sets[{}].name", i), "expected a name, found nothing");
    if (c.config.sets[i].paths.empty()) errors.add(fmt::format("evaluate.sets[{}].paths", i), "expected caches, found none");
  }
  errors.raise();
  return c;
}

// A line a predictor, a column a figure; blocks of runs below each other.
void print_table(const std::vector<ResultRow>& rows) {
  std::map<std::pair<std::string, std::string>, std::map<std::string, double>> lines;
  std::vector<std::pair<std::string, std::string>> order;
  std::vector<std::string> columns;
  for (const auto& row : rows) {
    const auto line = std::pair(row.run, row.predictor);
    if (!lines.contains(line)) order.push_back(line);
    const std::string column = row.metric == "accuracy" ? fmt::format("accuracy {}", row.dataset) : fmt::format("{} {} {}", row.metric, row.score, row.dataset);
    if (std::find(columns.begin(), columns.end(), column) == columns.end()) columns.push_back(column);
    lines[line][column] = row.value;
  }
  fmt::print("{:<16}{:<12}", "run", "predictor");
  for (const auto& column : columns) fmt::print("  {}", column);
  fmt::print("\n");
  for (const auto& line : order) {
    fmt::print("{:<16}{:<12}", line.first, line.second);
    for (const auto& column : columns) {
      const auto at = lines[line].find(column);
      fmt::print("  {:>{}}", at == lines[line].end() ? "-" : fmt::format("{:.4f}", at->second), column.size());
    }
    fmt::print("\n");
  }
}

}  // namespace

config::Schema evaluate_schema() {
  static EvaluateVerbConfig config;
  return evaluate_schema_of(config);
}

int run_evaluate(Runtime& runtime, const std::vector<std::string>& arguments) {
  CommandLine line(verb("evaluate"), "Accuracy and AUROC of trained runs over the sets that CONFIG names. Prints a table, writes <output>/<hash>.csv.\n"
                   "`dissent config evaluate` prints all keys.", "CONFIG", 1);
  line.add()("set", po::value<std::vector<std::string>>()->composing()->default_value({}, ""), "table.key=value, over the file's; may be repeated")(
      "quiet", po::bool_switch(), "no progress");
  if (!line.parse(runtime, arguments)) return 0;
  auto c = read_evaluate_config(load_configuration(runtime, line.positional()[0], line.get<std::vector<std::string>>("set")));
  apply_runtime(runtime, c.runtime.threads, c.runtime.timeout_s);
  auto& world = runtime.world();
  std::vector<LoadedEnsemble> ensembles;
  agree(world, [&] {
    for (const auto& path : expand_paths(c.config.evaluate.runs)) ensembles.push_back(load_ensemble(path));
    for (const auto& ensemble : ensembles) {
      const auto members = static_cast<size_t>(ensemble.members.size(0));
      DISSENT_CHECK(c.config.evaluate.weights.empty() || c.config.evaluate.weights.size() == members, kUsage,
                    "evaluate.weights has {} values, the ensemble in {} has {} members", c.config.evaluate.weights.size(), ensemble.path, members);
    }
  });
  const auto rows = evaluate_heads(world, ensembles, c.config, world.rank() == 0 && !line.flag("quiet"));
  const std::string path = fmt::format("{}/{}.csv", c.config.evaluate.output, config::config_hash(evaluate_schema_of(c)));
  agree(world, [&] {
    if (world.rank() != 0) return;
    make_folder(c.config.evaluate.output);
    write_results(path, rows);
  });
  if (world.rank() == 0) {
    print_table(rows);
    fmt::print("\n{} rows in {}\n", rows.size(), path);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace dissent::cli
