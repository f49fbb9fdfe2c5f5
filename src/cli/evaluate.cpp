#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/checks.hpp"
#include "cli/compute.hpp"
#include "cli/schemas.hpp"
#include "config/read.hpp"
#include "config/resolved.hpp"
#include "data/options.hpp"
#include "data/transforms/transform.hpp"
#include "evaluate/evaluator.hpp"
#include "evaluate/results/printed_table.hpp"
#include "storage/atomic_file.hpp"
#include "train/config/head_config.hpp"
#include "train/config/image_config.hpp"

namespace dissent::cli {
namespace {

struct EvaluateVerbConfig {
  EvaluateConfig config;
  RuntimeOptions runtime;
};

config::Schema evaluate_schema_of(EvaluateVerbConfig& c) {
  config::Schema schema;
  schema.table(evaluate_table(), c.config.evaluate).tables(evaluate_set_table(), c.config.sets);

  // One optional table [score.NAME] for each score with options.
  const auto& tables = score_option_tables();
  for (size_t i = 0; i < tables.size(); ++i)
    if (!tables[i].options.empty())
      schema.optional_table(tables[i], c.config.scores[i], c.config.scores[i].present);
  schema.table(runtime_table(), c.runtime);
  return schema;
}

EvaluateVerbConfig read_evaluate_config(const config::Document& document) {
  EvaluateVerbConfig c;
  config::ConfigErrors errors(document);
  config::read(document, evaluate_schema_of(c), errors);

  // Conflicts are collected with the other errors, so that all of them are shown at once.
  for (const auto& conflict : conflicts(c.config)) errors.add(conflict.key, conflict.message);
  if (c.runtime.device == DeviceChoice::kCuda)
    errors.add("runtime.device",
               "expected \"cpu\" or \"auto\", found \"cuda\": evaluation runs on CPUs");
  errors.raise();
  return c;
}

std::vector<LoadedEnsemble> load_ensembles(const EvaluateOptions& options) {
  std::vector<LoadedEnsemble> ensembles;
  for (const auto& path : expand_paths(options.runs)) ensembles.push_back(load_ensemble(path));
  return ensembles;
}

// Checks a run that an earlier job of a sheet will train, from the configuration of that training.
void check_coming_run(const EvaluateConfig& c, const std::string& run,
                      const config::Document& training) {
  const bool images = trains_images(training);
  check_members(c.evaluate,
                images ? read_image_train_config(training).ensemble.members
                       : read_train_config(training).ensemble.members,
                run);

  // A set is either cached features (paths) or images, and the run decides which of the two can be
  // evaluated.
  const auto& options = c.evaluate;
  bool has_caches = !options.id.empty() || !options.validation.empty() || !options.fit.empty();
  bool has_images = false;
  for (const auto& set : c.sets) (set.paths.empty() ? has_images : has_caches) = true;
  DISSENT_CHECK(images || !has_images, kUsage,
                "evaluate.sets: expected feature caches (paths) for {}, which trains heads on "
                "cached features, found images",
                run);
  DISSENT_CHECK(!images || !has_caches, kUsage,
                "evaluate.sets: expected images (dataset or list) for {}, which trains networks on "
                "images, found feature caches",
                run);
}

// Width of the terminal at stdout, else the variable COLUMNS, else 100.
int64_t terminal_columns() {
  constexpr int64_t kNarrowest = 40;
  winsize size{};
  int64_t columns = 0;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) columns = size.ws_col;
  if (const char* text = std::getenv("COLUMNS"); columns == 0 && text) columns = std::atoi(text);
  return std::max(columns > 0 ? columns : 100, kNarrowest);
}

// <name>.csv and, if there are reliability bins, <name>.reliability.tsv; data of plots and saliency
// maps in `folder`.
void write_evaluation(const std::string& name, const std::string& folder,
                      const Evaluation& result) {
  // The folder of figures exists only if there is something in it.
  if (!result.plots.empty() || !result.saliency.empty()) make_folder(folder);
  for (const auto& file : result.plots)
    write_plot(fmt::format("{}/{}.csv", folder, file.name), file.points);
  for (const auto& [file, maps] : result.saliency)
    write_saliency(fmt::format("{}/{}.h5", folder, file), maps);

  std::string text =
      "run\tpredictor\tdataset\ttemperature\tlow\thigh\tcount\taccuracy\tconfidence\n";
  for (const auto& row : result.reliability)
    text += fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\n", row.run, row.predictor, row.dataset,
                        row.temperature, row.bin.low, row.bin.high, row.bin.count,
                        row.bin.accuracy(), row.bin.mean_confidence());
  if (!result.reliability.empty()) atomic_write_text(name + ".reliability.tsv", text);

  // Last, since a result file says that the evaluation is complete.
  write_results(name + ".csv", result.rows);
}

}  // namespace

config::Schema evaluate_schema() {
  static EvaluateVerbConfig config;
  return evaluate_schema_of(config);
}

void check_evaluate(const CommandLine&, const config::Document& document, Files& files) {
  // Names first, then each input file, and last what needs several of them together.
  const auto c = read_evaluate_config(document).config;
  const auto& evaluate = c.evaluate;
  if (evaluate.transform != kAutoTransform) find_transform(evaluate.transform);
  for (const auto& path : evaluate.runs) {
    files.reads("evaluate.runs", path);
    files.for_each_planned_run(path, [&](const std::string& run, const config::Document& training) {
      check_coming_run(c, run, training);
    });
  }

  check_features("evaluate.id", evaluate.id, files);
  check_features("evaluate.validation", evaluate.validation, files);
  check_features("evaluate.fit", evaluate.fit, files);
  for (size_t i = 0; i < c.sets.size(); ++i) {
    const auto table = fmt::format("evaluate.sets[{}]", i);
    for (const auto& path : c.sets[i].paths) check_features(table + ".paths", path, files);

    // `calibration` is the name of a set with that role, or the path of a cache.
    const auto& calibration = c.sets[i].calibration;
    const bool names_a_set = std::any_of(c.sets.begin(), c.sets.end(), [&](const auto& other) {
      return other.role == SetRole::kCalibration && other.name == calibration;
    });
    if (!names_a_set) check_features(table + ".calibration", calibration, files);
    if (c.sets[i].paths.empty()) check_images(table, picture_data(c.sets[i]), files);
  }

  // Everything that needs the contents of the files.
  files.check_contents("", [&] {
    auto config = c;
    auto ensembles = load_ensembles(config.evaluate);
    prepare_evaluation(ensembles, config);
  });
}

int run_evaluate(Runtime& runtime, const CommandLine& line) {
  const auto document =
      load_configuration(runtime, line.positional()[0], line.get<std::vector<std::string>>("set"));
  auto c = read_evaluate_config(document);
  apply_runtime(runtime, c.runtime.threads, c.runtime.timeout_s);
  auto& world = runtime.world();

  // Every rank loads the ensembles itself: each of them computes its own blocks of rows.
  std::vector<LoadedEnsemble> ensembles;
  agree(world, [&] {
    Files own;
    check_evaluate(line, document, own);
    ensembles = load_ensembles(c.config.evaluate);
  });

  // The hash of the resolved configuration names the files: another evaluation never overwrites
  // these, and the same one finds them.
  const std::string name =
      fmt::format("{}/{}", c.config.evaluate.output, config::config_hash(evaluate_schema_of(c)));

  // Choices are written before any test score. With --again they first go to another file, since
  // the existing choices belong to the existing rows.
  const auto choices_path = name + ".choices.toml",
             first_path = line.flag("again") ? again_path(choices_path) : choices_path;
  const auto record = [&](const Evaluation& chosen) {
    if (world.rank() != 0) return;
    make_folder(std::filesystem::path(first_path).parent_path().string());
    atomic_write_text(first_path, chosen.choices);
    spdlog::info("event=choices path={} hash={}", first_path, chosen.choices_hash);
  };

  const auto result = evaluate(world, std::move(ensembles), c.config,
                               world.rank() == 0 && !line.flag("quiet"), record);

  // All ranks have the result, and rank 0 writes it. The choices replace the old ones just before
  // the rows that belong to them.
  agree(world, [&] {
    if (world.rank() != 0) return;
    make_folder(c.config.evaluate.output);
    if (first_path != choices_path && path_exists(first_path))
      replace_path(first_path, choices_path);
    write_evaluation(name, c.config.evaluate.output + "/figures", result);
  });

  if (world.rank() == 0) {
    fmt::print("{}", printed_table(result.rows, terminal_columns()));
    fmt::print("\n{} rows in {}.csv{}\n", result.rows.size(), name,
               result.choices.empty() ? "" : ", choices " + result.choices_hash);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace dissent::cli
