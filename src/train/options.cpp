#include "train/options.hpp"

#include "models/head.hpp"

namespace dissent {
namespace {

std::vector<std::string> head_names() {
  std::vector<std::string> names;
  for (const auto& spec : head_registry()) names.push_back(spec.name);
  return names;
}

}  // namespace

const TableSpec& experiment_table() {
  using T = ExperimentOptions;
  static const TableSpec table = TableOf<T>("", "The experiment")
      .option("experiment", &T::experiment, {.meaning = "name; runs go to <output>/<experiment>/<run>"})
      .option("seeds", &T::seeds, {.meaning = "one run each", .min = 0})
      .option("output", &T::output, {.meaning = "folder of all results", .scope = Scope::kExecution});
  return table;
}

const TableSpec& cache_data_table() {
  using T = CacheDataOptions;
  static const TableSpec table = TableOf<T>("data", "What is trained on")
      .option("kind", &T::kind, {.meaning = "cached features", .choices = {"cache"}})
      .option("train", &T::train, {.meaning = "a cache folder or one of SED's HDF5 files"})
      .option("validation", &T::validation, {.meaning = "the same, for the figures after each epoch; empty: none"})
      .option("unlabelled", &T::unlabelled, {.meaning = "a cache whose rows the members repel on (disagreement.on = \"unlabelled\"); empty: none"})
      .option("subset", &T::subset, {.meaning = "text file of positions in the source set, one a line: only these rows are trained on; empty: all"})
      .option("subset_complement", &T::subset_complement, {.meaning = "train on the rows that are not in the list"})
      .option("residency", &T::residency, {.meaning = "where the training rows are kept. host: one copy a node in shared memory; stream: two chunks of chunk_rows rows a node and run, read ahead; "
                                                   "device: a copy on each GPU; auto: device if the rows take at most 3/4 of its free memory, else host, or stream where chunk_rows is given and the rows take "
                                                   "more than 3/4 of the node's free memory", .scope = Scope::kExecution, .choices = {"auto", "device", "host", "stream"}})
      .option("chunk_rows", &T::chunk_rows, {.meaning = "rows are shuffled within chunks of so many rows, which are visited in file order, whatever the residency; 0: the whole pass", .min = 0})
      .option("memory_gib", &T::memory_gib, {.meaning = "GiB of a node that the two chunks of residency stream may take, over all runs of the node", .scope = Scope::kExecution, .min = 0})
      .option("batch_size", &T::batch_size, {.meaning = "rows a step, over all data ranks", .min = 1});
  return table;
}

const TableSpec& ensemble_table() {
  using T = EnsembleOptions;
  static const TableSpec table = TableOf<T>("ensemble", "The networks")
      .option("members", &T::members, {.meaning = "number of networks", .min = 1})
      .option("active", &T::active, {.meaning = "networks drawn anew for each step (SED's random_select)", .min = 1, .word = "all"})
      .option("selection", &T::selection, {.meaning = "random: drawn each step; round_robin: one network an epoch, in turn", .choices = {"random", "round_robin"}})
      .option("model", &T::model, {.meaning = "the network", .choices = head_names()})
      .option("hidden", &T::hidden, {.meaning = "width of the hidden layer; auto: 4 x features", .min = 1});
  return table;
}

const TableSpec& cross_entropy_table() {
  using T = CrossEntropyOptions;
  static const TableSpec table = TableOf<T>("loss.cross_entropy", "Cross-entropy, mean over the active members")
      .option("weight", &T::weight, {.meaning = "weight in the objective (SED: 1 - lambda)", .min = 0})
      .option("label_smoothing", &T::label_smoothing, {.meaning = "eps; targets are one-hot (1 - eps) + eps / classes", .min = 0, .max = 1})
      .option("output", &T::output, {.meaning = "of each member, or of the product of experts (sum of the members' log-probabilities)", .choices = {"members", "product_of_experts"}});
  return table;
}

const TableSpec& a2d_table() {
  using T = A2dOptions;
  static const TableSpec table = TableOf<T>("loss.a2d", "Repulsion of a drawn member from the others (SED)")
      .option("weight", &T::weight, {.meaning = "weight in the objective (SED: lambda x manual_lambda)", .min = 0})
      .option("sample_weight", &T::sample_weight, {.meaning = "hard: samples that the ensemble gets wrong count more", .choices = {"none", "hard"}})
      .option("from_epoch", &T::from_epoch, {.meaning = "first updating epoch with this loss, from 0", .min = 0});
  return table;
}

const TableSpec& divdis_table() {
  using T = DivDisOptions;
  static const TableSpec table = TableOf<T>("loss.divdis", "Pairwise dependence of predictions over the batch (DivDis)")
      .option("weight", &T::weight, {.meaning = "weight in the objective (SED: lambda x manual_lambda)", .min = 0})
      .option("mode", &T::mode, {.meaning = "mutual information, or minus the L1 distance", .choices = {"mi", "l1"}})
      .option("reduction", &T::reduction, {.meaning = "mean over pairs, or mean over members of the extreme pair", .choices = {"mean", "min_each"}})
      .option("from_epoch", &T::from_epoch, {.meaning = "first updating epoch with this loss, from 0", .min = 0});
  return table;
}

const TableSpec& kl_backward_table() {
  using T = KlBackwardOptions;
  static const TableSpec table = TableOf<T>("loss.kl_backward", "Keeps each member's mean prediction near the ensemble's on the labelled batch")
      .option("weight", &T::weight, {.meaning = "weight in the objective (SED: reg_weight x lambda)", .min = 0});
  return table;
}

const TableSpec& disagreement_table() {
  using T = DisagreementOptions;
  static const TableSpec table = TableOf<T>("disagreement", "Where members repel each other")
      .option("on", &T::on, {.meaning = "the labelled batch, or a batch of data.unlabelled", .choices = {"labelled", "unlabelled"}})
      .option("below_threshold", &T::below_threshold, {.meaning = "repel only samples that some member gives its label at most this probability; cross-entropy on the others", .min = 0, .max = 1, .word = "none"});
  return table;
}

const TableSpec& training_table() {
  using T = TrainingOptions;
  static const TableSpec table = TableOf<T>("training", "How long, and what if")
      .option("epochs", &T::epochs, {.meaning = "passes over the rows, the frozen one included", .min = 1})
      .option("frozen_first_epoch", &T::frozen_first_epoch, {.meaning = "the first epoch only computes losses, as SED's release does"})
      .option("on_nan", &T::on_nan, {.meaning = "a loss or gradient that is not finite: stop, or pass over the step", .choices = {"error", "skip_step"}})
      .option("clip_norm", &T::clip_norm, {.meaning = "largest norm of the gradient over all active members; 0: no clipping", .min = 0})
      .option("look_ahead", &T::look_ahead, {.meaning = "steps looked at to find those without a common member, which are computed together; 1: one at a time", .scope = Scope::kExecution, .min = 1, .max = 4096})
      .option("precision", &T::precision, {.meaning = "of the products; bf16 needs runtime.device = \"cuda\". Parameters, optimiser state and losses are f32", .choices = {"f32", "bf16"}});
  return table;
}

const TableSpec& checkpoint_table() {
  using T = CheckpointOptions;
  static const TableSpec table = TableOf<T>("checkpoint", "When the state of a run is written, beside its end and a stop")
      .option("every_minutes", &T::every_minutes, {.meaning = "minutes between checkpoints", .scope = Scope::kExecution, .min = 0});
  return table;
}

const TableSpec& runtime_table() {
  using T = RuntimeOptions;
  static const TableSpec table = TableOf<T>("runtime", "Where and with what")
      .option("device", &T::device, {.meaning = "auto: cuda if there is a GPU and this build has it", .scope = Scope::kExecution, .choices = {"auto", "cpu", "cuda"}})
      .option("threads", &T::threads, {.meaning = "threads a rank; auto: OMP_NUM_THREADS, or the rank's share of its cores", .scope = Scope::kExecution, .min = 1})
      .option("timeout_s", &T::timeout_s, {.meaning = "seconds until a message that does not come ends the job", .scope = Scope::kExecution, .min = 1});
  return table;
}

std::vector<Conflict> conflicts(const TrainConfig& c) {
  std::vector<Conflict> found;
  const auto add = [&](bool wrong, const char* key, std::string message) {
    if (wrong) found.push_back({key, std::move(message)});
  };
  add(c.experiment.seeds.empty(), "seeds", "expected at least one seed, found none");
  add(c.data.train.empty(), "data.train", "expected the cache to train on, found nothing");
  add(c.ensemble.active.value_or(1) > c.ensemble.members, "ensemble.active",
      fmt::format("expected at most ensemble.members ({}), found {}", c.ensemble.members, c.ensemble.active.value_or(0)));
  add(!c.has_cross_entropy && !c.has_a2d && !c.has_divdis, "loss", "expected at least one loss table, as [loss.cross_entropy]; found none");
  add(c.has_a2d && c.has_divdis, "loss.divdis", "a2d and divdis are two forms of the one repulsion term: give one of them");
  const bool repels = c.has_a2d || c.has_divdis;
  add(repels && c.active_members() < 2, c.has_a2d ? "loss.a2d" : "loss.divdis",
      fmt::format("members can only repel each other if at least 2 are active, found {}", c.active_members()));
  const bool hard = c.has_a2d && c.a2d.sample_weight == "hard";
  add(hard && c.disagreement.below_threshold.has_value(), "loss.a2d.sample_weight", "\"hard\" and disagreement.below_threshold exclude each other");
  add(hard && c.disagreement.on == "unlabelled", "loss.a2d.sample_weight", "\"hard\" needs labels: it cannot go with disagreement.on = \"unlabelled\"");
  add(c.disagreement.below_threshold.has_value() && c.disagreement.on == "unlabelled", "disagreement.below_threshold",
      "a threshold splits the labelled batch: it cannot go with disagreement.on = \"unlabelled\"");
  add(c.disagreement.on == "unlabelled" && c.data.unlabelled.empty(), "data.unlabelled", "expected a cache, since disagreement.on = \"unlabelled\"; found nothing");
  add(c.disagreement.on == "labelled" && !c.data.unlabelled.empty(), "data.unlabelled", "is not used while disagreement.on = \"labelled\"");
  add(c.training.precision == "bf16" && c.runtime.device == "cpu", "training.precision", "\"bf16\" needs a GPU: it cannot go with runtime.device = \"cpu\"");
  add(c.data.residency == "device" && c.runtime.device == "cpu", "data.residency", "\"device\" needs a GPU: it cannot go with runtime.device = \"cpu\"");
  add(c.optimizer.nesterov && (c.optimizer.name != "sgd" || c.optimizer.momentum == 0), "optimizer.nesterov", "needs sgd with a momentum above 0");
  add(c.schedule.name == "plateau" && c.schedule.warmup_epochs > static_cast<double>(c.training.epochs), "schedule.warmup_epochs", "is longer than the training");
  return found;
}

ObjectiveOptions objective_options(const TrainConfig& c) {
  ObjectiveOptions o;
  o.cross_entropy_weight = c.has_cross_entropy ? c.cross_entropy.weight : 0;
  o.label_smoothing = c.cross_entropy.label_smoothing;
  o.product_of_experts = c.cross_entropy.output == "product_of_experts";
  if (c.has_a2d) {
    o.repulsion = ObjectiveOptions::Repulsion::kA2d;
    o.repulsion_weight = c.a2d.weight;
    o.sample_weight = c.a2d.sample_weight == "hard" ? ObjectiveOptions::SampleWeight::kHard : ObjectiveOptions::SampleWeight::kNone;
    o.from_epoch = c.a2d.from_epoch;
  } else if (c.has_divdis) {
    o.repulsion = ObjectiveOptions::Repulsion::kDivDis;
    o.repulsion_weight = c.divdis.weight;
    o.divdis_mode = c.divdis.mode == "mi" ? losses::DivDisMode::kMutualInformation : losses::DivDisMode::kL1;
    o.divdis_reduction = c.divdis.reduction == "mean" ? losses::DivDisReduction::kMean : losses::DivDisReduction::kMinEach;
    o.from_epoch = c.divdis.from_epoch;
  }
  o.below_threshold = c.disagreement.below_threshold;
  o.repulsion_on = c.disagreement.on == "labelled" ? ObjectiveOptions::RepulsionOn::kLabelled : ObjectiveOptions::RepulsionOn::kUnlabelled;
  if (c.has_kl_backward) o.regulariser_weight = c.kl_backward.weight;
  return o;
}

}  // namespace dissent
