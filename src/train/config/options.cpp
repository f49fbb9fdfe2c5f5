#include "train/config/options.hpp"

#include <algorithm>
#include <filesystem>
#include <set>

#include "models/head.hpp"

namespace dissent {
namespace {

std::vector<std::string> head_names() {
  std::vector<std::string> names;
  for (const auto& spec : head_registry()) names.push_back(spec.name);
  return names;
}

// The keys of the weight, then those of the loss, bound to the two parts of a LossTable.
TableSpec loss_option_table(const losses::LossInfo& loss) {
  TableSpec table{"loss." + loss.name, loss.summary, {}, &typeid(LossTable)};
  const auto weight = [](void* target) -> void* {
    return &static_cast<LossTable*>(target)->weight;
  };
  const auto own = [&loss](void* target) {
    return loss.struct_of(static_cast<LossTable*>(target)->options);
  };
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
  for (const auto& option : losses::weight_table().options) add(option, weight);
  for (const auto& option : loss.options.options) add(option, own);
  return table;
}

// Contradictions between losses, and between them and the rest.
void add_loss_conflicts(const TrainConfig& c,
                        const std::function<void(bool, const std::string&, std::string)>& add) {
  const auto objective = objective_options(c);
  bool unlabelled = false, others = false, hard = false;
  for (const auto& term : objective.terms) {
    const auto& loss = losses::find_loss(term.name);
    const std::string key = "loss." + term.name;
    const auto reason = impossible_on_features(loss);
    if (reason) add(true, key, *reason);
    const auto traits = losses::traits_of(loss, term.options);
    add(c.active_members() < traits.min_members, key,
        fmt::format("members can only repel each other if at least {} are active, found {}",
                    traits.min_members, c.active_members()));
    if (loss.kind == losses::LossKind::kBase) continue;
    others = true;
    unlabelled = unlabelled || reads_unlabelled(term, objective);
    const bool labels = loss.kind == losses::LossKind::kDiversity &&
                        std::find(traits.needs.begin(), traits.needs.end(),
                                  losses::Field::kLabels) != traits.needs.end();
    const bool hard_a2d = term.name == "a2d" && labels;
    add(labels && c.disagreement.on == "unlabelled", hard_a2d ? "loss.a2d.sample_weight" : key,
        fmt::format("{}needs labels: expected disagreement.on = \"labelled\", found \"unlabelled\"",
                    hard_a2d ? "\"hard\" " : ""));
    hard = hard || hard_a2d;
  }
  add(objective.terms.empty(), "loss",
      "expected at least one loss table, as [loss.cross_entropy]; found none");
  const bool threshold = c.disagreement.below_threshold.has_value();
  add(hard && threshold, "loss.a2d.sample_weight",
      "expected \"none\" with disagreement.below_threshold, found \"hard\"");
  add(threshold && c.disagreement.on == "unlabelled", "disagreement.below_threshold",
      "a threshold splits the labelled batch: expected disagreement.on = \"labelled\", found "
      "\"unlabelled\"");
  add(threshold && !others, "disagreement.below_threshold",
      "expected a loss beside those of kind base, for the samples that it takes from them; found "
      "none");
  add(unlabelled && c.data.unlabelled.empty(), "data.unlabelled",
      "expected a cache, since a loss reads unlabelled rows; found nothing");
  add(!unlabelled && !c.data.unlabelled.empty(), "data.unlabelled",
      "expected none, since no loss reads unlabelled rows (disagreement.on = \"labelled\", no "
      "loss.oe), found one");
}

}  // namespace

const TableSpec& experiment_table() {
  using T = ExperimentOptions;
  static const TableSpec table =
      TableOf<T>("", "The experiment")
          .option("experiment", &T::experiment,
                  {.meaning = "name; runs go to <output>/<experiment>/<run>"})
          .option("seeds", &T::seeds, {.meaning = "one run each", .min = 0})
          .option("output", &T::output,
                  {.meaning = "folder of all results", .scope = Scope::kExecution})
          .option("origin", &T::origin,
                  {.meaning = "where the settings come from: a paper's release, or nobody's but "
                              "this project's",
                   .scope = Scope::kExecution,
                   .choices = {"unknown", "published", "ours"}});
  return table;
}

const TableSpec& cache_data_table() {
  using T = CacheDataOptions;
  static const TableSpec table =
      TableOf<T>("data", "What is trained on")
          .option("kind", &T::kind, {.meaning = "cached features", .choices = {"cache"}})
          .option("train", &T::train, {.meaning = "a cache folder or one of SED's HDF5 files"})
          .option("validation", &T::validation,
                  {.meaning = "the same, for the figures after each epoch; empty: none"})
          .option("unlabelled", &T::unlabelled,
                  {.meaning = "a cache whose rows the members repel on (disagreement.on = "
                              "\"unlabelled\"); empty: none"})
          .option("subset", &T::subset,
                  {.meaning = "text file of positions in the source set, one a line: only these "
                              "rows are trained on; empty: all"})
          .option("subset_complement", &T::subset_complement,
                  {.meaning = "train on the rows that are not in the list"})
          .option(
              "residency", &T::residency,
              {.meaning =
                   "where the training rows are kept. host: one copy a node in shared memory; "
                   "stream: two chunks of chunk_rows rows a node and run, read ahead; "
                   "device: a copy on each GPU; auto: device if the rows take at most 3/4 of its "
                   "free memory, else host, or stream where chunk_rows is given and the rows take "
                   "more than 3/4 of the node's free memory",
               .scope = Scope::kExecution,
               .choices = {"auto", "device", "host", "stream"}})
          .option("chunk_rows", &T::chunk_rows,
                  {.meaning = "rows are shuffled within chunks of so many rows, which are visited "
                              "in file order, whatever the residency; 0: the whole pass",
                   .min = 0})
          .option("memory_gib", &T::memory_gib,
                  {.meaning = "GiB of a node that the two chunks of residency stream may take, "
                              "over all runs of the node",
                   .scope = Scope::kExecution,
                   .min = 0})
          .option("batch_size", &T::batch_size,
                  {.meaning = "rows a step, over all data ranks", .min = 1});
  return table;
}

const TableSpec& ensemble_table() {
  using T = EnsembleOptions;
  static const TableSpec table =
      TableOf<T>("ensemble", "The networks")
          .option("members", &T::members, {.meaning = "number of networks", .min = 1})
          .option("active", &T::active,
                  {.meaning = "networks drawn anew for each step (SED's random_select)",
                   .min = 1,
                   .word = "all"})
          .option("selection", &T::selection,
                  {.meaning = "random: drawn each step; round_robin: one network an epoch, in turn",
                   .choices = {"random", "round_robin"}})
          .option("model", &T::model, {.meaning = "the network", .choices = head_names()})
          .option("hidden", &T::hidden,
                  {.meaning = "width of the hidden layer; auto: 4 x features", .min = 1});
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

const TableSpec& disagreement_table() {
  using T = DisagreementOptions;
  static const TableSpec table =
      TableOf<T>("disagreement", "Where members repel each other")
          .option("on", &T::on,
                  {.meaning = "the labelled batch, or a batch of data.unlabelled",
                   .choices = {"labelled", "unlabelled"}})
          .option("below_threshold", &T::below_threshold,
                  {.meaning = "repel only samples that some member gives its label at most this "
                              "probability; cross-entropy on the others",
                   .min = 0,
                   .max = 1,
                   .word = "none"});
  return table;
}

const TableSpec& training_table() {
  using T = TrainingOptions;
  static const TableSpec table =
      TableOf<T>("training", "How long, and what if")
          .option("epochs", &T::epochs,
                  {.meaning = "passes over the rows, the frozen one included", .min = 1})
          .option("frozen_first_epoch", &T::frozen_first_epoch,
                  {.meaning = "the first epoch only computes losses, as SED's release does"})
          .option("on_nan", &T::on_nan,
                  {.meaning = "a loss or gradient that is not finite: stop, or pass over the step",
                   .choices = {"error", "skip_step"}})
          .option(
              "clip_norm", &T::clip_norm,
              {.meaning = "largest norm of the gradient over all active members; 0: no clipping",
               .min = 0})
          .option("look_ahead", &T::look_ahead,
                  {.meaning = "steps looked at to find those without a common member, which are "
                              "computed together; 1: one at a time",
                   .scope = Scope::kExecution,
                   .min = 1,
                   .max = 4096})
          .option(
              "gradient_samples", &T::gradient_samples,
              {.meaning = "steps an epoch and member in which the gradients of base and diversity "
                          "losses are told apart, for train.csv (at most one step in 64); 0: none",
               .min = 0})
          .option("precision", &T::precision,
                  {.meaning = "of the products; f32 is IEEE f32; tf32 (f32 rounded to 10 bits of "
                              "mantissa in products) and bf16 need a GPU. Parameters, optimiser "
                              "state and losses are f32; f64: all of it, on CPUs only, to compare "
                              "with other programs",
                   .choices = {"f32", "tf32", "bf16", "f64"}});
  return table;
}

const TableSpec& checkpoint_table() {
  using T = CheckpointOptions;
  static const TableSpec table =
      TableOf<T>("checkpoint", "When the state of a run is written, beside its end and a stop")
          .option("every_minutes", &T::every_minutes,
                  {.meaning = "minutes between checkpoints", .scope = Scope::kExecution, .min = 0});
  return table;
}

const TableSpec& runtime_table() {
  using T = RuntimeOptions;
  static const TableSpec table =
      TableOf<T>("runtime", "Where and with what")
          .option("device", &T::device,
                  {.meaning = "auto: cuda if there is a GPU and this build has it",
                   .scope = Scope::kExecution,
                   .choices = {"auto", "cpu", "cuda"}})
          .option(
              "threads", &T::threads,
              {.meaning = "threads a rank; auto: OMP_NUM_THREADS, or the rank's share of its cores",
               .scope = Scope::kExecution,
               .min = 1})
          .option("timeout_s", &T::timeout_s,
                  {.meaning = "seconds until a message that does not come ends the job",
                   .scope = Scope::kExecution,
                   .min = 1})
          .option("deterministic", &T::deterministic,
                  {.meaning = "on GPUs only algorithms that give the same bits each time, slower "
                              "ones among them (docs/gpu.md); on CPUs it changes nothing: their "
                              "bits are always the same",
                   .scope = Scope::kExecution});
  return table;
}

const TableSpec& train_runtime_table() {
  using T = RuntimeOptions;
  static const TableSpec table = [] {
    TableSpec all = runtime_table();
    const auto live =
        TableOf<T>("runtime", "")
            .option(
                "wandb", &T::wandb,
                {.meaning = "live to Weights & Biases (docs/logging.md); auto: WANDB_MODE, else "
                            "online where WANDB_API_KEY is set, else off",
                 .scope = Scope::kExecution,
                 .choices = {"auto", "off", "online", "offline"}})
            .option("wandb_project", &T::wandb_project,
                    {.meaning = "its project; empty: WANDB_PROJECT, else dissent",
                     .scope = Scope::kExecution})
            .option("wandb_entity", &T::wandb_entity,
                    {.meaning = "its user or team; empty: WANDB_ENTITY, else the key's own",
                     .scope = Scope::kExecution})
            .option("wandb_finish_s", &T::wandb_finish_s,
                    {.meaning = "seconds, at most, that the end of the last run waits for W&B's "
                                "client (a third of them after a signal); it then goes on alone",
                     .scope = Scope::kExecution,
                     .min = 0})
            .option("tensorboard", &T::tensorboard,
                    {.meaning = "an event file in each run's folder that grows with each epoch",
                     .scope = Scope::kExecution});
    all.options.insert(all.options.end(), live.options.begin(), live.options.end());
    return all;
  }();
  return table;
}

std::vector<Conflict> experiment_conflicts(const ExperimentOptions& e) {
  std::vector<Conflict> found;
  const std::filesystem::path name(e.experiment);
  if (name.is_absolute() || std::find(name.begin(), name.end(), "..") != name.end())
    found.push_back(
        {"experiment", fmt::format("expected a name of a folder in `output` ({}), found {}, which "
                                   "leads out of it",
                                   toml_text(e.output), toml_text(e.experiment))});
  if (e.seeds.empty()) found.push_back({"seeds", "expected at least one seed, found none"});
  const std::set<int64_t> different(e.seeds.begin(), e.seeds.end());
  for (const int64_t seed : different)
    if (const auto times = std::count(e.seeds.begin(), e.seeds.end(), seed); times > 1)
      found.push_back(
          {"seeds", fmt::format("expected each seed once, found {} {} times: both would be the "
                                "same run in the same folder",
                                seed, times)});
  return found;
}

std::vector<Conflict> conflicts(const TrainConfig& c) {
  auto found = experiment_conflicts(c.experiment);
  const auto add = [&](bool wrong, const std::string& key, std::string message) {
    if (wrong) found.push_back({key, std::move(message)});
  };
  add(c.data.train.empty(), "data.train", "expected the cache to train on, found nothing");
  add(c.ensemble.active.value_or(1) > c.ensemble.members, "ensemble.active",
      fmt::format("expected at most ensemble.members ({}), found {}", c.ensemble.members,
                  c.ensemble.active.value_or(0)));
  add_loss_conflicts(c, add);
  add(c.training.precision == "bf16" && c.runtime.device == "cpu", "training.precision",
      "\"bf16\" needs a GPU: expected another runtime.device, found \"cpu\"");
  add(c.training.precision == "tf32" && c.runtime.device == "cpu", "training.precision",
      kTf32OnCpu);
  add(c.training.precision == "f64" && c.runtime.device == "cuda", "training.precision", kF64OnGpu);
  add(c.data.residency == "device" && c.runtime.device == "cpu", "data.residency",
      "\"device\" needs a GPU: expected another runtime.device, found \"cpu\"");
  add(c.optimizer.nesterov && (c.optimizer.name != "sgd" || c.optimizer.momentum == 0),
      "optimizer.nesterov",
      fmt::format("expected false, or optimizer.name = \"sgd\" with a momentum above 0, found true "
                  "with \"{}\" and {}",
                  c.optimizer.name, c.optimizer.momentum));
  add(c.schedule.name == "plateau" &&
          c.schedule.warmup_epochs > static_cast<double>(c.training.epochs),
      "schedule.warmup_epochs",
      fmt::format("expected at most training.epochs ({}), found {}", c.training.epochs,
                  c.schedule.warmup_epochs));
  return found;
}

at::ScalarType parameter_type(const std::string& precision) {
  return precision == "f64" ? at::kDouble : at::kFloat;
}

ObjectiveOptions objective_options(const TrainConfig& c) {
  ObjectiveOptions objective;
  const auto& table = losses::loss_table();
  for (size_t i = 0; i < table.size(); ++i)
    if (c.losses[i].present)
      objective.terms.push_back({table[i].name, c.losses[i].weight, c.losses[i].options});
  objective.below_threshold = c.disagreement.below_threshold;
  objective.repulsion_on = c.disagreement.on == "labelled"
                               ? ObjectiveOptions::RepulsionOn::kLabelled
                               : ObjectiveOptions::RepulsionOn::kUnlabelled;
  return objective;
}

}  // namespace dissent
