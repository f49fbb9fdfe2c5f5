#include "train/images/image_engine.hpp"

#include <dissent/losses/balanced_rows.hpp>

#include <cmath>
#include <limits>

#include "core/parallel.hpp"
#include "core/progress_bar.hpp"
#include "core/stop.hpp"
#include "data/datasets/folder_list.hpp"
#include "models/weights/load.hpp"
#include "models/weights/state_dict.hpp"
#include "storage/atomic_file.hpp"
#include "train/run/heartbeat.hpp"

namespace dissent {
namespace {

using Clock = std::chrono::steady_clock;
constexpr uint64_t kDiscriminatorSeed =
    0x64696365;  // keeps its draws apart from those of the members

const losses::DiceOptions* dice_options_of(const ImageObjective& objective) {
  for (const auto& term : objective.terms)
    if (term.name == "dice") return std::any_cast<losses::DiceOptions>(&term.options);
  return nullptr;
}

// Images of the short last batch of an epoch; 0: there is none.
int64_t last_batch(const ImagePlanOptions& plan) {
  return plan.drop_last || plan.samples_per_class > 0 ? 0 : plan.rows % plan.batch_size;
}

// The weight of a loss in the batches of an epoch in which it is on: the only ones that its figures
// hold, whatever its period and the batches of an update.
double weight_in_epoch(losses::LossWeight weight, int64_t epoch) {
  weight.period = 1;
  return losses::weight_at(weight, epoch, 0);
}

ImagePlanOptions plan_of(const ImageTrainConfig& config, const ImageData& data,
                         uint64_t seed) {
  ImagePlanOptions plan;
  plan.seed = seed;
  plan.rows = data.train.source->rows();
  plan.batch_size = std::min(config.data.batch_size, plan.rows);
  plan.members = config.ensemble.members;
  plan.same_batch = config.data.same_batch;
  plan.drop_last = config.data.drop_last;
  plan.unlabelled_rows = data.unlabelled ? data.unlabelled->source->rows() : 0;
  plan.unlabelled_batch = config.unlabelled.batch_size;
  plan.accumulation = config.training.accumulation;
  if (config.data.sampler == "class_balanced") {
    plan.samples_per_class = config.data.samples_per_class;
    plan.rows_of_classes = losses::rows_of_classes(data.train.source->labels());
  }
  return plan;
}

}  // namespace

// The batches of one step, under way.
struct ImageTrainer::Pending {
  int64_t batch = 0;
  int64_t drawn = 0;
  ImageStepInput input;
  std::vector<std::future<ImageBatch>> own;
  std::optional<std::future<ImageBatch>> diversity;
  int64_t diversity_is_own = -1;  // the local network whose batch it is
  std::vector<int64_t>
      totals;  // rows over all data ranks: of own batches, then of the diversity batch
};

ImageTrainer::ImageTrainer(const ImageTrainConfig& config, const ImageData& data, Grid& grid,
                           RunContext context)
    : config_(config),
      data_(data),
      grid_(grid),
      context_(std::move(context)),
      plan_(plan_of(config, data, context_.seed)),
      objective_(image_objective(config)) {
  const auto network = image_network(config, data.classes);
  DISSENT_CHECK(config.data.on_damaged == "error" || grid.shape.data == 1, kUsage,
                "data.on_damaged = \"skip\": expected grid.data = 1, found {}: ranks that share a "
                "batch would not agree on its rows",
                grid.shape.data);
  DISSENT_CHECK(
      network->heads() == 0 || grid.shape.members == 1, kUsage,
      "grid.members: expected 1 for a multihead network, whose members share their trunk; found {}",
      grid.shape.members);
  const bool common =
      !data.unlabelled &&
      std::any_of(objective_.terms.begin(), objective_.terms.end(), [](const auto& term) {
        return losses::find_loss(term.name).kind != losses::LossKind::kBase;
      });
  const int64_t last = last_batch(plan_);
  DISSENT_CHECK(
      !common || last == 0 || last >= grid.shape.data, kUsage,
      "data.batch_size: the last batch of an epoch has {} images for {} data ranks, and losses "
      "between members want one for each: expected another size, or data.drop_last = true",
      last, grid.shape.data);
  members_ =
      make_image_members(network, config.ensemble.members,
                         part_of(config.ensemble.members, grid.shape.members, grid.member_part),
                         context_.seed, parameter_type(config.training.precision), context_.device);
  if (!config.ensemble.weights.empty()) {
    auto flat = members_.values[0].cpu(), buffers = members_.buffers[0].cpu();
    load_weights(*network, flat, buffers, read_state_dict(config.ensemble.weights),
                 {.prefix = config.ensemble.prefix, .prefix_key = "ensemble.prefix"},
                 config.ensemble.weights);
    members_.values.copy_(flat.unsqueeze(0).expand_as(members_.values));
    members_.buffers.copy_(buffers.unsqueeze(0).expand_as(members_.buffers));
  }
  if (const auto* dice = dice_options_of(objective_)) {
    auto parameters = losses::make_dice_discriminator(data.classes, network->feature_dim(),
                                                      context_.seed ^ kDiscriminatorSeed, *dice,
                                                      members_.values.scalar_type());
    for (auto& parameter : parameters) parameter = parameter.to(context_.device);
    discriminator_ = std::make_unique<Discriminator>(
        std::move(parameters), *dice, config.discriminator,
        config.optimizer.weight_decay.value_or(0), config.training.clip_norm);
  }
  if (config.training.ema_decay > 0) average_ = members_.values.clone();
  state_.losses = static_cast<int64_t>(objective_.terms.size());
  loader_ = std::make_unique<ImageLoader>(ImageLoaderOptions{
      .workers = config.data.workers, .skip_damaged = config.data.on_damaged == "skip"});
  if (context_.trace > 0) start_trace();
}

ImageTrainer::~ImageTrainer() { grid_.run->wait_settings().while_waiting = {}; }

bool ImageTrainer::train(bool resume) {
  optimizer_ = std::make_unique<Optimizer>(config_.optimizer, members_.values);
  schedule_ = std::make_unique<Schedule>(config_.schedule, config_.optimizer.learning_rate,
                                         config_.training.epochs, batches_per_epoch(plan_));
  ImageStepOptions options{.clip_norm = config_.training.clip_norm,
                           .skip_not_finite = config_.training.on_nan == "skip_step"};
  options.synchronised_batch_norm = config_.training.batch_norm == "synchronised";
  options.stop = stop_requested;
  if (config_.training.precision == "bf16" || config_.training.precision == "f16")
    options.compute = config_.training.precision == "bf16" ? at::kBFloat16 : at::kHalf;
  stepper_ =
      std::make_unique<ImageStepper>(members_, objective_, options, grid_, discriminator_.get());
  progress_ = std::make_unique<ProgressBar>(fmt::format("seed {}", context_.seed),
                                            config_.training.epochs * plan_.rows, "images",
                                            !context_.show_progress);
  heartbeat_ = std::make_unique<Heartbeat>(context_.folder, grid_.run->rank());
  grid_.run->wait_settings().while_waiting = [this] { heartbeat_->beat("waiting"); };
  if (resume) {
    agree(*grid_.run, [&] {
      state_ = read_image_checkpoint(
          context_.folder + "/checkpoint.h5",
          {grid_, data_.identity, data_.classes, members_, average_, discriminator_.get(),
           *optimizer_, *schedule_, stepper_->loss_scale()});
    });
    spdlog::info("event=resume folder={} epoch={} step={}", context_.folder, state_.epoch,
                 state_.step);
  }
  // An epoch may take hours; and a run that was there before may have left another count.
  agree(*grid_.run, [&] {
    if (grid_.run->rank() != 0) return;
    write_progress(context_, state_.epoch, config_.training.epochs,
                   ImageEpoch(plan_, state_.epoch).steps());
    if (const auto& names = data_.train.source->class_names(); !names.empty())
      atomic_write_text(context_.folder + "/" + kRunClassFile, class_file_text(names));
  });
  last_checkpoint_ = Clock::now();
  try {
    while (state_.epoch < config_.training.epochs)
      if (!run_epoch()) return false;
  } catch (Error& error) {
    if (error.kind() != ErrorKind::kComm) throw;
    heartbeat_->beat("waiting", true);
    DISSENT_FAIL(kComm, "{}; {}", error.what(), silent_ranks(context_.folder, grid_.run->size()));
  }
  progress_->finish();
  if (trace_) trace_->finish([this] { return weights(); });
  if (loader_->damaged() > 0) spdlog::warn("event=damaged_images count={}", loader_->damaged());
  write_checkpoint("checkpoint.h5");
  return true;
}

Request ImageTrainer::own_request() const {
  if (stop_requested()) return Request::kStop;
  const bool due = Clock::now() - last_checkpoint_ >
                   std::chrono::duration<double, std::ratio<60>>(config_.checkpoint.every_minutes);
  return grid_.run->rank() == 0 && due ? Request::kCheckpoint : Request::kNone;
}

// Asks the loader for this rank's rows of all that the batch needs.
ImageTrainer::Pending ImageTrainer::ask(const ImageEpoch& epoch, int64_t batch) {
  Pending pending;
  pending.batch = batch;
  pending.input = {.epoch = epoch.epoch(),
                   .batch = batch,
                   .seed = context_.seed,
                   .counter = epoch.counter(batch),
                   .drawn = epoch.drawn(batch)};
  const auto request = [&](const TransformedSet& set, const std::vector<int64_t>& rows,
                           uint64_t stream) {
    const Part part = part_of(static_cast<int64_t>(rows.size()), grid_.shape.data, grid_.data_part);
    pending.totals.push_back(static_cast<int64_t>(rows.size()));
    return loader_->load({set.source.get(),
                          &set.transform,
                          {rows.begin() + part.first, rows.begin() + part.first + part.count},
                          context_.seed,
                          stream});
  };
  const int64_t batches = plan_.same_batch ? 1 : members_.networks();
  for (int64_t i = 0; i < batches; ++i) {
    const int64_t member = plan_.same_batch ? 0 : members_.first + i;
    pending.own.push_back(request(data_.train, epoch.rows(member, batch), epoch.stream(member)));
  }
  if (!stepper_->reads_diversity_batch(pending.input)) return pending;
  const int64_t drawn = pending.input.drawn;
  if (data_.unlabelled) {
    pending.diversity =
        request(*data_.unlabelled, epoch.unlabelled_rows(batch), epoch.unlabelled_stream());
  } else if (members_.holds(drawn)) {
    pending.diversity_is_own = drawn - members_.first;
  } else {
    pending.diversity = request(data_.train, epoch.rows(drawn, batch), epoch.stream(drawn));
  }
  return pending;
}

ImageStepInput ImageTrainer::receive(Pending& pending) const {
  const auto rows_of = [&](std::future<ImageBatch>& future, int64_t total, bool labelled) {
    auto batch = future.get();
    if (grid_.shape.data == 1)
      total = batch.x.size(0);  // damaged images are left out, by every rank that sees the batch
    return ImageRows{batch.x.to(members_.values.options()),
                     labelled ? batch.labels.to(context_.device) : at::Tensor(), total};
  };
  for (size_t i = 0; i < pending.own.size(); ++i)
    pending.input.own.push_back(rows_of(pending.own[i], pending.totals[i], true));
  if (pending.diversity)
    pending.input.diversity = rows_of(*pending.diversity, pending.totals.back(), !data_.unlabelled);
  if (pending.diversity_is_own >= 0)
    pending.input.diversity = pending.input.own[pending.diversity_is_own];
  return std::move(pending.input);
}

void ImageTrainer::prefetch(const ImageEpoch& epoch) {
  const auto ahead = static_cast<size_t>(config_.data.workers > 0 ? config_.data.prefetch : 1);
  while (pending_.size() < ahead && asked_ < epoch.batches())
    pending_.push_back(ask(epoch, asked_++));
}

// From state_.step to the end of the epoch; false if a stop was agreed on.
bool ImageTrainer::run_epoch() {
  const ImageEpoch epoch(plan_, state_.epoch);
  table_ = at::zeros({epoch.steps(), 1 + stepper_->columns()}, at::kDouble);
  if (grid_.run->rank() == 0 && state_.steps.defined())
    table_.narrow(0, 0, state_.step).copy_(state_.steps);
  state_.steps = at::Tensor();
  pending_.clear();
  asked_ = state_.step * plan_.accumulation;
  Request pending = Request::kNone;
  while (state_.step < epoch.steps()) {
    if (!train_step(epoch, state_.step, pending)) {
      spdlog::info("event=step_abandoned folder={} epoch={} step={}", context_.folder, state_.epoch,
                   state_.step);
      write_inside_epoch();
      return false;
    }
    ++state_.step;
    if (pending == Request::kNone || state_.step == epoch.steps()) continue;
    write_inside_epoch();
    if (pending == Request::kStop) return false;
    pending = Request::kNone;
  }
  if (!finish_epoch(epoch)) return false;
  if (pending != Request::kNone && state_.epoch < config_.training.epochs)
    write_checkpoint("checkpoint.h5");
  return pending != Request::kStop || state_.epoch == config_.training.epochs;
}

// After state_.step steps of the epoch.
void ImageTrainer::write_inside_epoch() {
  if (state_.step > 0) {
    state_.steps = table_.narrow(0, 0, state_.step).clone();
    grid_.run->all_reduce(state_.steps, ReduceOp::kSum);
  }
  write_checkpoint("checkpoint.h5");
  state_.steps = at::Tensor();
}

// False if all ranks left the step in the middle to stop: nothing of it has happened.
bool ImageTrainer::train_step(const ImageEpoch& epoch, int64_t step, Request& pending) {
  const int64_t first = step * plan_.accumulation,
                last = std::min(first + plan_.accumulation, epoch.batches());
  auto row = table_[step];
  heartbeat_->beat("training", state_.epoch, step);
  std::vector<TraceStep> traced;
  for (int64_t batch = first; batch < last; ++batch) {
    prefetch(epoch);
    auto present = std::move(pending_.front());
    pending_.erase(pending_.begin());
    // Pixels may be missing or damaged on one rank alone.
    ImageStepInput input;
    if (config_.data.on_damaged == "error" && grid_.run->size() == 1)
      input = receive(present);
    else
      agree(*grid_.run, [&] { input = receive(present); });
    if (config_.data.workers > 0) prefetch(epoch);
    const double share = 1.0 / static_cast<double>(last - first);
    const auto figures = row.narrow(0, 1, stepper_->columns());
    const auto before = trace_ ? figures.clone() : at::Tensor();
    if (!stepper_->accumulate(input, share, figures)) {
      row.zero_();
      return false;
    }
    if (trace_ && trace_->wants_more())
      traced.push_back(
          trace_step(epoch, input, share, stepper_->term_values((figures - before) / share)));
  }
  const double rate = schedule_->rate(state_.epoch, last - 1);
  const auto outcome =
      stepper_->update(*optimizer_, rate, own_request(),
                       {state_.epoch, step, row.narrow(0, 1, stepper_->columns())});
  if (outcome.skipped && grid_.run->rank() == 0) row[0] = 1;
  if (!outcome.skipped) average_weights();
  for (size_t i = 0; i < traced.size(); ++i) {
    traced[i].learning_rate = rate;
    traced[i].ends = i + 1 == traced.size();
    traced[i].update = traced[i].ends && !outcome.skipped;
    trace_->add(traced[i], [this] { return weights(); });
  }
  pending = std::max(pending, outcome.agreed);
  const int64_t images = state_.epoch * plan_.rows + std::min(last * plan_.batch_size, plan_.rows);
  progress_->update(
      images, fmt::format("epoch {} step {}/{} loss {:.4f}", state_.epoch, step, epoch.steps(),
                          stepper_->term_values(row.narrow(0, 1, stepper_->columns()))[0]));
  return true;
}

NamedTensors ImageTrainer::weights() const {
  NamedTensors tensors;
  add_stack(tensors, "members/", members_.values, members_.network->layout());
  add_stack(tensors, "buffers/", members_.buffers, members_.network->buffer_layout());
  for (size_t i = 0; discriminator_ && i < discriminator_->parameters().size(); ++i)
    tensors.emplace_back(fmt::format("discriminator/{}", i), discriminator_->parameters()[i]);
  return tensors;
}

void ImageTrainer::start_trace() {
  DISSENT_CHECK(config_.data.on_damaged == "error", kUsage,
                "--trace: expected data.on_damaged = \"error\", found \"{}\": rows of a trace are "
                "those that were asked for",
                config_.data.on_damaged);
  std::vector<std::string> names;
  for (const auto& term : objective_.terms) names.push_back(term.name);
  const int64_t size = data_.train.transform.size,
                image = 3 * size * size * members_.values.element_size() +
                        8 * static_cast<int64_t>(sizeof(int64_t)),
                own = plan_.same_batch ? 1 : members_.networks();
  trace_ = std::make_unique<TraceWriter>(
      context_, "images", names, context_.trace,
      plan_.accumulation * image *
          (own * plan_.batch_size + (data_.unlabelled ? plan_.unlabelled_batch : 0)),
      weights());
}

// The draws of rows' transforms, [b, 5] i64: top, left, height and width of the window, whether it
// is mirrored.
at::Tensor ImageTrainer::draws_of(const TransformedSet& set, const std::vector<int64_t>& rows,
                                  uint64_t stream) const {
  std::vector<int64_t> numbers;
  for (const int64_t row : rows) {
    const auto image = set.source->image(row);
    const auto draws =
        draw_transform(set.transform, image.size(0), image.size(1),
                       Random(context_.seed, Purpose::kCrop, stream, static_cast<uint64_t>(row)));
    const bool resized = set.transform.kind == TransformOptions::Kind::kResizedCrop;
    numbers.insert(numbers.end(),
                   {draws.top, draws.left, resized ? draws.height : set.transform.size,
                    resized ? draws.width : set.transform.size, int64_t{draws.flip}});
  }
  return at::tensor(numbers, at::kLong).view({-1, 5});
}

TraceStep ImageTrainer::trace_step(const ImageEpoch& epoch, const ImageStepInput& input,
                                   double share, std::vector<double> losses) const {
  TraceStep step{.epoch = input.epoch,
                 .step = input.batch,
                 .share = share,
                 .drawn = input.drawn,
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
    const int64_t member = plan_.same_batch ? 0 : members_.first + static_cast<int64_t>(i);
    add(fmt::format("own/{}", member), data_.train, input.own[i], epoch.rows(member, input.batch),
        epoch.stream(member));
  }
  if (data_.unlabelled && input.diversity.x.defined())
    add("unlabelled", *data_.unlabelled, input.diversity, epoch.unlabelled_rows(input.batch),
        epoch.unlabelled_stream());
  return step;
}

void ImageTrainer::average_weights() {
  if (!average_.defined()) return;
  const at::NoGradGuard no_graph;
  average_.lerp_(members_.values, 1 - config_.training.ema_decay);
}

// False if all ranks left the validation in the middle to stop: the checkpoint holds all steps of
// the epoch then, and a resumed training begins with the validation.
bool ImageTrainer::finish_epoch(const ImageEpoch& epoch) {
  grid_.run->all_reduce(table_, ReduceOp::kSum);
  EpochRecord record;
  record.epoch = state_.epoch;
  record.steps = table_.size(0);
  record.losses.assign(objective_.terms.size(), 0);
  // Added in step order; a skipped step has no losses worth a mean.
  for (int64_t s = 0; s < table_.size(0); ++s) {
    if (table_[s][0].item<double>() != 0) {
      ++record.skipped;
      continue;
    }
    const auto values =
        stepper_->term_values(table_[s].narrow(0, 1, stepper_->columns()).contiguous());
    for (size_t t = 0; t < values.size(); ++t) {
      record.losses[t] += values[t];
      record.total += weight_in_epoch(objective_.terms[t].weight, state_.epoch) * values[t];
    }
  }
  const auto counted = static_cast<double>(record.steps - record.skipped);
  record.total /= counted;
  for (auto& loss : record.losses) loss /= counted;
  record.learning_rate = schedule_->rate(state_.epoch, epoch.batches() - 1);
  record.accuracy_ensemble = record.accuracy_best = record.accuracy_mean = record.nll = kNaN;
  if (data_.validation && !validate(record)) {
    spdlog::info("event=validation_abandoned folder={} epoch={}", context_.folder, state_.epoch);
    state_.steps = table_.clone();  // summed over ranks already
    write_checkpoint("checkpoint.h5");
    state_.steps = at::Tensor();
    return false;
  }
  schedule_->observe(data_.validation ? record.nll : record.total);
  state_.records.push_back(record);
  ++state_.epoch;
  state_.step = 0;
  agree(*grid_.run, [&] { write_log(); });
  if (data_.validation && record.accuracy_ensemble >= state_.best_accuracy) {
    state_.best_accuracy = record.accuracy_ensemble;
    write_checkpoint("best.h5");
  }
  return true;
}

// Passes of single networks are left out once a rank wants to stop, and all ranks leave together
// behind the block of that; then false.
bool ImageTrainer::validate(EpochRecord& record) {
  const at::NoGradGuard no_graph;
  const auto& set = *data_.validation;
  const int64_t rows = set.source->rows(), members = members_.total,
                block = config_.validation.batch_size, blocks = (rows + block - 1) / block;
  const auto& weights = average_.defined() ? average_ : members_.values;
  const int64_t each = members_.members_each();
  // Columns: right answers of each member, of the ensemble, sum of the ensemble's negative
  // log-likelihoods, rows. A line a block, each filled by one rank.
  auto table = at::zeros({blocks, members + 3}, at::kDouble);
  const auto ask_for = [&](int64_t b) {
    std::vector<int64_t> wanted;
    for (int64_t row = b * block; row < std::min(rows, (b + 1) * block); ++row)
      wanted.push_back(row);
    return loader_->load({set.source.get(), &set.transform, std::move(wanted), context_.seed, 0});
  };
  std::future<ImageBatch> next;
  if (grid_.data_part < blocks) next = ask_for(grid_.data_part);
  const auto evaluate_block = [&](int64_t b) {
    ImageBatch batch;
    agree(*grid_.members, [&] { batch = next.get(); });
    if (b + grid_.shape.data < blocks) next = ask_for(b + grid_.shape.data);
    const auto x = batch.x.to(members_.values.options());
    const int64_t count = x.size(0);
    if (count == 0) return;
    auto local = at::empty({members_.count(), count, data_.classes},
                           at::TensorOptions().dtype(members_.values.scalar_type()));
    each_network(members_, [&](int64_t i) {
      if (stop_requested()) return;
      const at::NoGradGuard no_graph_here;
      const auto out = members_.network->forward(unpack(weights[i], members_.network->layout()),
                                                 members_.buffers[i], x, false);
      local.narrow(0, i * each, each)
          .copy_(out.logits.dim() == 3 ? out.logits : out.logits.unsqueeze(0));
    });
    std::vector<int64_t> counts;
    for (int64_t g = 0; g < grid_.shape.members; ++g)
      counts.push_back(part_of(members, grid_.shape.members, g).count * count * data_.classes);
    const auto logits =
        grid_.members->all_gather(local, counts).view({members, count, data_.classes});
    if (grid_.member_part != 0) return;
    const auto mean = logits.mean(0);
    table[b].narrow(0, 0, members).copy_(logits.argmax(2).eq(batch.labels).sum(1));
    table[b][members].copy_(mean.argmax(1).eq(batch.labels).sum());
    table[b][members + 1].copy_(
        at::log_softmax(mean.to(at::kDouble), 1).gather(1, batch.labels.unsqueeze(1)).neg_().sum());
    table[b][members + 2].fill_(static_cast<double>(count));
  };
  for (int64_t round = 0; round < blocks; round += grid_.shape.data) {
    if (round + grid_.data_part < blocks) evaluate_block(round + grid_.data_part);
    auto stop = at::full({1}, static_cast<int64_t>(stop_requested()), at::kLong);
    if (grid_.run->size() > 1) grid_.run->all_reduce(stop, ReduceOp::kMax);
    if (stop.item<int64_t>() != 0) return false;
  }
  grid_.run->all_reduce(table, ReduceOp::kSum);
  auto sums = table.sum(0);
  sums.div_(sums[members + 2].clone());
  const auto accuracies = sums.narrow(0, 0, members);
  record.accuracy_best = accuracies.max().item<double>();
  record.accuracy_mean = accuracies.mean().item<double>();
  record.accuracy_ensemble = sums[members].item<double>();
  record.nll = sums[members + 1].item<double>();
  return true;
}

void ImageTrainer::write_checkpoint(const std::string& name) {
  // A slow file system is not a stuck rank.
  auto& settings = grid_.run->wait_settings();
  const double timeout_s =
      std::exchange(settings.timeout_s, std::numeric_limits<double>::infinity());
  heartbeat_->beat("writing a checkpoint", state_.epoch, state_.step, true);
  write_image_checkpoint(context_.folder + "/" + name,
                         {grid_, data_.identity, data_.classes, members_, average_,
                          discriminator_.get(), *optimizer_, *schedule_, stepper_->loss_scale()},
                         context_, state_);
  settings.timeout_s = timeout_s;
  if (name == "checkpoint.h5") last_checkpoint_ = Clock::now();
  spdlog::info("event=checkpoint path={}/{} next_epoch={} next_step={}", context_.folder, name,
               state_.epoch, state_.step);
}

void ImageTrainer::write_log() {
  if (grid_.run->rank() != 0) return;
  std::vector<std::string> names;
  for (const auto& term : objective_.terms) names.push_back(term.name);
  write_epoch_log(context_, names, state_.records, config_.training.epochs);
}

}  // namespace dissent
