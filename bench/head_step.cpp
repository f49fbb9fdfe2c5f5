// Time of a training step and of evaluation of heads. bench/peers/head_step.py does the same work.
// Under mpirun the members are split over the ranks. On a GPU the steps go through DeviceStepper
// with all rows on the device, and the memory bandwidth is reported that the bytes of the update
// and of the products reach, with its share of --peak_gb_s (default: one H100 SXM).
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/runtime.hpp"
#include "core/parallel.hpp"
#include "core/random.hpp"
#include "device.hpp"
#include "harness.hpp"
#include "objectives.hpp"
#include "train/heads/device_stepper.hpp"
#include "train/heads/host_stepper.hpp"
#include "train/heads/waves.hpp"

using namespace dissent;

namespace {

constexpr int64_t kDim = 768, kHidden = 3072, kClasses = 1000, kRows = 4096;

struct Work {
  std::string name;  ///< of --only
  std::string what;
  int64_t members, active, batch;
  OptimizerOptions optimizer;
  ObjectiveOptions objective;
  int64_t look_ahead, warm_up, steps;
};

// The five cases of the paper's heads: few members, many members, all active, and many in waves.
std::vector<Work> works() {
  const OptimizerOptions adamw{
      .kind = OptimizerKind::kAdamW, .learning_rate = 1e-3, .weight_decay = 0.1};
  const OptimizerOptions sgd{
      .kind = OptimizerKind::kSgd, .learning_rate = 1e-3, .weight_decay = 1e-4, .momentum = 0.9};
  const auto a2d = testing::sed_objective(0.5, 0.5, 2.5);
  const ObjectiveOptions cross_entropy{.terms = {testing::cross_entropy_term()}};
  return {
      {"adamw", "step 5 members 2 active batch 32 adamw", 5, 2, 32, adamw, a2d, 1, 20, 40},
      {"sgd", "step 50 members 2 active batch 16 sgd", 50, 2, 16, sgd, cross_entropy, 1, 120, 40},
      {"all", "step 6 members all active batch 32 adamw", 6, 6, 32, adamw, a2d, 1, 10, 12},
      {"wave", "step 50 members 2 active batch 16 sgd, waves", 50, 2, 16, sgd, cross_entropy, 64,
       128, 128}};
}

void report(Communicator& world, const std::string& what, double seconds, double rows,
            double flops) {
  if (world.rank() != 0) return;
  bench::report({.bench = "head_step", .ranks = world.size()}, what, seconds * 1e3,
                {{"rows_per_s", rows / seconds}, {"gflops", flops / seconds * 1e-9}});
}

// The CPU's stepper, or the one of a GPU.
std::unique_ptr<WaveStepper> make_stepper(HeadMembers& members, Optimizer& optimizer,
                                          const Work& work, const bench::Place& place, Grid& grid) {
  if (place.device.is_cpu())
    return std::make_unique<HostStepper>(members, optimizer, work.objective, StepperOptions{},
                                         grid);
  return std::make_unique<DeviceStepper>(members, optimizer, work.objective,
                                         DeviceStepperOptions{.compute = place.compute}, grid);
}

// Steps `first` to `first` + `count` - 1, with active members drawn per step.
std::vector<Step> make_steps(const Work& work, const EpochPlan& plan, int64_t first,
                             int64_t count) {
  std::vector<Step> steps;
  for (int64_t s = 0; s < count; ++s) {
    steps.push_back(plan.step(s % plan.steps()));
    steps.back().active =
        Random(1, Purpose::kActive, 1, first + s).choose(work.members, work.active);
  }
  return steps;
}

// Bytes that a step moves at least: the parameters are read by the products twice (forward pass,
// input gradient), their gradient is written and read, values and optimiser state are read and
// written.
double bytes_per_step(const Work& work, const bench::Place& place, int64_t parameters) {
  const double states = work.optimizer.kind == OptimizerKind::kSgd ? 1 : 2,
               width = place.compute == at::kFloat ? 4 : 2;
  return static_cast<double>(parameters * work.active) * (2 * width + 4 * (2 + 2 + 2 * states));
}

// The median time of a step over five windows.
void time_steps(Communicator& world, const Work& work, const bench::Place& place,
                double peak_gb_s) {
  Grid grid(world, {1, world.size(), 1});
  std::shared_ptr<const Head> head = make_head("block_head", kDim, kHidden, kClasses);
  auto members = make_members(head, work.members, part_of(work.members, world.size(), world.rank()),
                              1, at::kFloat, place.device);
  Optimizer optimizer(work.optimizer, members.values);
  const auto stepper = make_stepper(members, optimizer, work, place, grid);

  const auto x = at::randn({kRows, kDim}).to(place.device);
  const auto labels = at::randint(kClasses, {kRows}, at::kLong).to(place.device);
  const EpochPlan plan({.seed = 1,
                        .rows_per_pass = kRows,
                        .passes = 1,
                        .batch_size = work.batch,
                        .unlabelled_rows = 0,
                        .members = work.members,
                        .active = work.active,
                        .round_robin = false},
                       0);

  // As in training, steps are grouped into waves of steps that share no member. The warm-up touches
  // every member, since the first update of one allocates its state.
  const int64_t windows = 5, total = work.warm_up + windows * work.steps;
  std::vector<double> times;
  int64_t done = 0;
  while (done < total) {
    const int64_t count = done < work.warm_up ? work.warm_up : work.steps;
    const auto steps = make_steps(work, plan, done, count);
    world.barrier();
    const auto start = Clock::now();
    for (const auto& wave : make_waves(steps, work.look_ahead)) {
      std::vector<StepInput> inputs;
      for (const int64_t s : wave) {
        const auto rows = to_device(at::tensor(steps[s].rows, at::kLong), place.device);
        StepInput input{&steps[s], 1e-3, {}, labels.index_select(0, rows)};
        if (stepper->takes_part(steps[s])) input.x = x.index_select(0, rows);
        inputs.push_back(input);
      }
      stepper->run(inputs, 0, true);
      stepper->late_results(false);
    }
    stepper->late_results(true);
    world.barrier();
    if (done >= work.warm_up) times.push_back(seconds_since(start) / static_cast<double>(count));
    done += count;
  }

  // Forward pass, input gradient and weight gradient are products of the same size.
  const double step_s = median(times);
  const double flops = 3.0 * static_cast<double>(head->forward_flops() * work.batch * work.active);
  report(world, work.what, step_s, static_cast<double>(work.batch), flops);
  if (place.device.is_cpu() || world.rank() != 0) return;
  const double gb_s = bytes_per_step(work, place, head->layout().parameter_count()) / step_s * 1e-9;
  bench::report_values({.bench = "head_step"}, work.what,
                       {{"gb_s", gb_s}, {"share_of_peak", gb_s / peak_gb_s}});
}

// The products of the forward pass alone, and the whole forward pass, in blocks of 1024 rows.
void time_evaluation(Communicator& world) {
  const int64_t members = 5, rows = 50000, block = 1024;
  std::shared_ptr<const Head> head = make_head("block_head", kDim, kHidden, kClasses);
  const auto stack = make_members(head, members, {0, members}, 1, at::kFloat, at::kCPU);
  const auto x = at::randn({block, kDim}), h = at::randn({block, kHidden});
  auto z = at::empty({members, block, kHidden}), f = at::empty({members, block, kDim}),
       logits = at::empty({members, block, kClasses});
  const auto weight = [&](int64_t m, const char* name) {
    return parameter(stack.member(m), *head->layout().find(name)).t();
  };

  const auto run = [&](const char* what,
                       const std::function<void(int64_t, int64_t)>& member_block) {
    member_block(0, block);
    const double seconds = bench::seconds_of([&] {
      for (int64_t first = 0; first < rows; first += block)
        parallel_tasks(members, [&](int64_t m) { member_block(m, std::min(block, rows - first)); });
    });
    report(world, what, seconds, static_cast<double>(rows),
           static_cast<double>(head->forward_flops() * rows * members));
  };
  run("evaluate products", [&](int64_t m, int64_t n) {
    auto z_m = z[m].narrow(0, 0, n), f_m = f[m].narrow(0, 0, n),
         logits_m = logits[m].narrow(0, 0, n);
    at::mm_out(z_m, x.narrow(0, 0, n), weight(m, "mlp.fc1.weight"));
    at::mm_out(f_m, h.narrow(0, 0, n), weight(m, "mlp.fc2.weight"));
    at::mm_out(logits_m, x.narrow(0, 0, n), weight(m, "head.weight"));
  });
  run("evaluate forward", [&](int64_t m, int64_t n) {
    logits[m].narrow(0, 0, n).copy_(head->forward(stack.member(m), x.narrow(0, 0, n), nullptr));
  });
}

}  // namespace

int main(int argc, char** argv) {
  std::string only;
  double peak_gb_s = 3350;
  bench::DeviceOptions device({"f32"}, {"f32", "tf32", "bf16"});
  bench::Options options("bench_head_step",
                         "Time of a training step and of evaluation of ensembles of heads.");
  device.declare(options);
  options.choice("only", only, {"adamw", "sgd", "all", "wave", "evaluate"}, "one case")
      .number("peak_gb_s", peak_gb_s, "memory bandwidth of the device in GB/s");
  return bench::run(options, argc, argv, [&] {
    Runtime runtime(argc, argv);
    auto& world = runtime.world();
    set_threads(options.threads(runtime.default_threads()));
    const auto place = device.choose(world);
    for (const auto& work : works())
      if (only.empty() || only == work.name) time_steps(world, work, place, peak_gb_s);
    const bool evaluates = world.size() == 1 && place.device.is_cpu();
    if (evaluates && (only.empty() || only == "evaluate")) time_evaluation(world);
  });
}
