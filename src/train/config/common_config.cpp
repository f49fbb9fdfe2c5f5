#include "train/config/common_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <typeinfo>
#include <utility>

#include "losses/registry.hpp"

namespace dissent {
namespace {

// The keys of the weight, then those of the loss, bound to the two parts of a LossTable.
TableSpec loss_option_table(const losses::LossInfo& loss) {
  TableSpec table{"loss." + loss.name, loss.summary, {}, &typeid(LossTable)};
  const auto weight = [](void* target) -> void* {
    return &static_cast<LossTable*>(target)->weight;
  };
  const auto own = [&loss](void* target) {
    return loss.struct_of(static_cast<LossTable*>(target)->options);
  };

  // The reader of a configuration hands over a LossTable; each option knows its own struct alone.
  const auto add = [&table](OptionSpec option, const std::function<void*(void*)>& part) {
    const auto assign = option.assign;
    const auto text = option.text;
    option.assign = [assign, part](void* target, const Value& value) {
      return assign(part(target), value);
    };
    option.text = [text, part](const void* target) {
      return text(part(const_cast<void*>(target)));
    };
    table.options.push_back(std::move(option));
  };

  // The keys of the weight come first in every table, so that all tables of losses have the same
  // layout.
  for (const auto& option : losses::weight_table().options) add(option, weight);
  for (const auto& option : loss.options.options) add(option, own);
  return table;
}

void add_experiment_conflicts(const ExperimentOptions& e, Conflicts& conflicts) {
  // Results of one experiment are replaced with --force: its folder must not be one outside
  // `output`.
  const std::filesystem::path name(e.experiment);
  const bool leads_out =
      name.is_absolute() || std::find(name.begin(), name.end(), "..") != name.end();
  conflicts.add(leads_out, "experiment",
                fmt::format("expected a name of a folder in `output` ({}), found {}, which leads "
                            "out of it",
                            toml_text(e.output), toml_text(e.experiment)));

  conflicts.add(e.seeds.empty(), "seeds", "expected at least one seed, found none");

  // Each seed that occurs more than once is reported once.
  const std::set<int64_t> different(e.seeds.begin(), e.seeds.end());
  for (const int64_t seed : different) {
    const auto times = std::count(e.seeds.begin(), e.seeds.end(), seed);
    conflicts.add(times > 1, "seeds",
                  fmt::format("expected each seed once, found seed {} {} times: these would be the "
                              "same run in the same folder",
                              seed, times));
  }
}

}  // namespace

const TableSpec& experiment_table() {
  using T = ExperimentOptions;
  static const TableSpec table =
      TableOf<T>("", "The experiment")
          // `output` and `origin` may change when a run is resumed: they do not enter its hash.
          .option("experiment", &T::experiment,
                  {.meaning = "name; runs are written to <output>/<experiment>/<run>"})
          .option("seeds", &T::seeds, {.meaning = "one run per seed", .min = 0})
          .option("output", &T::output,
                  {.meaning = "folder for all results", .scope = Scope::kExecution})
          .option("origin", &T::origin,
                  {.meaning = "origin of the settings: published by a paper, or chosen by this "
                              "project",
                   .scope = Scope::kExecution,
                   .choices = {"unknown", "published", "ours"}});
  return table;
}

std::vector<LossTable> default_losses() {
  std::vector<LossTable> tables;
  for (const auto& loss : losses::loss_table()) tables.push_back({false, {}, loss.default_options});
  return tables;
}

const std::vector<TableSpec>& loss_option_tables() {
  static const std::vector<TableSpec> tables = [] {
    std::vector<TableSpec> all;
    for (const auto& loss : losses::loss_table()) all.push_back(loss_option_table(loss));
    return all;
  }();
  return tables;
}

std::vector<losses::LossTerm> loss_terms(const std::vector<LossTable>& tables) {
  // Tables are in the order of the registry. A loss is on if its table is present, whatever
  // its weight.
  std::vector<losses::LossTerm> terms;
  const auto& registry = losses::loss_table();
  for (size_t i = 0; i < registry.size(); ++i)
    if (tables[i].present) terms.push_back({registry[i].name, tables[i].weight, tables[i].options});
  return terms;
}

void add_loss_tables(config::Schema& schema, std::vector<LossTable>& losses) {
  // A table without keys turns its loss on with the defaults, so its presence has to be known.
  for (size_t i = 0; i < losses.size(); ++i)
    schema.optional_table(loss_option_tables()[i], losses[i], losses[i].present);
}

const Names<OnNan>& on_nan_names() {
  static const Names<OnNan> names{{"error", OnNan::kError}, {"skip_step", OnNan::kSkipStep}};
  return names;
}

Names<Precision> named_precisions(const std::vector<Precision>& precisions) {
  Names<Precision> names;
  for (const auto precision : precisions) names.emplace_back(precision_name(precision), precision);
  return names;
}

at::ScalarType parameter_type(Precision precision) {
  return precision == Precision::kF64 ? at::kDouble : at::kFloat;
}

at::ScalarType product_type(Precision precision) {
  // kFloat stands for the dtype of the tensors: nothing is cast. tf32 is a setting of the GPU.
  if (precision == Precision::kBf16) return at::kBFloat16;
  if (precision == Precision::kF16) return at::kHalf;
  return at::kFloat;
}

const TableSpec& checkpoint_table() {
  using T = CheckpointOptions;
  static const TableSpec table =
      TableOf<T>("checkpoint",
                 "Periodic checkpoints, in addition to those at the end and at a stop")
          .option("every_minutes", &T::every_minutes,
                  {.meaning = "minutes between checkpoints", .scope = Scope::kExecution, .min = 0});
  return table;
}

const TableSpec& runtime_table() {
  using T = RuntimeOptions;
  static const TableSpec table =
      OptionTable<T>("runtime", "Device, threads, timeout")
          // All keys are of the execution scope: a run continues with other values of them.
          .choice("device", &T::device, kDeviceChoices,
                  {.meaning = "auto: cuda if there is a GPU and this build supports it",
                   .scope = Scope::kExecution})
          .option("threads", &T::threads,
                  {.meaning = "threads per rank; auto: OMP_NUM_THREADS, or the rank's share of its "
                              "cores",
                   .scope = Scope::kExecution,
                   .min = 1})
          .option("timeout_s", &T::timeout_s,
                  {.meaning = "seconds until a collective times out and the job aborts",
                   .scope = Scope::kExecution,
                   .min = 1})
          .option("deterministic", &T::deterministic,
                  {.meaning = "on GPUs use only algorithms that give the same bits each time, some "
                              "of which are slower (docs/gpu.md); no effect on CPUs, where "
                              "results are always reproducible",
                   .scope = Scope::kExecution});
  return table;
}

const TableSpec& train_runtime_table() {
  using T = RuntimeOptions;
  static const TableSpec table = [] {
    TableSpec all = runtime_table();
    const auto live =
        OptionTable<T>("runtime", "")
            .choice("wandb", &T::wandb, kWandbModes,
                    {.meaning = "live logging to Weights & Biases (docs/logging.md); auto: "
                                "WANDB_MODE, else online if WANDB_API_KEY is set, else off",
                     .scope = Scope::kExecution})
            .option("wandb_project", &T::wandb_project,
                    {.meaning = "W&B project; empty: WANDB_PROJECT, else dissent",
                     .scope = Scope::kExecution})
            .option("wandb_entity", &T::wandb_entity,
                    {.meaning =
                         "W&B user or team; empty: WANDB_ENTITY, else the default of the API key",
                     .scope = Scope::kExecution})
            .option("wandb_finish_s", &T::wandb_finish_s,
                    {.meaning = "maximum seconds to wait for W&B's client at the end of the last "
                                "run (a third of that after a signal); the client then continues "
                                "alone",
                     .scope = Scope::kExecution,
                     .min = 0})
            .option(
                "tensorboard", &T::tensorboard,
                {.meaning = "write a TensorBoard event file in each run's folder, updated after "
                            "each epoch",
                 .scope = Scope::kExecution});

    // A table of its own, since evaluation and caching have [runtime] without live logging.
    all.options.insert(all.options.end(), live.options.begin(), live.options.end());
    return all;
  }();
  return table;
}

std::string needs_gpu_text(Precision precision) {
  return fmt::format("\"{}\" needs a GPU: expected another runtime.device, found \"cpu\"",
                     precision_name(precision));
}

void add_common_conflicts(const CommonTrainConfig& c, Precision precision, int64_t epochs,
                          Conflicts& conflicts) {
  add_experiment_conflicts(c.experiment, conflicts);

  // Contradictions to a device that is named. That of "auto" is checked once it is known.
  const bool needs_gpu = precision == Precision::kTf32 || precision == Precision::kF16;
  conflicts.add(needs_gpu && c.runtime.device == DeviceChoice::kCpu, "training.precision",
                needs_gpu_text(precision));

  conflicts.add(precision == Precision::kF64 && c.runtime.device == DeviceChoice::kCuda,
                "training.precision", kF64OnGpu);

  // The look-ahead of Nesterov is a property of the momentum: without one the key would do nothing.
  const bool has_momentum = c.optimizer.kind == OptimizerKind::kSgd && c.optimizer.momentum > 0;
  conflicts.add(c.optimizer.nesterov && !has_momentum, "optimizer.nesterov",
                fmt::format("expected false, or optimizer.name = \"sgd\" with a momentum above 0, "
                            "found true with \"{}\" and {}",
                            optimizer_name(c.optimizer.kind), c.optimizer.momentum));

  conflicts.add(c.schedule.kind == ScheduleKind::kPlateau &&
                    c.schedule.warmup_epochs > static_cast<double>(epochs),
                "schedule.warmup_epochs",
                fmt::format("expected at most training.epochs ({}), found {}", epochs,
                            c.schedule.warmup_epochs));
}

}  // namespace dissent
