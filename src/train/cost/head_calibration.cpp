#include "train/cost/head_calibration.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"
#include "core/random.hpp"
#include "core/timing.hpp"
#include "train/heads/gradient_probe.hpp"
#include "train/heads/head_engine.hpp"
#include "train/heads/host_stepper.hpp"
#include "train/heads/plan_options.hpp"
#include "train/heads/waves.hpp"

namespace dissent {
namespace {

// Of random features, and of each array that memory traffic is measured on: more than the last
// cache holds.
constexpr int64_t kTableBytes = int64_t{64} << 20;
constexpr size_t kProbes = 5;
constexpr int64_t kWarmUpWaves = 2, kLeastWaves = 3;
constexpr int kRateRepetitions = 8;

// One of `size` ranks, alone: zeros stand in for what the others would send.
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
HeadMembers same_members(const HeadRunShape& run, Part part) {
  HeadMembers stack{{run.plan.members, part.first, at::empty({part.count, run.flat()})}, run.head};
  run.head->initialise(stack.values[0], run.plan.seed, 0);
  parallel_tasks(part.count - 1, [&](int64_t i) { stack.values[i + 1].copy_(stack.values[0]); });
  return stack;
}

// Random rows, and the batches of steps from them.
struct Rows {
  explicit Rows(const HeadRunShape& run)
      : x(at::randn({std::max(run.plan.batch_size,
                              std::min(run.train.rows(), kTableBytes / (run.train.dim * 4))),
                     run.train.dim})),
        labels(at::randint(run.train.classes, {x.size(0)}, at::kLong)) {}
  // takes_part: the rank has a member of the step; others of a wave have no rows.
  StepInput input(const Step& step, const GridShape& grid, double rate, bool takes_part) const {
    StepInput input{&step, rate, {}, {}};
    if (!takes_part) return input;

    // The plan's rows may be more than were made: they are taken modulo their number, which keeps
    // the scattered access of a real step.
    const auto rows = at::tensor(step.rows, at::kLong).remainder(x.size(0));
    input.labels = labels.index_select(0, rows);
    input.x = x.index_select(0, rows.narrow(0, 0, part_of(rows.size(0), grid.data, 0).count));

    const auto extra = static_cast<int64_t>(step.unlabelled_rows.size());
    if (extra > 0) input.x = at::cat({input.x, x.narrow(0, 0, part_of(extra, grid.data, 0).count)});
    return input;
  }
  at::Tensor x, labels;
};

// Runs the waves of these steps on one rank.
class WaveTimer {
 public:
  WaveTimer(HostStepper& stepper, const std::vector<Step>& steps, const HeadRunShape& run,
            const GridShape& grid, const HeadMembers& members)
      : stepper_(stepper), steps_(steps), run_(run), grid_(grid), members_(members), rows_(run) {}

  // Median seconds of a wave by its pairs, from waves over about `seconds`; begins again where the
  // steps end.
  std::map<int64_t, double> measure(double rate, bool update, double seconds) {
    // The time is a limit for the whole measurement; a minimum of waves is run in any case, so that
    // slow networks give a value as well.
    std::map<int64_t, std::vector<double>> samples;
    const auto start = Clock::now();
    const auto enough = [&](int64_t waves) {
      return waves >= kWarmUpWaves + kLeastWaves && seconds_since(start) >= seconds;
    };

    int64_t waves = 0;
    for (bool done = false; !done;) {
      WavePlanner planner(steps_, 0, static_cast<int64_t>(steps_.size()), run_.look_ahead);
      for (auto wave = planner.next(); !wave.empty() && !done; wave = planner.next()) {
        // Waves at the start also pay for memory that later ones reuse.
        const auto [pairs, wave_s] = run_wave(wave, rate, update);
        if (waves >= kWarmUpWaves) samples[pairs].push_back(wave_s);
        done = enough(waves);
        ++waves;
      }
    }

    std::map<int64_t, double> medians;
    for (auto& [pairs, times] : samples) medians[pairs] = median(std::move(times));
    return medians;
  }

 private:
  // Pairs of the rank in a wave, and its seconds. Taking the rows is part of the step.
  std::pair<int64_t, double> run_wave(const std::vector<int64_t>& wave, double rate, bool update) {
    const auto start = Clock::now();

    // Every step of the wave is handed over, as in a training: steps without a member of this rank
    // have no rows, and the stepper skips them.
    std::vector<StepInput> inputs;
    int64_t pairs = 0;
    for (const int64_t s : wave) {
      const auto& step = steps_[s];
      inputs.push_back(rows_.input(step, grid_, rate, stepper_.takes_part(step)));
      pairs += std::count_if(step.active.begin(), step.active.end(),
                             [&](int64_t member) { return members_.holds(member); });
    }

    // In the last epoch every loss has its full weight.
    stepper_.run(inputs, std::numeric_limits<int64_t>::max(), update);
    return {pairs, seconds_since(start)};
  }

  HostStepper& stepper_;
  const std::vector<Step>& steps_;
  const HeadRunShape& run_;
  const GridShape& grid_;
  const HeadMembers& members_;
  Rows rows_;
};

// Probes of a few steps that the rank takes part in, one at a time; scaled to those of an epoch.
double time_probes(HostStepper& stepper, const std::vector<Step>& steps, const HeadRunShape& run,
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

// Seconds of a forward pass of all members over a block, from one pass per thread.
double forward_seconds(const HeadRunShape& run, const HeadMembers& members, int64_t block) {
  const int64_t team = std::min<int64_t>(members.count(), threads());
  const auto x = at::randn({block, run.train.dim});
  const auto forward = [&] {
    parallel_tasks(team, [&](int64_t i) { run.head->forward(members.values[i], x, nullptr); });
  };

  // The first pass is a warm-up. With more members than threads, the others are further rounds of
  // the same length.
  forward();
  const auto start = Clock::now();
  forward();
  return seconds_since(start) * static_cast<double>(divide_up(members.count(), team));
}

// Seconds to score the gathered logits of a block, as the first member group does.
double scoring_seconds(const HeadRunShape& run, int64_t block) {
  const auto logits = at::zeros({run.plan.members, block, run.train.classes});

  const auto start = Clock::now();
  const auto mean = logits.mean(0);
  logits.argmax(2).eq(mean.argmax(1)).sum(1);
  at::log_softmax(mean.to(at::kDouble), 1);
  return seconds_since(start);
}

// A block of rows is validated and scaled to the set.
double time_validation(const HeadRunShape& run, const GridShape& grid, const HeadMembers& members) {
  const int64_t block = validation_block_rows(run.plan.members, run.train.classes);

  double seconds = forward_seconds(run, members, block);
  seconds += scoring_seconds(run, block);
  return seconds * static_cast<double>(run.validation->rows_per_pass) /
         static_cast<double>(block * grid.data);
}

// Least squares through the measured seconds by pairs, not below 0.
std::function<double(int64_t)> seconds_by_pairs(const std::map<int64_t, double>& measured) {
  //   seconds = start + slope pairs,  slope = (n xy - x y) / (n xx - x^2)
  double n = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (const auto& [pairs, seconds] : measured) {
    const auto p = static_cast<double>(pairs);
    n += 1;
    x += p;
    y += seconds;
    xx += p * p;
    xy += p * seconds;
  }

  // One measured point gives a line through the origin, none gives 0.
  const double spread = n * xx - x * x;
  double slope = 0, start = 0;
  if (spread > 0) {
    slope = (n * xy - x * y) / spread;
    start = (y - slope * x) / n;
  } else if (x > 0) {
    slope = y / x;
  }

  // A measured value is better than the line: the time jumps where the pairs exceed the threads.
  return [measured, slope, start](int64_t pairs) {
    const auto found = measured.find(pairs);
    if (found != measured.end()) return found->second;
    return std::max(0.0, start + slope * static_cast<double>(pairs));
  };
}

// Columns of the table in which ranks add up what they measured. There is one row by pairs, and a
// last one whose columns are sums and counts of plan_s, validation_s and probe_s.
enum MergeColumn : int64_t { kWaveSum = 0, kFrozenSum = 2, kProbeSum = 4, kMergeColumns = 6 };

at::Tensor merge_table(const HeadCalibration& own, int64_t most_pairs) {
  auto table = at::zeros({most_pairs + 2, kMergeColumns}, at::kDouble);
  auto values = table.accessor<double, 2>();

  // Next to each sum its count: a rank has not met every number of pairs.
  const auto put = [&](int64_t row, int64_t column, double value) {
    values[row][column] += value;
    values[row][column + 1] += 1;
  };

  for (const auto& [pairs, seconds] : own.wave_s)
    put(std::min(pairs, most_pairs), kWaveSum, seconds);
  for (const auto& [pairs, seconds] : own.frozen_wave_s)
    put(std::min(pairs, most_pairs), kFrozenSum, seconds);

  // A rank that did not measure leaves all counts at 0.
  if (own.wave_s.empty()) return table;

  put(most_pairs + 1, kWaveSum, own.plan_s);
  put(most_pairs + 1, kFrozenSum, own.validation_s);
  put(most_pairs + 1, kProbeSum, own.probe_s);
  return table;
}

const ParameterEntry& widest_weight(const Head& head) {
  const auto& entries = head.layout().entries();
  const ParameterEntry* widest = &entries[0];
  for (const auto& entry : entries)
    if (entry.shape.size() == 2 && entry.numel > widest->numel) widest = &entry;
  return *widest;
}

// Seconds of work(thread) on all threads: the fastest of several times `repetitions`.
double fastest(int64_t repetitions, const std::function<void(int64_t)>& work) {
  // The fastest, not the mean: other programs can only make a repetition slower.
  double best = 1e9;
  for (int i = 0; i < kRateRepetitions; ++i) {
    const auto start = Clock::now();
    parallel_tasks(threads(), [&](int64_t thread) {
      for (int64_t repetition = 0; repetition < repetitions; ++repetition) work(thread);
    });
    best = std::min(best, seconds_since(start) / static_cast<double>(repetitions));
  }
  return best;
}

double product_rate(int64_t rows, int64_t columns, int64_t inner) {
  // Each thread has a product of its own, as the tasks of a step.
  const int64_t team = threads();
  const auto x = at::randn({team, rows, inner}), weight = at::randn({team, columns, inner});

  auto product = at::empty({team, rows, columns});
  const double flops = 2.0 * static_cast<double>(team * rows * columns * inner);

  // About 0.4 GFLOP per thread and repetition: long compared to the start of the threads.
  const auto repetitions = static_cast<int64_t>(4e8 * static_cast<double>(team) / flops);
  return flops / fastest(std::clamp<int64_t>(repetitions, 1, 10000), [&](int64_t thread) {
           auto out = product[thread];
           at::mm_out(out, x[thread], weight[thread].t());
         });
}

// a += b: two arrays are read, one is written.
double traffic_rate() {
  const int64_t team = threads(), part = kTableBytes / kFloatBytes;
  auto a = at::zeros({team, part});
  const auto b = at::ones({team, part});
  const double bytes = 3.0 * static_cast<double>(team * part * kFloatBytes);
  return bytes / fastest(1, [&](int64_t thread) { a[thread].add_(b[thread]); });
}

}  // namespace

HeadCalibration calibrate_heads(const TrainConfig& config, const HeadRunShape& run,
                                const GridShape& shape, int64_t member_part, double seconds) {
  HeadCalibration calibration;
  const auto start = Clock::now();
  const EpochPlan plan(run.plan, 0);
  std::vector<Step> steps;
  for (int64_t s = 0; s < plan.steps(); ++s) steps.push_back(plan.step(s));
  calibration.plan_s = seconds_since(start);

  // The objects of a training, with this rank's members and stand-ins for the other ranks.
  Grid grid = stand_in_grid(shape, member_part);
  auto members = same_members(run, part_of(run.plan.members, shape.members, member_part));
  Optimizer optimizer(config.optimizer, members.values);
  HostStepper stepper(members, optimizer, objective_options(config), head_step_options(config),
                      grid);

  // Validation comes first, on initial weights: updates at a fixed rate may diverge.
  if (run.validation) calibration.validation_s = time_validation(run, shape, members);
  WaveTimer timer(stepper, steps, run, shape, members);

  const double rate = config.optimizer.learning_rate;
  if (run.frozen_first_epoch)
    calibration.frozen_wave_s = timer.measure(rate, /*update=*/false, seconds / 4);
  calibration.wave_s = timer.measure(rate, /*update=*/true, seconds);
  if (run.gradient_samples > 0) calibration.probe_s = time_probes(stepper, steps, run, shape);
  return calibration;
}

HeadCalibration merge(Communicator& comm, const HeadCalibration& own, int64_t most_pairs) {
  auto table = merge_table(own, most_pairs);
  comm.all_reduce(table, ReduceOp::kSum);

  const auto values = table.accessor<double, 2>();
  const auto mean = [&](int64_t row, int64_t column) {
    return values[row][column] / values[row][column + 1];
  };

  // Means over the ranks that have met this number of pairs.
  HeadCalibration merged;
  for (int64_t pairs = 0; pairs <= most_pairs; ++pairs) {
    if (values[pairs][kWaveSum + 1] > 0) merged.wave_s[pairs] = mean(pairs, kWaveSum);
    if (values[pairs][kFrozenSum + 1] > 0) merged.frozen_wave_s[pairs] = mean(pairs, kFrozenSum);
  }

  // The last row holds what does not depend on the pairs. It is empty if no rank has measured.
  const int64_t last = most_pairs + 1;
  if (values[last][kWaveSum + 1] == 0) return merged;
  merged.plan_s = mean(last, kWaveSum);
  merged.validation_s = mean(last, kFrozenSum);
  merged.probe_s = mean(last, kProbeSum);
  return merged;
}

HeadRankTimes rank_times(const HeadCalibration& calibration) {
  return {seconds_by_pairs(calibration.wave_s), seconds_by_pairs(calibration.frozen_wave_s),
          calibration.plan_s, calibration.probe_s, calibration.validation_s};
}

MachineRates machine_rates(const HeadRunShape& run, const GridShape& grid) {
  const auto& widest = widest_weight(*run.head);
  const int64_t rows = std::max<int64_t>(1, run.rows_per_step() / grid.data),
                columns = std::min<int64_t>(512, widest.shape[0]);

  // The products of the widest layer stand for all: the head spends most of its time there.
  const double flops_per_second = product_rate(rows, columns, widest.shape[1]);
  return {flops_per_second, traffic_rate()};
}

}  // namespace dissent
