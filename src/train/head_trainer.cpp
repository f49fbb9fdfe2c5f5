#include "train/head_trainer.hpp"

#include <cmath>
#include <limits>

#include "core/parallel.hpp"
#include "core/progress_bar.hpp"
#include "storage/atomic_file.hpp"
#include "storage/checkpoint.hpp"
#include "train/stepper.hpp"

namespace dissent {
namespace {

// Columns of the table of an epoch's steps. Each row is filled by one rank, the others hold zeros: summing over ranks is exact.
enum Column : int64_t { kTotal, kCrossEntropy, kRepulsion, kRegulariser, kSkipped, kColumns };
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::string field(double value) { return std::isnan(value) ? "" : fmt::format("{}", value); }

}  // namespace

HeadTrainer::HeadTrainer(const TrainConfig& config, TrainData& data, Grid& grid, RunContext context)
    : config_(config), data_(data), grid_(grid), context_(std::move(context)) {
  plan_ = {.seed = context_.seed,
           .rows_per_pass = data.train.rows_per_pass(),
           .passes = data.train.passes(),
           .batch_size = std::min(config.data.batch_size, data.train.rows_per_pass()),
           .unlabelled_rows = data.unlabelled ? data.unlabelled->rows() : 0,
           .members = config.ensemble.members,
           .active = config.active_members(),
           .round_robin = config.ensemble.selection == "round_robin"};
  std::shared_ptr<const Head> head = make_head(config.ensemble.model, data.dim, config.ensemble.hidden, data.classes);
  const Part part = part_of(config.ensemble.members, grid.shape.members, grid.member_part);
  members_ = make_members(std::move(head), config.ensemble.members, part, context_.seed, at::kFloat, at::kCPU);
}

void HeadTrainer::train() {
  Optimizer optimizer(config_.optimizer, members_.values);
  Stepper stepper(members_, optimizer, objective_options(config_),
                  {.clip_norm = config_.training.clip_norm, .skip_not_finite = config_.training.on_nan == "skip_step"}, grid_);
  Schedule schedule(config_.schedule, config_.optimizer.learning_rate, config_.training.epochs, steps_per_epoch(plan_));
  ProgressBar progress(fmt::format("seed {}", context_.seed), config_.training.epochs * plan_.rows_per_pass, "rows", !context_.show_progress);
  for (int64_t epoch = 0; epoch < config_.training.epochs; ++epoch) {
    EpochRecord record;
    record.epoch = epoch;
    record.accuracy_ensemble = record.accuracy_best = record.accuracy_mean = record.nll = kNaN;
    run_epoch(epoch, stepper, schedule, progress, record);
    if (data_.validation) validate(record);
    if (!(config_.training.frozen_first_epoch && epoch == 0)) schedule.observe(data_.validation ? record.nll : record.total);
    records_.push_back(record);
    agree(*grid_.run, [&] { write_log(); });
  }
  progress.finish();
  write_checkpoint(optimizer, schedule, config_.training.epochs);
}

void HeadTrainer::run_epoch(int64_t epoch, Stepper& stepper, Schedule& schedule, ProgressBar& progress, EpochRecord& record) {
  const bool frozen = config_.training.frozen_first_epoch;
  const bool update = !(frozen && epoch == 0);
  const int64_t updating_epoch = std::max<int64_t>(0, epoch - (frozen ? 1 : 0));
  const EpochPlan plan(plan_, epoch);
  std::vector<Step> steps;
  for (int64_t s = 0; s < plan.steps(); ++s) steps.push_back(plan.step(s));

  auto table = at::zeros({plan.steps(), kColumns}, at::kDouble);
  auto values = table.accessor<double, 2>();
  int64_t done = 0;
  for (const auto& wave : make_waves(steps, config_.training.look_ahead)) {
    std::vector<StepInput> inputs;
    for (const int64_t s : wave) {
      StepInput input{&steps[s], schedule.rate(updating_epoch, s), {}, {}};
      if (stepper.takes_part(steps[s])) load_batch(steps[s], plan.pass(), input);
      inputs.push_back(std::move(input));
      done += static_cast<int64_t>(steps[s].rows.size());
    }
    const auto results = stepper.run(inputs, updating_epoch, update);
    for (size_t i = 0; i < wave.size(); ++i) {
      const auto& result = results[i];
      if (!result.known) continue;
      if (context_.show_progress)
        progress.update(epoch * plan_.rows_per_pass + done, fmt::format("epoch {} step {}/{} loss {:.4f}", epoch, wave[i], plan.steps(), result.total));
      if (grid_.data_part != 0 || !members_.holds(steps[wave[i]].active[0])) continue;
      const double row[] = {result.total, result.cross_entropy, result.repulsion, result.regulariser, result.skipped ? 1.0 : 0.0};
      for (int64_t c = 0; c < kColumns; ++c) values[wave[i]][c] = row[c];
    }
  }
  grid_.run->all_reduce(table, ReduceOp::kSum);
  summarise(table, record);
  record.learning_rate = schedule.rate(updating_epoch, plan.steps() - 1);
}

void HeadTrainer::load_batch(const Step& step, int64_t pass, StepInput& input) const {
  std::vector<int64_t> rows;
  for (const int64_t row : step.rows) rows.push_back(pass * plan_.rows_per_pass + row);
  input.labels = data_.train.take_labels(rows);
  const Part part = part_of(static_cast<int64_t>(rows.size()), grid_.shape.data, grid_.data_part);
  input.x = data_.train.take(std::span(rows).subspan(part.first, part.count));
  if (step.unlabelled_rows.empty()) return;
  const Part extra = part_of(static_cast<int64_t>(step.unlabelled_rows.size()), grid_.shape.data, grid_.data_part);
  input.x = at::cat({input.x, data_.unlabelled->take(std::span(step.unlabelled_rows).subspan(extra.first, extra.count))});
}

void HeadTrainer::summarise(const at::Tensor& table, EpochRecord& record) const {
  // Added in step order; a skipped step has no losses worth a mean.
  double sums[kColumns] = {};
  const auto values = table.accessor<double, 2>();
  record.steps = table.size(0);
  for (int64_t s = 0; s < table.size(0); ++s) {
    if (values[s][kSkipped] != 0) {
      ++record.skipped;
      continue;
    }
    for (int64_t c = 0; c < kColumns; ++c) sums[c] += values[s][c];
  }
  const auto counted = static_cast<double>(record.steps - record.skipped);
  record.total = sums[kTotal] / counted;
  record.cross_entropy = sums[kCrossEntropy] / counted;
  record.repulsion = sums[kRepulsion] / counted;
  record.regulariser = sums[kRegulariser] / counted;
}

void HeadTrainer::validate(EpochRecord& record) {
  const int64_t rows = data_.validation->rows(), members = members_.total;
  const int64_t block = std::clamp<int64_t>((int64_t{1} << 24) / (members * data_.classes), 16, 1024);
  const int64_t blocks = (rows + block - 1) / block;
  std::vector<int64_t> counts;
  // Columns: right answers of each member, right answers of the ensemble, sum of the ensemble's negative log-likelihoods. A row a block, each
  // filled by one rank.
  auto table = at::zeros({blocks, members + 2}, at::kDouble);
  for (int64_t b = grid_.data_part; b < blocks; b += grid_.shape.data) {
    std::vector<int64_t> positions;
    for (int64_t row = b * block; row < std::min(rows, (b + 1) * block); ++row) positions.push_back(row);
    const auto count = static_cast<int64_t>(positions.size());
    const auto x = data_.validation->take(positions);
    const auto labels = data_.validation->take_labels(positions);
    auto local = at::empty({members_.count(), count, data_.classes}, at::kFloat);
    parallel_tasks(members_.count(), [&](int64_t i) { local[i].copy_(members_.head->forward(members_.values[i], x, nullptr)); });
    counts.clear();
    for (int64_t g = 0; g < grid_.shape.members; ++g) counts.push_back(part_of(members, grid_.shape.members, g).count * count * data_.classes);
    const auto logits = grid_.members->all_gather(local, counts).view({members, count, data_.classes});
    if (grid_.member_part != 0) continue;
    const auto mean = logits.mean(0);
    table[b].narrow(0, 0, members).copy_(logits.argmax(2).eq(labels).sum(1));
    table[b][members].copy_(mean.argmax(1).eq(labels).sum());
    table[b][members + 1].copy_(at::log_softmax(mean.to(at::kDouble), 1).gather(1, labels.unsqueeze(1)).neg_().sum());
  }
  grid_.run->all_reduce(table, ReduceOp::kSum);
  const auto sums = table.sum(0).div_(static_cast<double>(rows));
  const auto accuracies = sums.narrow(0, 0, members);
  record.accuracy_best = accuracies.max().item<double>();
  record.accuracy_mean = accuracies.mean().item<double>();
  record.accuracy_ensemble = sums[members].item<double>();
  record.nll = sums[members + 1].item<double>();
}

void HeadTrainer::write_checkpoint(const Optimizer& optimizer, const Schedule& schedule, int64_t next_epoch) {
  const auto& state = schedule.state();
  CheckpointWriter writer(*grid_.run, context_.folder + "/checkpoint.h5", context_.config_text, context_.config_hash,
                          {{"epoch", next_epoch}, {"step", int64_t{0}}, {"seed", static_cast<int64_t>(context_.seed)}, {"dim", data_.dim}, {"classes", data_.classes},
                           {"plateau_best", state.best}, {"plateau_bad_epochs", state.bad_epochs}, {"plateau_scale", state.scale}});
  // Every data rank holds the same members: the first of them gives the slab, the others an empty one.
  const auto mine = [&](const at::Tensor& values) { return grid_.data_part == 0 ? values : values.narrow(0, 0, 0); };
  const auto add = [&](const std::string& prefix, const at::Tensor& stack) {
    for (const auto& entry : members_.head->layout().entries()) {
      std::vector<int64_t> shape{members_.total};
      shape.insert(shape.end(), entry.shape.begin(), entry.shape.end());
      writer.add(prefix + entry.name, shape, members_.first, mine(stacked_parameter(stack, entry)));
    }
  };
  add("members/", members_.values);
  for (const auto& [name, stack] : optimizer.state()) add("optimizer/" + name + "/", stack);
  writer.add("optimizer/steps", {members_.total}, members_.first, mine(at::tensor(optimizer.steps(), at::kLong)));
  writer.commit();
}

void HeadTrainer::write_log() const {
  if (grid_.run->rank() != 0) return;
  atomic_write_text(context_.folder + "/train.csv", train_csv(records_));
  const auto& last = records_.back();
  atomic_write_text(context_.folder + "/progress.json", fmt::format("{{\"epoch\": {}, \"epochs\": {}, \"steps\": {}}}\n", last.epoch + 1, config_.training.epochs, last.steps));
  spdlog::info("event=epoch seed={} epoch={} steps={} skipped={} total={:.6g} cross_entropy={:.6g} repulsion={:.6g} accuracy={}", context_.seed, last.epoch, last.steps,
               last.skipped, last.total, last.cross_entropy, last.repulsion, field(last.accuracy_ensemble));
}

std::string train_csv(const std::vector<EpochRecord>& records) {
  std::string text = "epoch,steps,skipped,learning_rate,total,cross_entropy,repulsion,regulariser,accuracy_ensemble,accuracy_best,accuracy_mean,nll\n";
  for (const auto& r : records)
    text += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{}\n", r.epoch, r.steps, r.skipped, r.learning_rate, r.total, r.cross_entropy, r.repulsion, r.regulariser,
                        field(r.accuracy_ensemble), field(r.accuracy_best), field(r.accuracy_mean), field(r.nll));
  return text;
}

}  // namespace dissent
