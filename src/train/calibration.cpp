#include "train/calibration.hpp"

#include <chrono>

#include "core/parallel.hpp"
#include "core/random.hpp"
#include "core/timing.hpp"
#include "train/gradient_probe.hpp"
#include "train/stepper.hpp"
#include "train/waves.hpp"

namespace dissent {
namespace {

constexpr int64_t kTableBytes = int64_t{64}
                                << 20;  // of random features, and of each array that traffic is
                                        // measured on: more than the last cache holds
constexpr size_t kProbes = 5;
constexpr int64_t kWarmUp = 2, kLeastWaves = 3;

// One of `size` ranks, alone: what the others would send is zeros.
class StandIn final : public Communicator {
 public:
  StandIn(int64_t rank, int64_t size)
      : rank_(static_cast<int>(rank)), size_(static_cast<int>(size)) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Backend backend() const override { return Backend::kSelf; }
  void all_reduce(at::Tensor&, ReduceOp) override {}
  at::Tensor all_gather(const at::Tensor& local, std::span<const int64_t> counts) override {
    int64_t total = 0, offset = 0;
    for (int r = 0; r < size_; ++r) {
      if (r == rank_) offset = total;
      total += counts[r];
    }
    auto all = at::zeros({total}, local.options());
    all.narrow(0, offset, local.numel()).copy_(local);
    return all;
  }
  void broadcast(at::Tensor&, int) override {}
  void barrier() override {}
  std::unique_ptr<Communicator> split(int, int) override {
    DISSENT_FAIL(kInternal, "a stand-in cannot be split");
  }
  std::unique_ptr<Communicator> split_by_node() override {
    DISSENT_FAIL(kInternal, "a stand-in cannot be split");
  }

 private:
  int rank_, size_;
};

// The grid of one run as that rank sees it.
Grid stand_in_grid(const GridShape& shape, int64_t member_part) {
  auto self = make_self_communicator();
  Grid grid(*self, {});
  grid.shape = {1, shape.members, shape.data};
  grid.member_part = member_part;
  grid.run = std::make_unique<StandIn>(member_part * shape.data, shape.members * shape.data);
  grid.data = std::make_unique<StandIn>(0, shape.data);
  grid.members = std::make_unique<StandIn>(member_part, shape.members);
  return grid;
}

// As make_members, but the draws of one member serve for all: they take longer than the
// measurement.
MemberStack same_members(const RunShape& run, Part part) {
  MemberStack stack{run.head, run.plan.members, part.first, at::empty({part.count, run.flat()})};
  run.head->initialise(stack.values[0], run.plan.seed, 0);
  parallel_tasks(part.count - 1, [&](int64_t i) { stack.values[i + 1].copy_(stack.values[0]); });
  return stack;
}

// Random rows, and the batches of steps from them.
struct Rows {
  explicit Rows(const RunShape& run)
      : x(at::randn({std::max(run.plan.batch_size,
                              std::min(run.train.rows(), kTableBytes / (run.train.dim * 4))),
                     run.train.dim})),
        labels(at::randint(run.train.classes, {x.size(0)}, at::kLong)) {}
  StepInput input(const Step& step, const GridShape& grid, double rate, bool wanted) const {
    StepInput input{&step, rate, {}, {}};
    if (!wanted) return input;
    const auto rows = at::tensor(step.rows, at::kLong).remainder(x.size(0));
    input.labels = labels.index_select(0, rows);
    input.x = x.index_select(0, rows.narrow(0, 0, part_of(rows.size(0), grid.data, 0).count));
    const auto extra = static_cast<int64_t>(step.unlabelled_rows.size());
    if (extra > 0) input.x = at::cat({input.x, x.narrow(0, 0, part_of(extra, grid.data, 0).count)});
    return input;
  }
  at::Tensor x, labels;
};

// Waves until the time is over, round and round the steps; median by pairs.
std::map<int64_t, double> time_waves(Stepper& stepper, const std::vector<Step>& steps,
                                     const RunShape& run, const GridShape& grid,
                                     const MemberStack& members, double rate, bool update,
                                     double seconds) {
  const Rows rows(run);
  std::map<int64_t, std::vector<double>> samples;
  const auto start = Clock::now();
  int64_t done = 0;
  while (true) {
    WavePlanner planner(steps, 0, static_cast<int64_t>(steps.size()), run.look_ahead);
    for (auto wave = planner.next(); !wave.empty(); wave = planner.next(), ++done) {
      const auto wave_start = Clock::now();
      std::vector<StepInput> inputs;
      int64_t pairs = 0;
      for (const int64_t s : wave) {
        inputs.push_back(rows.input(steps[s], grid, rate, stepper.takes_part(steps[s])));
        pairs += std::count_if(steps[s].active.begin(), steps[s].active.end(),
                               [&](int64_t member) { return members.holds(member); });
      }
      stepper.run(inputs, std::numeric_limits<int64_t>::max(), update);
      if (done >= kWarmUp) samples[pairs].push_back(seconds_since(wave_start));
      if (done < kWarmUp + kLeastWaves || seconds_since(start) < seconds) continue;
      std::map<int64_t, double> medians;
      for (auto& [count, times] : samples) medians[count] = median(std::move(times));
      return medians;
    }
  }
}

// Probes of a few steps that the rank takes part in, one at a time; scaled to those of an epoch.
double time_probes(Stepper& stepper, const std::vector<Step>& steps, const RunShape& run,
                   const GridShape& grid) {
  const Rows rows(run);
  const auto probed = probed_steps(steps, run.plan.members, run.gradient_samples);
  std::vector<double> times;
  for (const int64_t s : probed) {
    if (!stepper.takes_part(steps[s])) continue;
    const auto start = Clock::now();
    stepper.probe({rows.input(steps[s], grid, 0, true)}, std::numeric_limits<int64_t>::max());
    times.push_back(seconds_since(start));
    if (times.size() == kProbes) break;
  }
  return times.empty() ? 0 : median(std::move(times)) * static_cast<double>(probed.size());
}

// Forward of a block of rows by as many members as there are threads, and the figures of the block
// on the first group; scaled to the set.
double time_validation(const RunShape& run, const GridShape& grid, const MemberStack& members) {
  const int64_t block = validation_block(run), team = std::min<int64_t>(members.count(), threads());
  const auto x = at::randn({block, run.train.dim});
  const auto forward = [&] {
    parallel_tasks(team, [&](int64_t i) { run.head->forward(members.values[i], x, nullptr); });
  };
  forward();
  auto start = Clock::now();
  forward();
  double seconds = seconds_since(start) * static_cast<double>((members.count() + team - 1) / team);
  const auto logits = at::zeros({run.plan.members, block, run.train.classes});
  start = Clock::now();
  const auto mean = logits.mean(0);
  logits.argmax(2).eq(mean.argmax(1)).sum(1);
  at::log_softmax(mean.to(at::kDouble), 1);
  seconds += seconds_since(start);
  return seconds * static_cast<double>(run.validation->rows_per_pass) /
         static_cast<double>(block * grid.data);
}

}  // namespace

Calibration calibrate(const TrainConfig& config, const RunShape& run, const GridShape& shape,
                      int64_t member_part, double seconds) {
  Calibration calibration;
  const auto start = Clock::now();
  const EpochPlan plan(run.plan, 0);
  std::vector<Step> steps;
  for (int64_t s = 0; s < plan.steps(); ++s) steps.push_back(plan.step(s));
  calibration.plan_s = seconds_since(start);
  Grid grid = stand_in_grid(shape, member_part);
  auto members = same_members(run, part_of(run.plan.members, shape.members, member_part));
  if (run.validation) calibration.validation_s = time_validation(run, shape, members);
  Optimizer optimizer(config.optimizer, members.values);
  Stepper stepper(members, optimizer, objective_options(config),
                  {.clip_norm = config.training.clip_norm,
                   .skip_not_finite = config.training.on_nan == "skip_step"},
                  grid);
  const double rate = config.optimizer.learning_rate;
  if (run.frozen_first_epoch)
    calibration.frozen_wave_s =
        time_waves(stepper, steps, run, shape, members, rate, false, seconds / 4);
  calibration.wave_s = time_waves(stepper, steps, run, shape, members, rate, true, seconds);
  if (run.gradient_samples > 0) calibration.probe_s = time_probes(stepper, steps, run, shape);
  return calibration;
}

Calibration merge(Communicator& comm, const Calibration& own, int64_t most_pairs) {
  // Rows: by pairs, and one of the other figures; columns: sum and count of wave_s (plan_s), of
  // frozen_wave_s (validation_s), of probe_s in the last row.
  auto table = at::zeros({most_pairs + 2, 6}, at::kDouble);
  auto values = table.accessor<double, 2>();
  const auto put = [&](int64_t row, int64_t column, double value) {
    values[row][column] += value;
    values[row][column + 1] += 1;
  };
  for (const auto& [pairs, seconds] : own.wave_s) put(std::min(pairs, most_pairs), 0, seconds);
  for (const auto& [pairs, seconds] : own.frozen_wave_s)
    put(std::min(pairs, most_pairs), 2, seconds);
  if (!own.wave_s.empty()) {
    put(most_pairs + 1, 0, own.plan_s);
    put(most_pairs + 1, 2, own.validation_s);
    put(most_pairs + 1, 4, own.probe_s);
  }
  comm.all_reduce(table, ReduceOp::kSum);
  Calibration merged;
  for (int64_t pairs = 0; pairs <= most_pairs; ++pairs) {
    if (values[pairs][1] > 0) merged.wave_s[pairs] = values[pairs][0] / values[pairs][1];
    if (values[pairs][3] > 0) merged.frozen_wave_s[pairs] = values[pairs][2] / values[pairs][3];
  }
  const auto last = values[most_pairs + 1];
  if (last[1] > 0) {
    merged.plan_s = last[0] / last[1];
    merged.validation_s = last[2] / last[3];
    merged.probe_s = last[4] / last[5];
  }
  return merged;
}

RankTimes rank_times(const Calibration& calibration) {
  const auto function = [](const std::map<int64_t, double>& measured) {
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;
    for (const auto& [pairs, seconds] : measured) {
      const auto p = static_cast<double>(pairs);
      n += 1, x += p, y += seconds, xx += p * p, xy += p * seconds;
    }
    const double spread = n * xx - x * x,
                 slope = spread > 0 ? (n * xy - x * y) / spread
                         : x > 0    ? y / x
                                    : 0,
                 start = n > 0 && spread > 0 ? (y - slope * x) / n : 0;
    return [measured, slope, start](int64_t pairs) {
      const auto at = measured.find(pairs);
      return at != measured.end() ? at->second
                                  : std::max(0.0, start + slope * static_cast<double>(pairs));
    };
  };
  return {function(calibration.wave_s), function(calibration.frozen_wave_s), calibration.plan_s,
          calibration.probe_s, calibration.validation_s};
}

MachineRates machine_rates(const RunShape& run, const GridShape& grid) {
  const ParameterEntry* widest = &run.head->layout().entries()[0];
  for (const auto& entry : run.head->layout().entries())
    if (entry.shape.size() == 2 && entry.numel > widest->numel) widest = &entry;
  const int64_t rows = std::max<int64_t>(1, run.rows_a_step() / grid.data),
                columns = std::min<int64_t>(512, widest->shape[0]), team = threads(),
                part = kTableBytes / 4;
  const auto x = at::randn({team, rows, widest->shape[1]}),
             weight = at::randn({team, columns, widest->shape[1]});
  auto product = at::empty({team, rows, columns}), a = at::zeros({team, part});
  const auto b = at::ones({team, part});
  const auto fastest = [&](int64_t repetitions, const std::function<void(int64_t)>& work) {
    double best = 1e9;
    for (int repetition = 0; repetition < 8; ++repetition) {
      const auto start = Clock::now();
      parallel_tasks(team, [&](int64_t thread) {
        for (int64_t i = 0; i < repetitions; ++i) work(thread);
      });
      best = std::min(best, seconds_since(start) / static_cast<double>(repetitions));
    }
    return best;
  };
  const double flops = 2.0 * static_cast<double>(team * rows * columns * widest->shape[1]);
  const int64_t repetitions =
      std::clamp<int64_t>(static_cast<int64_t>(4e8 * static_cast<double>(team) / flops), 1, 10000);
  const double product_s = fastest(repetitions, [&](int64_t thread) {
    auto out = product[thread];
    at::mm_out(out, x[thread], weight[thread].t());
  });
  const double traffic_s = fastest(1, [&](int64_t thread) { a[thread].add_(b[thread]); });
  return {flops / product_s, 3.0 * static_cast<double>(team * part * 4) / traffic_s};
}

MessageCost message_cost(Communicator& world) {
  MessageCost cost;
  if (world.size() < 2) return cost;
  const auto ranks = static_cast<int64_t>(world.size());
  const auto fastest = [&](int64_t values) {
    const std::vector<int64_t> counts(ranks, std::max<int64_t>(1, values / ranks));
    const auto local = at::zeros({counts[0]});
    double best = 1e9;
    for (int repetition = 0; repetition < 20; ++repetition) {
      world.barrier();
      const auto start = Clock::now();
      world.all_gather(local, counts);
      best = std::min(best, seconds_since(start));
    }
    auto slowest = at::full({1}, best, at::kDouble);
    world.all_reduce(slowest, ReduceOp::kMax);
    return slowest.item<double>();
  };
  const double small = fastest(1), large = fastest(int64_t{1} << 20),
               received =
                   static_cast<double>(int64_t{4} << 20) * (1 - 1 / static_cast<double>(ranks));
  cost.latency_s = small / static_cast<double>(ranks - 1);
  cost.bytes_per_second = received / std::max(large - small, 1e-9);
  return cost;
}

}  // namespace dissent
