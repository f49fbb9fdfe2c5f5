#include "train/config/head_config.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "config/read.hpp"
#include "losses/registry.hpp"
#include "models/head.hpp"

namespace dissent {
namespace {

using RepulsionOn = ObjectiveOptions::RepulsionOn;

std::vector<std::string> head_names() {
  std::vector<std::string> names;
  for (const auto& spec : head_registry()) names.push_back(spec.name);
  return names;
}

// What one loss of kind diversity or regulariser needs from the rest of the configuration.
struct LossNeeds {
  bool unlabelled = false;    ///< a cache of unlabelled rows
  bool hard_weights = false;  ///< A2D's hard-sample weights, which read labels
};

LossNeeds add_ensemble_loss_conflicts(const TrainConfig& c, const ObjectiveOptions& objective,
                                      const losses::LossTerm& term, Conflicts& conflicts) {
  const auto& loss = losses::find_loss(term.name);
  const auto traits = traits_of(term);
  const bool reads_labels =
      loss.kind == losses::LossKind::kDiversity && traits.reads(losses::Field::kLabels);
  // A2D reads labels for its hard-sample weights alone, so that is the key to change.
  const bool hard_weights = traits.weights_hard_samples;
  conflicts.add(
      reads_labels && c.disagreement.on == RepulsionOn::kUnlabelled,
      hard_weights ? "loss.a2d.sample_weight" : "loss." + term.name,
      fmt::format("{}needs labels: expected disagreement.on = \"labelled\", found \"unlabelled\"",
                  hard_weights ? "\"hard\" " : ""));
  return {reads_unlabelled(term, objective), hard_weights};
}

// Conflicts between losses, and between them and the rest.
void add_loss_conflicts(const TrainConfig& c, Conflicts& conflicts) {
  const auto objective = objective_options(c);
  bool ensemble_losses = false;
  LossNeeds needs;
  for (const auto& term : objective.terms) {
    const auto& loss = losses::find_loss(term.name);
    const std::string key = "loss." + term.name;
    if (const auto reason = impossible_on_features(loss)) conflicts.add(true, key, *reason);

    const auto traits = traits_of(term);
    conflicts.add(
        c.active_members() < traits.min_members, key,
        fmt::format("couples members: expected at least {} active members per step, found {}",
                    traits.min_members, c.active_members()));

    if (loss.kind == losses::LossKind::kBase) continue;
    ensemble_losses = true;
    const auto own = add_ensemble_loss_conflicts(c, objective, term, conflicts);
    needs.unlabelled = needs.unlabelled || own.unlabelled;
    needs.hard_weights = needs.hard_weights || own.hard_weights;
  }

  conflicts.add(objective.terms.empty(), "loss",
                "expected at least one loss table, as [loss.cross_entropy]; found none");

  // A threshold divides the labelled batch by p_y: base losses read the samples above it, all
  // others the rest.
  const bool threshold = c.disagreement.below_threshold.has_value();
  conflicts.add(needs.hard_weights && threshold, "loss.a2d.sample_weight",
                "expected \"none\" with disagreement.below_threshold, found \"hard\"");
  conflicts.add(threshold && c.disagreement.on == RepulsionOn::kUnlabelled,
                "disagreement.below_threshold",
                "a threshold splits the labelled batch: expected disagreement.on = \"labelled\", "
                "found \"unlabelled\"");
  conflicts.add(threshold && !ensemble_losses, "disagreement.below_threshold",
                "expected a loss of kind diversity or regulariser, for the samples below the "
                "threshold; found none");

  // A key without effect is an error too: it is a mistake more often than not.
  conflicts.add(needs.unlabelled && c.data.unlabelled.empty(), "data.unlabelled",
                "expected a cache, since a loss reads unlabelled rows; found nothing");
  conflicts.add(!needs.unlabelled && !c.data.unlabelled.empty(), "data.unlabelled",
                "expected none, since no loss reads unlabelled rows (disagreement.on = "
                "\"labelled\", no loss.oe), found one");
}

Conflicts head_conflicts(const TrainConfig& c) {
  Conflicts conflicts;
  add_common_conflicts(c, c.training.precision, c.training.epochs, conflicts);
  conflicts.add(c.data.train.empty(), "data.train",
                "expected the cache to train on, found nothing");
  conflicts.add(c.ensemble.active.value_or(1) > c.ensemble.members, "ensemble.active",
                fmt::format("expected at most ensemble.members ({}), found {}", c.ensemble.members,
                            c.ensemble.active.value_or(0)));
  add_loss_conflicts(c, conflicts);

  // Contradictions to a device that is named. That of "auto" is checked when it is known.
  conflicts.add(c.training.precision == Precision::kBf16 && c.runtime.device == DeviceChoice::kCpu,
                "training.precision", needs_gpu_text(Precision::kBf16));
  conflicts.add(c.data.residency == Residency::kDevice && c.runtime.device == DeviceChoice::kCpu,
                "data.residency",
                "\"device\" needs a GPU: expected another runtime.device, found \"cpu\"");
  return conflicts;
}

}  // namespace

const TableSpec& cache_data_table() {
  using T = CacheDataOptions;
  static const TableSpec table =
      OptionTable<T>("data", "Training data")
          // Which rows.
          .option("kind", &T::kind, {.meaning = "cached features", .choices = {"cache"}})
          .option("train", &T::train, {.meaning = "a cache folder or one of SED's HDF5 files"})
          .option("validation", &T::validation,
                  {.meaning = "the same, for validation after each epoch; empty: none"})
          .option("unlabelled", &T::unlabelled,
                  {.meaning = "a cache of unlabelled rows on which members disagree "
                              "(disagreement.on = \"unlabelled\"); empty: none"})
          .option("subset", &T::subset,
                  {.meaning = "text file with one position in the source set per line: train on "
                              "these rows only; empty: all rows"})
          .option("subset_complement", &T::subset_complement,
                  {.meaning = "train on the rows that are not in the list"})

          // Where they are kept. No choice here changes a result.
          .choice("residency", &T::residency,
                  {{"auto", Residency::kAuto},
                   {"device", Residency::kDevice},
                   {"host", Residency::kHost},
                   {"stream", Residency::kStream}},
                  {.meaning = "where the training rows are stored. host: one copy per node in "
                              "shared memory; stream: two chunks of chunk_rows rows per node and "
                              "run, read ahead; device: a copy on each GPU; auto: device if the "
                              "rows take at most 3/4 of its free memory, else host, or stream if "
                              "chunk_rows is given and the rows take more than 3/4 of the node's "
                              "free memory",
                   .scope = Scope::kExecution})

          // The order in which they are visited: part of the plan, so chunk_rows changes results
          // with any residency.
          .option("chunk_rows", &T::chunk_rows,
                  {.meaning = "rows are shuffled within chunks of this many rows, and chunks are "
                              "visited in file order, whatever the residency; 0: shuffle the whole "
                              "pass",
                   .min = 0})

          // A bound and not a size: a chunk that does not fit is an error.
          .option("memory_gib", &T::memory_gib,
                  {.meaning = "maximum GiB per node for the two chunks of residency stream, over "
                              "all runs on the node",
                   .scope = Scope::kExecution,
                   .min = 0})

          .option("batch_size", &T::batch_size,
                  {.meaning = "rows per step, over all data ranks", .min = 1});
  return table;
}

const TableSpec& ensemble_table() {
  using T = EnsembleOptions;
  static const TableSpec table =
      OptionTable<T>("ensemble", "The networks")
          .option("members", &T::members, {.meaning = "number of networks", .min = 1})
          .option("active", &T::active,
                  {.meaning = "networks drawn for each step (SED's random_select)",
                   .min = 1,
                   .word = "all"})
          .choice("selection", &T::selection,
                  {{"random", Selection::kRandom}, {"round_robin", Selection::kRoundRobin}},
                  "random: drawn for each step; round_robin: one network per epoch, in turn")

          .option("model", &T::model, {.meaning = "the network", .choices = head_names()})
          .option("hidden", &T::hidden,
                  {.meaning = "width of the hidden layer; auto: 4 x features", .min = 1});
  return table;
}

const TableSpec& disagreement_table() {
  using T = DisagreementOptions;
  static const TableSpec table =
      OptionTable<T>("disagreement", "Samples on which members are trained to disagree")
          .choice("on", &T::on,
                  {{"labelled", RepulsionOn::kLabelled}, {"unlabelled", RepulsionOn::kUnlabelled}},
                  "the labelled batch, or a batch of data.unlabelled")
          .option(
              "below_threshold", &T::below_threshold,
              {.meaning = "members disagree only on samples to which at least one member assigns a "
                          "true-class probability of at most this value; base losses read the "
                          "other samples",
               .min = 0,
               .max = 1,
               .word = "none"});
  return table;
}

const TableSpec& training_table() {
  using T = TrainingOptions;
  static const TableSpec table =
      OptionTable<T>("training", "Duration and failure handling")
          .option("epochs", &T::epochs,
                  {.meaning = "passes over the rows, including a frozen one", .min = 1})
          // Schedules and weights of losses count updating epochs: a frozen one is not among them.
          .option("frozen_first_epoch", &T::frozen_first_epoch,
                  {.meaning = "the first epoch computes losses only, as in SED's release"})

          // Steps that fail, and gradients that are too large.
          .choice("on_nan", &T::on_nan, on_nan_names(),
                  "when a loss or gradient is not finite: stop with an error, or skip the step")
          .option("clip_norm", &T::clip_norm,
                  {.meaning = "maximum norm of the gradient over all active members; 0: no "
                              "clipping",
                   .min = 0})

          // Only the grouping into waves depends on it, and no bit of the result (waves.hpp).
          .option("look_ahead", &T::look_ahead,
                  {.meaning = "number of steps to search ahead for steps that have no member in "
                              "common, which are computed concurrently; 1: one step at a time",
                   .scope = Scope::kExecution,
                   .min = 1,
                   .max = 4096})

          // A probe changes no weights, but train.csv holds its values: a key of the result.
          .option("gradient_samples", &T::gradient_samples,
                  {.meaning = "steps per epoch and member in which the gradients of base and "
                              "diversity losses are compared, for train.csv (at most one step in "
                              "64); 0: none",
                   .min = 0})

          .choice("precision", &T::precision,
                  named_precisions(
                      {Precision::kF32, Precision::kTf32, Precision::kBf16, Precision::kF64}),
                  "precision of matrix products; f32 is IEEE f32; tf32 (f32 rounded to 10 bits of "
                  "mantissa in products) and bf16 need a GPU. Parameters, optimiser state and "
                  "losses are "
                  "f32, except with f64: all computations in f64, CPU only, for comparison with "
                  "other programs");
  return table;
}

config::Schema train_schema(TrainConfig& c) {
  config::Schema schema;

  // The order is that of `dissent config` and of docs/configuration.md.
  schema.table(experiment_table(), c.experiment)
      .table(grid_table(), c.grid)
      .table(cache_data_table(), c.data)
      .table(ensemble_table(), c.ensemble);
  add_loss_tables(schema, c.losses);
  schema.table(disagreement_table(), c.disagreement)
      .table(optimizer_table(), c.optimizer)
      .table(schedule_table(), c.schedule)
      .table(training_table(), c.training)
      .table(checkpoint_table(), c.checkpoint)
      .table(train_runtime_table(), c.runtime);
  return schema;
}

TrainConfig read_train_config(const config::Document& document) {
  TrainConfig config;
  // The schema is bound to this object: reading fills in its members.
  auto schema = train_schema(config);
  config::ConfigErrors errors(document);
  config::read(document, schema, errors);

  // Errors of single keys and conflicts between keys are reported together, not one per attempt.
  const auto conflicts = head_conflicts(config);
  for (const auto& conflict : conflicts.found()) errors.add(conflict.key, conflict.message);
  errors.raise();
  return config;
}

ObjectiveOptions objective_options(const TrainConfig& c) {
  ObjectiveOptions objective;
  objective.terms = loss_terms(c.losses);
  objective.below_threshold = c.disagreement.below_threshold;
  objective.repulsion_on = c.disagreement.on;
  return objective;
}

}  // namespace dissent
