#include "train/config/image_config.hpp"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "config/read.hpp"
#include "data/datasets/registry.hpp"

namespace dissent {
namespace {

constexpr const char* kRows =
    "part of the set, as a slice: \"0:55000\", \"-5000:\"; empty: all rows";
constexpr const char* kList =
    "list of images in OpenOOD's layout (one \"path label\" per line), paths relative to root; "
    "empty: the set's own files";
constexpr const char* kRoot =
    "folder of the set's files or of a list's images; empty: where the set's package installs it";

std::vector<std::string> names_of_networks() {
  // Each network has a variant with M heads on one trunk.
  std::vector<std::string> names;
  for (const auto& spec : image_network_registry())
    for (const char* variant : {"", "_multihead"}) names.push_back(spec.name + variant);
  return names;
}

std::vector<std::string> names_of_transforms(bool automatic) {
  std::vector<std::string> names;
  if (automatic) names.push_back(kAutoTransform);
  for (const auto& spec : transform_table()) names.push_back(spec.name);
  return names;
}

const TableSpec& data_table() {
  using T = ImageTrainDataOptions;
  static const TableSpec table =
      OptionTable<T>("data", "Labelled training images")
          // Which images.
          .option("kind", &T::kind,
                  {.meaning =
                       "images: train networks on images (cache: train heads on cached features)",
                   .choices = {"images"}})
          .option("dataset", &T::dataset,
                  {.meaning = fmt::format("a registered set; with a list, only a name for the set; "
                                          "empty: the list's file name, or {} without a list",
                                          kDefaultDataset)})
          .option("root", &T::root, {.meaning = kRoot, .scope = Scope::kExecution})
          .option("split", &T::split, {.meaning = "part of a registered set"})
          .option("list", &T::list, {.meaning = kList, .scope = Scope::kExecution})
          .option("rows", &T::rows, {.meaning = kRows})
          .option(
              "classes", &T::classes,
              {.meaning = "number of classes; auto: for a folder its subfolders, for a list those "
                          "of its class file, else the highest label + 1, for other sets their "
                          "own. A higher label is an error",
               .min = 1})
          .option("ignore_label", &T::ignore_label,
                  {.meaning = std::string(kIgnoreLabelMeaning) + "; also applies to [validation]",
                   .word = "none"})
          .option("allow_empty", &T::allow_empty,
                  {.meaning = std::string(kAllowEmptyMeaning) + "; also applies to [validation]"})
          .option("background", &T::background,
                  {.meaning = std::string(kBackgroundMeaning) +
                              "; also applies to [validation] and [unlabelled]"})

          // What a batch holds.
          .option("transform", &T::transform,
                  {.meaning = "transform from an image to the network's input",
                   .choices = names_of_transforms(false)})
          .option("batch_size", &T::batch_size,
                  {.meaning = "images per member and batch, over all data ranks", .min = 1})

          .option("same_batch", &T::same_batch,
                  {.meaning = "one batch for all members and losses (NCL, ADP, DICE); false: each "
                              "member has its own data order, and the losses between members read "
                              "the batch of a randomly drawn member, in evaluation mode"})
          .option("drop_last", &T::drop_last, {.meaning = "drop a short last batch"})

          .choice("sampler", &T::sampler,
                  {{"shuffled", Sampler::kShuffled}, {"class_balanced", Sampler::kClassBalanced}},
                  "shuffled rows, or batches with samples_per_class images of each of their "
                  "classes (DICE)")
          .option("samples_per_class", &T::samples_per_class,
                  {.meaning = "images per class and batch for class_balanced", .min = 1})

          // Reading ahead: faster or slower, the same pixels.
          .option(
              "workers", &T::workers,
              {.meaning = "threads per rank that decode and transform in the background; 0: use "
                          "the rank's own threads between steps",
               .scope = Scope::kExecution,
               .min = 0,
               .max = 256})

          .option("prefetch", &T::prefetch,
                  {.meaning = "batches that the workers prepare ahead",
                   .scope = Scope::kExecution,
                   .min = 1,
                   .max = 64})
          .choice("on_damaged", &T::on_damaged,
                  {{"error", OnDamaged::kError}, {"skip", OnDamaged::kSkip}},
                  "for a damaged image: stop with an error that names it, or skip and count it");
  return table;
}

// [validation] and [unlabelled] have the same keys.
template <class T>
TableSpec set_table(const std::string& name, const std::string& meaning, const std::string& batch) {
  return TableOf<T>(name, meaning)
      .option("dataset", &T::dataset, {.meaning = "a registered set; empty: that of [data]"})
      .option("root", &T::root,
              {.meaning = "as in [data]; empty: that of [data], if the set is the same",
               .scope = Scope::kExecution})
      .option("split", &T::split, {.meaning = "part of a registered set"})
      .option("list", &T::list, {.meaning = kList, .scope = Scope::kExecution})
      .option("rows", &T::rows, {.meaning = kRows})
      .option("transform", &T::transform,
              {.meaning = "auto: the test transform of data.transform",
               .choices = names_of_transforms(true)})
      .option("batch_size", &T::batch_size, {.meaning = batch, .min = 1});
}

const TableSpec& validation_table() {
  static const TableSpec table = set_table<ImageValidationOptions>(
      "validation",
      "Labelled images for validation after each epoch and for choosing the best checkpoint",
      "images per forward pass");
  return table;
}
const TableSpec& unlabelled_table() {
  static const TableSpec table = set_table<ImageUnlabelledOptions>(
      "unlabelled",
      "Images without labels, or outliers: losses between members and loss.oe read them, with the "
      "classes that the ensemble predicts as labels",
      "images per batch");
  return table;
}

const TableSpec& image_ensemble_table() {
  using T = ImageEnsembleOptions;
  static const TableSpec table =
      TableOf<T>("ensemble", "The networks")
          .option("members", &T::members,
                  {.meaning = "number of networks, or of heads of a multihead network", .min = 1})
          .option("model", &T::model, {.meaning = "the network", .choices = names_of_networks()})
          .option(
              "weights", &T::weights,
              {.meaning = "safetensors or .pth file with the initial weights of every member, "
                          "classifier included; a different number of classes is an error; empty: "
                          "random weights"})
          .option(
              "prefix", &T::prefix,
              {.meaning = "prefix of parameter names in the weights file, as \"model.\" in "
                          "Lightning's checkpoints: names without it are ignored; \"module.\" and "
                          "\"_orig_mod.\" are removed in any case"});
  return table;
}

const TableSpec& image_training_table() {
  using T = ImageTrainingOptions;
  static const TableSpec table =
      OptionTable<T>("training", "Duration and failure handling")
          .option("epochs", &T::epochs, {.meaning = "passes over the images", .min = 1})

          .choice("on_nan", &T::on_nan, on_nan_names(),
                  "when a gradient is not finite: stop with an error, or skip the step")
          .option("clip_norm", &T::clip_norm,
                  {.meaning = "maximum norm of the gradient over all members, and of the "
                              "discriminator's gradient; 0: no clipping",
                   .min = 0})

          .option("accumulation", &T::accumulation,
                  {.meaning = "batches per update; their mean gradient is used", .min = 1})

          .choice(
              "precision", &T::precision,
              named_precisions({Precision::kF32, Precision::kTf32, Precision::kBf16,
                                Precision::kF16, Precision::kF64}),
              "precision of matrix products and convolutions; f32 is IEEE f32; tf32 (f32 rounded "
              "to 10 bits of mantissa in them) needs a GPU, and so does f16, which scales the "
              "loss. Parameters, optimiser state and losses are f32, except with f64: all "
              "computations "
              "in f64, CPU only, for comparison with other programs (pixels are computed in f32)")

          .option("ema_decay", &T::ema_decay,
                  {.meaning =
                       "decay of a moving average of the weights, average = decay average + (1 - "
                       "decay) weights after each update; the average is validated and "
                       "evaluated; 0: none",
                   .min = 0,
                   .max = 1})
          .choice(
              "batch_norm", &T::batch_norm,
              {{"local", BatchNormMode::kLocal}, {"synchronised", BatchNormMode::kSynchronised}},
              "where data ranks share a batch, BatchNorm uses the statistics of each rank's "
              "part of it, or of the whole batch (synchronised)");
  return table;
}

// Which losses images can be trained with, and which kinds of them there are.
void add_image_loss_conflicts(const ImageTrainConfig& c, Conflicts& conflicts) {
  const auto objective = image_objective(c);
  bool trains_labels = false, reads_unlabelled = false;
  for (const auto& term : objective.terms) {
    const auto traits = traits_of(term);
    const std::string key = "loss." + term.name;
    if (const auto reason = impossible_on_images(term, objective))
      conflicts.add(true, key, *reason);

    conflicts.add(c.ensemble.members < traits.min_members, key,
                  fmt::format("couples members: expected ensemble.members >= {}, found {}",
                              traits.min_members, c.ensemble.members));

    // A loss on moved inputs needs the gradient of another base loss first.
    trains_labels = trains_labels || (is_base(term) && !traits.needs_moved_inputs);
    reads_unlabelled = reads_unlabelled || !is_base(term);
  }

  conflicts.add(!trains_labels, "loss",
                "expected a loss that trains members on their labels, as [loss.cross_entropy]; "
                "found none");
  conflicts.add(c.with_unlabelled && !reads_unlabelled, "unlabelled",
                "expected none, since there is no loss between members and no loss.oe that reads "
                "it, found one");
}

// Each transform has to produce the image size that the network takes.
void add_size_conflicts(const ImageTrainConfig& c, Conflicts& conflicts) {
  const auto size_of = [](const std::string& transform) {
    return find_transform(transform).options.size;
  };

  // Built for the size in training: a vision transformer has position embeddings of that size.
  const auto network = make_image_network(
      c.ensemble.model,
      {.classes = 1, .channels = 3, .image_size = size_of(c.data.transform), .heads = 1});

  const auto check = [&](const std::string& key, const std::string& transform) {
    const auto size = size_of(transform);
    const auto expected = network->size_misfit(size, size);
    conflicts.add(!expected.empty(), key,
                  fmt::format("expected one to images with edges of {}, which ensemble.model = "
                              "\"{}\" takes, found \"{}\" ({} pixels)",
                              expected, c.ensemble.model, transform, size));
  };

  // The automatic transforms have the size of that of [data].
  check("data.transform", c.data.transform);
  if (c.with_validation && c.validation.transform != kAutoTransform)
    check("validation.transform", c.validation.transform);
  if (c.with_unlabelled && c.unlabelled.transform != kAutoTransform)
    check("unlabelled.transform", c.unlabelled.transform);
}

Conflicts image_conflicts(const ImageTrainConfig& c) {
  Conflicts conflicts;
  add_common_conflicts(c, c.training.precision, c.training.epochs, conflicts);
  add_image_loss_conflicts(c, conflicts);

  // A class-balanced batch consists of whole groups of samples_per_class images.
  const bool balanced = c.data.sampler == Sampler::kClassBalanced;
  conflicts.add(balanced && c.data.batch_size % c.data.samples_per_class != 0, "data.batch_size",
                fmt::format("expected a multiple of data.samples_per_class ({}), found {}",
                            c.data.samples_per_class, c.data.batch_size));
  add_size_conflicts(c, conflicts);

  conflicts.add(c.multihead() && !c.data.same_batch, "data.same_batch",
                "expected true, found false: the heads of a multihead network see the same images");

  // [validation] takes the set of [data] where it names none, which a list alone does not give.
  const bool names_no_set = c.validation.dataset.empty() && c.validation.list.empty() &&
                            c.data.dataset.empty() && !c.data.list.empty();
  conflicts.add(c.with_validation && names_no_set, "validation",
                "expected validation.list or validation.dataset, found neither: [data] reads a "
                "list, which has no test split");

  // The range of an option includes both ends, so 1 is excluded here.
  conflicts.add(c.training.ema_decay >= 1, "training.ema_decay",
                "expected less than 1, found 1: the average would never change");
  return conflicts;
}

}  // namespace

config::Schema image_train_schema(ImageTrainConfig& c) {
  config::Schema schema;

  // The order is that of `dissent config` and of docs/configuration.md. Optional tables turn a
  // feature on by being present.
  schema.table(experiment_table(), c.experiment)
      .table(grid_table(), c.grid)
      .table(data_table(), c.data)
      .optional_table(validation_table(), c.validation, c.with_validation)
      .optional_table(unlabelled_table(), c.unlabelled, c.with_unlabelled)
      .optional_table(rand_augment_table("rand_augment"), c.rand_augment, c.with_rand_augment)
      .optional_table(aug_mix_table("aug_mix"), c.aug_mix, c.with_aug_mix)
      .table(corruption_options_table("corruption"), c.corruption)
      .table(image_ensemble_table(), c.ensemble);
  add_loss_tables(schema, c.losses);
  schema.table(discriminator_table(), c.discriminator)
      .table(optimizer_table(), c.optimizer)
      .table(schedule_table(), c.schedule)
      .table(image_training_table(), c.training)
      .table(checkpoint_table(), c.checkpoint)
      .table(train_runtime_table(), c.runtime);
  return schema;
}

ImageTrainConfig read_image_train_config(const config::Document& document) {
  ImageTrainConfig config;
  auto schema = image_train_schema(config);
  config::ConfigErrors errors(document);
  config::read(document, schema, errors);

  const auto conflicts = image_conflicts(config);
  for (const auto& conflict : conflicts.found()) errors.add(conflict.key, conflict.message);
  errors.raise();
  return config;
}

bool trains_images(const config::Document& document) {
  const auto* kind = document.find("data.kind");
  const auto* text = kind ? std::get_if<std::string>(&kind->data) : nullptr;
  return text && *text == "images";
}

ImageObjective image_objective(const ImageTrainConfig& c) {
  ImageObjective objective;
  objective.terms = loss_terms(c.losses);
  objective.same_batch = c.data.same_batch;
  objective.unlabelled = c.with_unlabelled;
  return objective;
}

std::shared_ptr<const ImageNetwork> image_network(const ImageTrainConfig& c, int64_t classes) {
  ImageNetworkOptions options;
  options.classes = classes;
  options.image_size = find_transform(c.data.transform).options.size;
  options.heads = c.ensemble.members;
  return make_image_network(c.ensemble.model, options);
}

}  // namespace dissent
