#include "train/images/image_engine.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <dissent/losses/balanced_rows.hpp>

#include <algorithm>
#include <utility>

#include "core/divide_up.hpp"
#include "core/stop.hpp"
#include "data/datasets/folder_list.hpp"
#include "models/weights/load.hpp"
#include "models/weights/state_dict.hpp"
#include "storage/atomic_file.hpp"
#include "storage/checkpoint.hpp"
#include "train/images/plan_options.hpp"

namespace dissent {
namespace {

// Keeps the discriminator's random draws apart from those of the members.
constexpr uint64_t kDiscriminatorSeed = 0x64696365;

// Columns of the table of an epoch's steps: whether the step was skipped, then the stepper's
// values.
enum Column : int64_t { kColumnSkipped, kColumnValues };

// The term whose loss trains a discriminator; nullptr without one.
const losses::LossTerm* discriminator_term(const ImageObjective& objective) {
  for (const auto& term : objective.terms)
    if (traits_of(term).trains_discriminator) return &term;
  return nullptr;
}

ImagePlanOptions plan_of(const ImageTrainConfig& config, const ImageData& data, uint64_t seed) {
  const auto& train = *data.train.source;
  auto plan = image_plan_options(config, seed, train.rows(),
                                 data.unlabelled ? data.unlabelled->source->rows() : 0);
  if (plan.samples_per_class > 0) plan.rows_of_classes = losses::rows_of_classes(train.labels());
  return plan;
}

// Images in the short last batch of an epoch; 0: there is none.
int64_t last_batch_rows(const ImagePlanOptions& plan) {
  return plan.drop_last || plan.samples_per_class > 0 ? 0 : plan.rows % plan.batch_size;
}

// The weight of a loss in the batches in which it is on. In all others its value counts as 0, so
// this weight times the mean over all batches is the mean of the weighted loss.
double weight_in_epoch(losses::LossWeight weight, int64_t epoch) {
  weight.period = 1;
  return losses::weight_at(weight, epoch, 0);
}

}  // namespace

ImageStepOptions image_step_options(const ImageTrainConfig& config) {
  return {.clip_norm = config.training.clip_norm,
          .skip_not_finite = config.training.on_nan == OnNan::kSkipStep,
          .compute = product_type(config.training.precision),
          .synchronised_batch_norm = config.training.batch_norm == BatchNormMode::kSynchronised};
}

std::unique_ptr<Discriminator> make_discriminator(const ImageTrainConfig& config,
                                                  const ImageObjective& objective,
                                                  const ImageNetwork& network, uint64_t seed,
                                                  const at::TensorOptions& tensor_options) {
  const auto* term = discriminator_term(objective);
  if (!term) return nullptr;

  const auto& options = options_of<losses::DiceOptions>(*term);
  auto parameters = losses::make_dice_discriminator(
      network.classes(), network.feature_dim(), seed ^ kDiscriminatorSeed, options,
      c10::typeMetaToScalarType(tensor_options.dtype()));

  // Drawn on the host and copied, so that a GPU starts from the same weights.
  for (auto& parameter : parameters) parameter = parameter.to(tensor_options.device());
  return std::make_unique<Discriminator>(std::move(parameters), options, config.discriminator,
                                         config.optimizer.weight_decay.value_or(0),
                                         config.training.clip_norm);
}

ImageEngine::ImageEngine(const ImageTrainConfig& config, const ImageData& data, Grid& grid,
                         const RunContext& context)
    : config_(config),
      data_(data),
      grid_(grid),
      context_(context),
      plan_options_(plan_of(config, data, context.seed)),
      objective_(image_objective(config)) {
  check_layout();
  members_ = make_members(image_network(config, data.classes), config.ensemble.members,
                          part_of(config.ensemble.members, grid.shape.members, grid.member_part),
                          context.seed, parameter_type(config.training.precision), context.device);

  // Weights of a file replace the random ones. The average comes last: it starts from them.
  if (!config.ensemble.weights.empty()) load_initial_weights();
  discriminator_ = make_discriminator(config, objective_, *members_.network, context.seed,
                                      members_.values.options());
  if (config.training.ema_decay > 0) average_ = members_.values.clone();
}

ImageEngine::~ImageEngine() = default;

// What the grid and the data rule out together.
void ImageEngine::check_layout() const {
  DISSENT_CHECK(config_.data.on_damaged == OnDamaged::kError || grid_.shape.data == 1, kUsage,
                "data.on_damaged = \"skip\": expected grid.data = 1, found {}: ranks that share a "
                "batch would not agree on its rows",
                grid_.shape.data);
  DISSENT_CHECK(
      !config_.multihead() || grid_.shape.members == 1, kUsage,
      "grid.members: expected 1 for a multihead network, whose members share their trunk; found {}",
      grid_.shape.members);

  // A short last batch is split over the data ranks too. A rank without rows of it has nothing for
  // a loss between members.
  const bool couples_on_own_batches =
      !data_.unlabelled && std::any_of(objective_.terms.begin(), objective_.terms.end(),
                                       [](const auto& term) { return !is_base(term); });
  const int64_t last = last_batch_rows(plan_options_);
  DISSENT_CHECK(!couples_on_own_batches || last == 0 || last >= grid_.shape.data, kUsage,
                "data.batch_size: losses between members need at least one image per data rank: "
                "expected a last batch of at least {} images, found {}; another size, or "
                "data.drop_last = true, avoids it",
                grid_.shape.data, last);
}

void ImageEngine::load_initial_weights() {
  auto flat = members_.values[0].cpu(), buffers = members_.buffers[0].cpu();
  load_weights(*members_.network, flat, buffers, read_state_dict(config_.ensemble.weights),
               {.prefix = config_.ensemble.prefix, .prefix_key = "ensemble.prefix"},
               config_.ensemble.weights);

  // All members start from the same weights; they part because of their batches and the losses.
  members_.values.copy_(flat.unsqueeze(0).expand_as(members_.values));
  members_.buffers.copy_(buffers.unsqueeze(0).expand_as(members_.buffers));
}

std::vector<std::string> ImageEngine::loss_names() const {
  std::vector<std::string> names;
  for (const auto& term : objective_.terms) names.push_back(term.name);
  return names;
}

int64_t ImageEngine::steps_per_epoch() const {
  // The last update of an epoch may have fewer batches.
  const int64_t batches = batches_per_epoch(plan_options_);
  return divide_up(batches, plan_options_.accumulation);
}

void ImageEngine::start(const TrainingServices& services) {
  services_.emplace(services);
  auto options = image_step_options(config_);
  options.stop = stop_requested;

  // The stepper looks at the stop flag between passes: a step may take minutes.
  stepper_ =
      std::make_unique<ImageStepper>(members_, objective_, options, grid_, discriminator_.get());

  batches_ = std::make_unique<ImageBatches>(
      ImageBatches::Options{.workers = config_.data.workers,
                            .prefetch = config_.data.prefetch,
                            .skip_damaged = config_.data.on_damaged == OnDamaged::kSkip,
                            .seed = context_.seed},
      data_, plan_options_, members_, *stepper_, grid_);
}

RunContents ImageEngine::contents() {
  const auto& network = *members_.network;
  RunContents contents{
      .data_kind = "images",
      .data = data_.identity,
      .dim = network.feature_dim(),
      .classes = data_.classes,
      .networks = members_.total_networks(),
      .first_network = members_.first,
      .local_networks = members_.networks(),
      .writes_networks = grid_.data_part == 0 && (!members_.multihead() || grid_.member_part == 0),
      .stacks = {{kMembersPrefix, members_.values, &network.layout()},
                 {kBuffersPrefix, members_.buffers, &network.buffer_layout()}},
      .shared = {},
      .loss_scale = &stepper_->loss_scale()};

  if (average_.defined()) contents.stacks.push_back({kAveragePrefix, average_, &network.layout()});

  // Every rank has the same discriminator: one copy is stored, not one per member.
  if (discriminator_)
    for (const auto& [state, tensors] : discriminator_->state())
      for (size_t i = 0; i < tensors.size(); ++i)
        contents.shared.emplace_back(fmt::format("{}{}/{}", kDiscriminatorPrefix, state, i),
                                     tensors[i]);
  return contents;
}

NamedTensors ImageEngine::weights() const {
  NamedTensors tensors;
  add_stack(tensors, kMembersPrefix, members_.values, members_.network->layout());
  add_stack(tensors, kBuffersPrefix, members_.buffers, members_.network->buffer_layout());
  if (discriminator_)
    for (size_t i = 0; i < discriminator_->parameters().size(); ++i)
      tensors.emplace_back(fmt::format("{}{}", kDiscriminatorPrefix, i),
                           discriminator_->parameters()[i]);
  return tensors;
}

TraceShape ImageEngine::trace_shape() const {
  DISSENT_CHECK(
      config_.data.on_damaged == OnDamaged::kError, kUsage,
      "--trace: expected data.on_damaged = \"error\", found \"skip\": a trace records the "
      "rows that were requested");

  // The pixels, and per image a row number, a label and the draws of its transform.
  const int64_t size = data_.train.transform.size;
  const int64_t image_bytes =
      members_.network->channels() * size * size * members_.values.element_size() +
      8 * static_cast<int64_t>(sizeof(int64_t));

  const int64_t own_batches = plan_options_.same_batch ? 1 : members_.networks();
  const int64_t images = own_batches * plan_options_.batch_size +
                         (data_.unlabelled ? plan_options_.unlabelled_batch : 0);
  return {.kind = "images", .step_bytes = plan_options_.accumulation * image_bytes * images};
}

void ImageEngine::write_run_files(const std::string& folder) const {
  if (const auto& names = data_.train.source->class_names(); !names.empty())
    atomic_write_text(folder + "/" + kRunClassFile, class_file_text(names));
}

double ImageEngine::last_learning_rate() const {
  return services_->schedule.rate(epoch_->epoch(), epoch_->batches() - 1);
}

EpochTables ImageEngine::begin_epoch(int64_t epoch, int64_t step) {
  epoch_.emplace(plan_options_, epoch);
  batches_->begin(*epoch_, step * plan_options_.accumulation);
  return {.steps = at::zeros({epoch_->steps(), kColumnValues + stepper_->columns()}, at::kDouble),
          .probes = at::zeros({0}, at::kDouble)};
}

// Pixels may be missing or damaged on one rank alone.
ImageStepInput ImageEngine::next_batch() {
  if (grid_.run->size() == 1) return batches_->next();
  ImageStepInput input;
  agree(*grid_.run, [&] { input = batches_->next(); });
  return input;
}

// One step: the mean gradient of its batches, then the update.
Advance ImageEngine::advance(int64_t step, EpochTables& tables) {
  const int64_t first = step * plan_options_.accumulation,
                last = std::min(first + plan_options_.accumulation, epoch_->batches());
  const double share = 1.0 / static_cast<double>(last - first);

  auto row = tables.steps[step];
  auto values = row.narrow(0, kColumnValues, stepper_->columns());
  services_->heartbeat.beat("training", epoch_->epoch(), step);

  std::vector<TraceStep> traced;
  for (int64_t batch = first; batch < last; ++batch) {
    const auto input = next_batch();
    const auto batch_values = stepper_->accumulate(input, share);

    // The stepper has restored the state before the step: a resumed run computes it again, from its
    // first batch.
    if (!batch_values) {
      row.zero_();
      return {.step = step, .request = Request::kStop, .abandoned = true};
    }
    values += *batch_values;
    if (services_->trace && services_->trace->wants_more())
      traced.push_back(trace_step(input, share, stepper_->term_values(*batch_values / share)));
  }

  // Schedules count batches, not updates: the rate is that of the step's last batch.
  const double rate = services_->schedule.rate(epoch_->epoch(), last - 1);
  const auto outcome = stepper_->update(services_->optimizer, rate, services_->request(),
                                        {epoch_->epoch(), step, values});
  if (outcome.skipped && grid_.run->rank() == 0) row[kColumnSkipped] = 1;
  if (!outcome.skipped) average_weights();
  write_trace(std::move(traced), rate, outcome.skipped);

  const int64_t images_before = epoch_->epoch() * plan_options_.rows;
  const int64_t images = std::min(last * plan_options_.batch_size, plan_options_.rows);
  services_->progress.update(images_before + images,
                             fmt::format("epoch {} step {}/{}{}", epoch_->epoch(), step,
                                         epoch_->steps(), loss_text(values)));
  return {.step = step + 1, .request = outcome.agreed};
}

// The first loss of a step, for the progress bar: " cross_entropy 0.1234". Nothing if other ranks
// have a part of it, since only the epoch's values are added over ranks.
std::string ImageEngine::loss_text(const at::Tensor& values) const {
  if (grid_.run->size() > 1) return "";
  return fmt::format(" {} {:.4f}", objective_.terms[0].name, stepper_->term_values(values)[0]);
}

//   average = decay average + (1 - decay) weights
void ImageEngine::average_weights() {
  if (!average_.defined()) return;
  const at::NoGradGuard no_graph;
  average_.lerp_(members_.values, 1 - config_.training.ema_decay);
}

void ImageEngine::add_step(const at::Tensor& row, EpochRecord& record) const {
  if (row[kColumnSkipped].item<double>() != 0) {
    ++record.skipped;
    return;
  }

  const auto terms =
      stepper_->term_values(row.narrow(0, kColumnValues, stepper_->columns()).contiguous());

  // The total has each term with its weight in the batches in which the term is on.
  for (size_t t = 0; t < terms.size(); ++t) {
    record.losses[t] += terms[t];
    record.total += weight_in_epoch(objective_.terms[t].weight, record.epoch) * terms[t];
  }
}

std::optional<ValidationPlan> ImageEngine::validation() const {
  if (!data_.validation) return std::nullopt;
  return ValidationPlan{data_.validation->source->rows(), config_.validation.batch_size};
}

std::future<ImageBatch> ImageEngine::request_validation(int64_t block) {
  return batches_->loader().load({.source = data_.validation->source.get(),
                                  .transform = &data_.validation->transform,
                                  .rows = validation()->rows_of(block),
                                  .seed = context_.seed,
                                  .stream = 0});
}

ValidationBlock ImageEngine::validate_block(int64_t block, std::optional<int64_t> next) {
  const at::NoGradGuard no_graph;

  // The loader reads the next block while the networks compute this one.
  const bool first_block = block == grid_.data_part;
  auto present = first_block ? request_validation(block) : std::move(next_validation_);
  ImageBatch batch;
  agree(*grid_.members, [&] { batch = present.get(); });
  if (next) next_validation_ = request_validation(*next);

  if (batch.x.size(0) == 0) return {};

  // A rank that wants to stop skips the remaining passes: its logits are not read, since all ranks
  // leave the validation after this block.
  const auto x = batch.x.to(members_.values.options());
  const auto& weights = average_.defined() ? average_ : members_.values;
  const int64_t members_each = members_.members_each();
  auto logits = at::empty({members_.count(), x.size(0), data_.classes},
                          at::TensorOptions().dtype(members_.values.scalar_type()));

  each_network(members_, [&](int64_t i) {
    if (stop_requested()) return;
    const at::NoGradGuard no_graph_in_thread;
    const auto output = members_.network->forward(unpack(weights[i], members_.network->layout()),
                                                  members_.buffers[i], x, /*training=*/false);
    logits.narrow(0, i * members_each, members_each).copy_(with_member_dimension(output.logits));
  });
  return {.logits = logits, .labels = batch.labels};
}

void ImageEngine::finish() {
  const int64_t damaged = batches_->loader().damaged();
  if (damaged > 0) spdlog::warn("event=damaged_images count={}", damaged);
}

// The draws of rows' transforms, [b, 5] i64: top, left, height and width of the window, whether it
// is mirrored.
at::Tensor ImageEngine::draws_of(const TransformedSet& set, const std::vector<int64_t>& rows,
                                 uint64_t stream) const {
  const bool resized = set.transform.kind == TransformOptions::Kind::kResizedCrop;
  std::vector<int64_t> numbers;
  for (const int64_t row : rows) {
    const auto image = set.source->image(row);
    const auto draws =
        draw_transform(set.transform, image.size(0), image.size(1),
                       Random(context_.seed, Purpose::kCrop, stream, static_cast<uint64_t>(row)));
    const int64_t height = resized ? draws.height : set.transform.size,
                  width = resized ? draws.width : set.transform.size;
    numbers.insert(numbers.end(), {draws.top, draws.left, height, width, int64_t{draws.flip}});
  }
  return at::tensor(numbers, at::kLong).view({-1, 5});
}

// What was fed in one batch, for other programs to repeat it.
TraceStep ImageEngine::trace_step(const ImageStepInput& input, double share,
                                  std::vector<double> losses) const {
  TraceStep step{.epoch = input.epoch,
                 .step = input.batch,
                 .share = share,
                 .drawn = input.drawn_member,
                 .losses = std::move(losses)};
  const auto add = [&](const std::string& group, const TransformedSet& set, const ImageRows& batch,
                       const std::vector<int64_t>& rows, uint64_t stream) {
    step.tensors.emplace_back(group + "/rows", at::tensor(rows, at::kLong));
    step.tensors.emplace_back(group + "/x", batch.x);
    if (batch.labels.defined()) step.tensors.emplace_back(group + "/labels", batch.labels);
    if (set.transform.kind != TransformOptions::Kind::kCenterCrop)
      step.tensors.emplace_back(group + "/draws", draws_of(set, rows, stream));
  };
  for (size_t i = 0; i < input.own.size(); ++i) {
    const int64_t member = plan_options_.same_batch ? 0 : members_.first + static_cast<int64_t>(i);
    add(fmt::format("own/{}", member), data_.train, input.own[i], epoch_->rows(member, input.batch),
        epoch_->stream(member));
  }
  if (data_.unlabelled && input.common.x.defined())
    add("unlabelled", *data_.unlabelled, input.common, epoch_->unlabelled_rows(input.batch),
        epoch_->unlabelled_stream());
  return step;
}

// Only the last batch of a step ends it: the update comes behind it.
void ImageEngine::write_trace(std::vector<TraceStep> batches, double learning_rate, bool skipped) {
  for (size_t i = 0; i < batches.size(); ++i) {
    auto& batch = batches[i];
    batch.learning_rate = learning_rate;
    batch.ends = i + 1 == batches.size();
    batch.update = batch.ends && !skipped;
    services_->trace->add(batch, [this] { return weights(); });
  }
}

}  // namespace dissent
