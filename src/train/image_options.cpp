#include "train/image_options.hpp"

#include <dissent/losses/balanced_rows.hpp>

#include <algorithm>

#include "config/read.hpp"
#include "data/datasets/registry.hpp"
#include "data/open_images.hpp"
#include "data/row_range.hpp"
#include "losses/registry.hpp"

namespace dissent {
namespace {

constexpr const char* kRows =
    "part of the set, as a slice: \"0:55000\", \"-5000:\"; empty: all rows";
constexpr const char* kList =
    "list of images in OpenOOD's layout (\"path label\" a line), paths below root; empty: the "
    "set's own files";
constexpr const char* kRoot =
    "folder of the set's files or of a list's images; empty: where the set's package puts it";

std::vector<std::string> names_of_networks() {
  std::vector<std::string> names;
  for (const auto& spec : image_network_registry())
    for (const char* variant : {"", "_multihead"}) names.push_back(spec.name + variant);
  return names;
}

std::vector<std::string> names_of_transforms(bool automatic) {
  std::vector<std::string> names;
  if (automatic) names.push_back("auto");
  for (const auto& spec : transform_table()) names.push_back(spec.name);
  return names;
}

const TableSpec& data_table() {
  using T = ImageTrainDataOptions;
  static const TableSpec table =
      TableOf<T>("data", "The labelled images that members are trained on")
          .option(
              "kind", &T::kind,
              {.meaning = "images, through networks on images (cache: heads on cached features)",
               .choices = {"images"}})
          .option(
              "dataset", &T::dataset,
              {.meaning = "a registered set; with a list, only the set's name; empty: of a list "
                          "its file's name, else fashion_mnist"})
          .option("root", &T::root, {.meaning = kRoot, .scope = Scope::kExecution})
          .option("split", &T::split, {.meaning = "part of a registered set"})
          .option("list", &T::list, {.meaning = kList, .scope = Scope::kExecution})
          .option("rows", &T::rows, {.meaning = kRows})
          .option(
              "classes", &T::classes,
              {.meaning = "number of classes; auto: of a folder its subfolders, of a list those "
                          "of its class file, else the highest label + 1, of other sets their "
                          "own. A higher label is an error",
               .min = 1})
          .option("ignore_label", &T::ignore_label,
                  {.meaning = std::string(kIgnoreLabelMeaning) + "; of [validation] too",
                   .word = "none"})
          .option("allow_empty", &T::allow_empty,
                  {.meaning = std::string(kAllowEmptyMeaning) + "; of [validation] too"})
          .option("background", &T::background,
                  {.meaning = std::string(kBackgroundMeaning) + "; of the other sets too"})
          .option("transform", &T::transform,
                  {.meaning = "what makes a network's input of an image",
                   .choices = names_of_transforms(false)})
          .option("batch_size", &T::batch_size,
                  {.meaning = "images a member and batch, over all data ranks", .min = 1})
          .option("same_batch", &T::same_batch,
                  {.meaning = "one batch for all members and losses (NCL, ADP, DICE); false: each "
                              "member has its own order, and one member's batch, drawn anew, goes "
                              "through all members in evaluation mode for the losses between them"})
          .option("drop_last", &T::drop_last, {.meaning = "leave out a short last batch"})
          .option("sampler", &T::sampler,
                  {.meaning = "shuffled rows, or batches with samples_per_class images of each "
                              "class in them (DICE)",
                   .choices = {"shuffled", "class_balanced"}})
          .option("samples_per_class", &T::samples_per_class,
                  {.meaning = "of class_balanced", .min = 1})
          .option("workers", &T::workers,
                  {.meaning = "threads a rank that decode and transform in the background; 0: on "
                              "the rank's own threads between steps",
                   .scope = Scope::kExecution,
                   .min = 0,
                   .max = 256})
          .option("prefetch", &T::prefetch,
                  {.meaning = "batches ahead that the workers prepare",
                   .scope = Scope::kExecution,
                   .min = 1,
                   .max = 64})
          .option("on_damaged", &T::on_damaged,
                  {.meaning = "a damaged image: stop with its name, or leave it out and count it",
                   .choices = {"error", "skip"}});
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
              {.meaning = "auto: that of [data] with _test for _train",
               .choices = names_of_transforms(true)})
      .option("batch_size", &T::batch_size, {.meaning = batch, .min = 1});
}

const TableSpec& validation_table() {
  static const TableSpec table = set_table<ImageValidationOptions>(
      "validation", "Labelled images for the figures after each epoch and the best checkpoint",
      "images at a time");
  return table;
}
const TableSpec& unlabelled_table() {
  static const TableSpec table = set_table<ImageUnlabelledOptions>(
      "unlabelled",
      "Images without labels, or outliers: the losses between members and loss.oe read them, with "
      "the classes that the ensemble predicts as labels",
      "images a batch");
  return table;
}

const TableSpec& image_ensemble_table() {
  using T = ImageEnsembleOptions;
  static const TableSpec table =
      TableOf<T>("ensemble", "The networks")
          .option("members", &T::members,
                  {.meaning = "number of networks, or of heads of a multihead network", .min = 1})
          .option("model", &T::model, {.meaning = "the network", .choices = names_of_networks()})
          .option("weights", &T::weights,
                  {.meaning =
                       "safetensors or .pth file that every member starts from, its classifier "
                       "too; one of another number of classes is refused; empty: random weights"})
          .option(
              "prefix", &T::prefix,
              {.meaning = "of the weights: only names that begin with it, without it, as "
                          "\"model.\" of Lightning's checkpoints; \"module.\" and \"_orig_mod.\" "
                          "need none"});
  return table;
}

const TableSpec& image_training_table() {
  using T = ImageTrainingOptions;
  static const TableSpec table =
      TableOf<T>("training", "How long, and what if")
          .option("epochs", &T::epochs, {.meaning = "passes over the images", .min = 1})
          .option("on_nan", &T::on_nan,
                  {.meaning = "a gradient that is not finite: stop, or pass over the step",
                   .choices = {"error", "skip_step"}})
          .option("clip_norm", &T::clip_norm,
                  {.meaning = "largest norm of the gradient over all members, and of the "
                              "discriminator's; 0: no clipping",
                   .min = 0})
          .option("accumulation", &T::accumulation,
                  {.meaning = "batches whose mean gradient makes one update", .min = 1})
          .option("precision", &T::precision,
                  {.meaning = "of products and convolutions; f32 is IEEE f32; tf32 (f32 rounded "
                              "to 10 bits of mantissa in them) needs a GPU, and so does f16, which "
                              "scales the loss. Parameters, optimiser state and losses are f32; "
                              "f64: all of it, on CPUs only, to compare with other programs "
                              "(pixels are made in f32)",
                   .choices = {"f32", "tf32", "bf16", "f16", "f64"}})
          .option(
              "ema_decay", &T::ema_decay,
              {.meaning =
                   "keeps a moving average of the weights, average = decay average + (1 - decay) "
                   "weights after each update, which is validated and evaluated; 0: none",
               .min = 0,
               .max = 1})
          .option(
              "batch_norm", &T::batch_norm,
              {.meaning = "where data ranks share a batch, BatchNorm normalises by the statistics "
                          "of each rank's part of it, or of the whole batch (synchronised)",
               .choices = {"local", "synchronised"}});
  return table;
}

void add_conflicts(const ImageTrainConfig& c,
                   const std::function<void(bool, const std::string&, std::string)>& add) {
  for (auto& conflict : experiment_conflicts(c.experiment))
    add(true, conflict.key, std::move(conflict.message));
  const auto objective = image_objective(c);
  bool base = false, reads_unlabelled = false;
  for (const auto& term : objective.terms) {
    const auto& loss = losses::find_loss(term.name);
    const std::string key = "loss." + term.name;
    if (const auto reason = impossible_on_images(term, objective)) add(true, key, *reason);
    const auto traits = losses::traits_of(loss, term.options);
    add(c.ensemble.members < traits.min_members, key,
        fmt::format("couples members: expected ensemble.members >= {}, found {}",
                    traits.min_members, c.ensemble.members));
    base =
        base || (loss.kind == losses::LossKind::kBase && term.name != "adversarial_cross_entropy");
    reads_unlabelled = reads_unlabelled || loss.kind != losses::LossKind::kBase;
  }
  add(!base, "loss",
      "expected a loss that trains members on their labels, as [loss.cross_entropy]; found none");
  add(c.with_unlabelled && !reads_unlabelled, "unlabelled",
      "expected none, since there is no loss between members and no loss.oe that reads it, found "
      "one");
  const bool balanced = c.data.sampler == "class_balanced";
  add(balanced && c.data.batch_size % c.data.samples_per_class != 0, "data.batch_size",
      fmt::format("expected a multiple of data.samples_per_class ({}), found {}",
                  c.data.samples_per_class, c.data.batch_size));
  const auto check_size = [&](const std::string& key, const std::string& transform) {
    const auto size = find_transform(transform).options.size;
    const auto network = make_image_network(
        c.ensemble.model, {.classes = 1,
                           .channels = 3,
                           .image_size = find_transform(c.data.transform).options.size,
                           .heads = 1});
    const auto wanted = network->size_misfit(size, size);
    add(!wanted.empty(), key,
        fmt::format("expected one to images with edges of {}, which ensemble.model = \"{}\" takes, "
                    "found \"{}\" ({} pixels)",
                    wanted, c.ensemble.model, transform, size));
  };
  check_size("data.transform", c.data.transform);
  if (c.with_validation && c.validation.transform != "auto")
    check_size("validation.transform", c.validation.transform);
  if (c.with_unlabelled && c.unlabelled.transform != "auto")
    check_size("unlabelled.transform", c.unlabelled.transform);
  add(c.multihead() && !c.data.same_batch, "data.same_batch",
      "expected true: the heads of a multihead network see the same images");
  add(c.training.precision == "f16" && c.runtime.device == "cpu", "training.precision",
      "\"f16\" needs a GPU: expected another runtime.device, found \"cpu\"");
  add(c.training.precision == "tf32" && c.runtime.device == "cpu", "training.precision",
      kTf32OnCpu);
  add(c.training.precision == "f64" && c.runtime.device == "cuda", "training.precision", kF64OnGpu);
  const bool no_set = c.validation.dataset.empty() && c.validation.list.empty() &&
                      c.data.dataset.empty() && !c.data.list.empty();
  add(c.with_validation && no_set, "validation",
      "expected validation.list or validation.dataset: [data] reads a list, found neither");
  add(c.training.ema_decay >= 1, "training.ema_decay",
      "expected less than 1: the average would never move");
}

// classes: of the labels of [data] and [validation], where they are known; nothing: labels are not
// read.
ImageDataOptions data_of(const ImageSetOptions& set, const ImageTrainDataOptions& data,
                         bool labelled = true, std::optional<int64_t> classes = std::nullopt) {
  ImageDataOptions options;
  options.dataset = data.dataset;
  options.list = data.list;
  const auto trained = set_name(options);
  const bool same = set.dataset.empty() || set.dataset == trained;
  // A list that is given no name has that of its file: it is not the set that another one names.
  const bool named_by_file =
      set.dataset.empty() && !set.list.empty() && (data.dataset.empty() || data.list.empty());
  options.dataset = named_by_file ? "" : set.dataset.empty() ? trained : set.dataset;
  options.root = set.root.empty() && same ? data.root : set.root;
  options.split = set.split;
  options.list = set.list;
  options.background = data.background;
  if (named_by_file) options.dataset = set_name(options);
  options.labels = labelled;
  if (!labelled) return options;
  options.classes = classes;
  options.ignore_label = data.ignore_label;
  options.allow_empty = data.allow_empty;
  return options;
}

TransformedSet open_set(const ImageDataOptions& options, const ImageSetOptions& set,
                        const ImageTrainDataOptions& data) {
  const std::string transform =
      set.transform == "auto" ? test_transform(data.transform) : set.transform;
  return {rows_of_source(open_image_source(options), set.rows), find_transform(transform).options};
}

template <class T>
ImageSetOptions set_of(const T& options) {
  return {options.dataset, options.root, options.split,
          options.list,    options.rows, options.transform};
}

void check_labels_of(const ImageSource& source, int64_t classes) {
  const auto wrong = (source.labels() < 0).logical_or(source.labels() >= classes).nonzero();
  if (wrong.size(0) == 0) return;
  const auto row = wrong[0].item<int64_t>();
  DISSENT_FAIL(kData, "{}: label of {}: expected 0 .. {}, found {}", source.name(),
               source.image_name(row), classes - 1, source.labels()[row].item<int64_t>());
}

}  // namespace

config::Schema image_train_schema(ImageTrainConfig& c) {
  config::Schema schema;
  schema.table(experiment_table(), c.experiment)
      .table(grid_table(), c.grid)
      .table(data_table(), c.data)
      .optional_table(validation_table(), c.validation, c.with_validation)
      .optional_table(unlabelled_table(), c.unlabelled, c.with_unlabelled)
      .optional_table(rand_augment_table("rand_augment"), c.rand_augment, c.with_rand_augment)
      .optional_table(aug_mix_table("aug_mix"), c.aug_mix, c.with_aug_mix)
      .table(corruption_options_table("corruption"), c.corruption)
      .table(image_ensemble_table(), c.ensemble);
  for (size_t i = 0; i < c.losses.size(); ++i)
    schema.optional_table(loss_option_tables()[i], c.losses[i], c.losses[i].present);
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
  add_conflicts(config, [&](bool wrong, const std::string& key, std::string message) {
    if (wrong) errors.add(key, std::move(message));
  });
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
  const auto& table = losses::loss_table();
  for (size_t i = 0; i < table.size(); ++i)
    if (c.losses[i].present)
      objective.terms.push_back({table[i].name, c.losses[i].weight, c.losses[i].options});
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

std::vector<std::pair<std::string, ImageDataOptions>> image_sets(const ImageTrainConfig& c) {
  std::vector<std::pair<std::string, ImageDataOptions>> sets{
      {"data", data_of(set_of(c.data), c.data, true, c.data.classes)}};
  if (c.with_validation) sets.emplace_back("validation", data_of(set_of(c.validation), c.data));
  if (c.with_unlabelled)
    sets.emplace_back("unlabelled", data_of(set_of(c.unlabelled), c.data, false));
  return sets;
}

ImageTrainData open_image_train_data(const ImageTrainConfig& c) {
  ImageTrainData data;
  const auto trained = data_of(set_of(c.data), c.data, true, c.data.classes);
  data.train = open_set(trained, set_of(c.data), c.data);
  check_class_gaps(*data.train.source, trained);
  if (c.with_rand_augment) data.train.transform.rand_augment = c.rand_augment;
  if (c.with_aug_mix) data.train.transform.aug_mix = c.aug_mix;
  data.train.transform.corruption = c.corruption;
  data.classes = data.train.source->classes();
  if (data.classes == 0 && data.train.source->rows() > 0)
    data.classes = data.train.source->labels().max().item<int64_t>() + 1;
  DISSENT_CHECK(data.classes > 0, kData, "{}: expected labelled images, found none",
                data.train.source->name());
  check_labels_of(*data.train.source, data.classes);
  data.identity = "train " + data.train.source->identity();
  if (c.with_validation) {
    auto options = data_of(set_of(c.validation), c.data);
    options.classes_of_training = data.classes;  // file and line are known where a list is read
    data.validation = open_set(options, set_of(c.validation), c.data);
    check_same_classes(*data.validation->source, data.train.source->class_names(),
                       data.train.source->name());
    check_labels_of(*data.validation->source, data.classes);
    data.identity += ", validation " + data.validation->source->identity();
  }
  if (c.with_unlabelled) {
    data.unlabelled =
        open_set(data_of(set_of(c.unlabelled), c.data, false), set_of(c.unlabelled), c.data);
    data.identity += ", unlabelled " + data.unlabelled->source->identity();
  }
  return data;
}

}  // namespace dissent
