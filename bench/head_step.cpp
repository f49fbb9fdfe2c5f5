// Time of a training step and of evaluation of heads; the same work as bench/peers/head_step.py.
// One JSON object a line.
//   bench_head_step [--threads N] [--only adamw|sgd|all|wave|evaluate] [--device cpu|cuda]
//       [--precision f32|tf32|bf16]; tf32 and bf16 on a GPU
// Under mpirun the members are split over the ranks. On a GPU the steps go through DeviceStepper
// with all rows on the device, and the share of --peak_gb_s (memory bandwidth of the device,
// default that of one H100 SXM, 3,350) is printed that the update's and the products' own bytes
// reach.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "comm/runtime.hpp"
#include "core/parallel.hpp"
#include "core/random.hpp"
#include "objectives.hpp"
#include "train/heads/device_stepper.hpp"
#include "train/heads/host_stepper.hpp"
#include "train/heads/waves.hpp"
#include "where.hpp"

using namespace dissent;

namespace {

constexpr int64_t kDim = 768, kHidden = 3072, kClasses = 1000, kRows = 4096;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Where : bench::Where {
  double peak_gb_s = 3350;
};

struct Work {
  std::string what;
  int64_t members, active, batch;
  OptimizerOptions optimizer;
  ObjectiveOptions objective;
  int64_t look_ahead, warm_up, steps;
};

ObjectiveOptions a2d_hard() { return testing::sed_objective(0.5, 0.5, 2.5); }

void report(Communicator& world, const std::string& what, double milliseconds, double rows_a_second,
            double gflops) {
  if (world.rank() != 0) return;
  std::printf(
      "{\"bench\": \"head_step\", \"peer\": \"dissent\", \"what\": \"%s\", \"ranks\": %d, "
      "\"threads\": %d, \"ms\": %.3f, \"rows_per_s\": %.0f, \"gflops\": %.1f}\n",
      what.c_str(), world.size(), threads(), milliseconds, rows_a_second, gflops);
  std::fflush(stdout);
}

// Median over five windows of the time of a step.
void time_steps(Communicator& world, const Work& work, const Where& where) {
  Grid grid(world, {1, world.size(), 1});
  std::shared_ptr<const Head> head = make_head("block_head", kDim, kHidden, kClasses);
  auto members = make_members(head, work.members, part_of(work.members, world.size(), world.rank()),
                              1, at::kFloat, where.device);
  Optimizer optimizer(work.optimizer, members.values);
  std::unique_ptr<WaveStepper> stepper;
  if (where.device.is_cpu()) {
    stepper =
        std::make_unique<HostStepper>(members, optimizer, work.objective, StepperOptions{}, grid);
  } else {
    stepper = std::make_unique<DeviceStepper>(members, optimizer, work.objective,
                                              DeviceStepperOptions{.compute = where.compute}, grid);
  }
  const auto x = at::randn({kRows, kDim}).to(where.device);
  const auto labels = at::randint(kClasses, {kRows}, at::kLong).to(where.device);
  const int64_t windows = 5, total = work.warm_up + windows * work.steps;
  const EpochPlan plan({.seed = 1,
                        .rows_per_pass = kRows,
                        .passes = 1,
                        .batch_size = work.batch,
                        .unlabelled_rows = 0,
                        .members = work.members,
                        .active = work.active,
                        .round_robin = false},
                       0);
  std::vector<double> times;
  int64_t done = 0;
  while (done < total) {
    const int64_t count = done < work.warm_up ? work.warm_up : work.steps;
    std::vector<Step> steps;
    for (int64_t s = 0; s < count; ++s) {
      steps.push_back(plan.step(s % plan.steps()));
      steps.back().active =
          Random(1, Purpose::kActive, 1, done + s).choose(work.members, work.active);
    }
    world.barrier();
    const auto start = Clock::now();
    for (const auto& wave : make_waves(steps, work.look_ahead)) {
      std::vector<StepInput> inputs;
      for (const int64_t s : wave) {
        const auto rows = to_device(at::tensor(steps[s].rows, at::kLong), where.device);
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
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  // Forward, input gradient and weight gradient are the same products.
  const double flops = 3.0 * static_cast<double>(head->forward_flops() * work.batch * work.active);
  report(world, work.what, median * 1e3, static_cast<double>(work.batch) / median,
         flops / median * 1e-9);
  if (where.device.is_cpu() || world.rank() != 0) return;
  // Parameters are read by the products (twice: forward, input gradient), their gradient is written
  // and read, values and state are read and written.
  const double states = work.optimizer.kind == OptimizerKind::kSgd ? 1 : 2,
               width = where.compute == at::kFloat ? 4 : 2;
  const double bytes = static_cast<double>(head->layout().parameter_count() * work.active) *
                       (2 * width + 4 * (2 + 2 + 2 * states));
  std::printf(
      "{\"bench\": \"head_step\", \"peer\": \"dissent\", \"what\": \"%s\", \"gb_s\": %.0f, "
      "\"share_of_peak\": %.3f}\n",
      work.what.c_str(), bytes / median * 1e-9, bytes / median * 1e-9 / where.peak_gb_s);
}

// The products of the forward pass alone, and the whole of it, in blocks of 1024 rows.
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
    const auto start = Clock::now();
    for (int64_t first = 0; first < rows; first += block)
      parallel_tasks(members, [&](int64_t m) { member_block(m, std::min(block, rows - first)); });
    const double seconds = seconds_since(start);
    report(world, what, seconds * 1e3, static_cast<double>(rows) / seconds,
           static_cast<double>(head->forward_flops() * rows * members) / seconds * 1e-9);
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

void run(Runtime& runtime, int argc, char** argv) {
  int count = runtime.default_threads();
  std::string only, device = "cpu", precision = "f32";
  Where where;
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--threads") == 0) count = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--only") == 0) only = argv[i + 1];
    if (std::strcmp(argv[i], "--device") == 0) device = argv[i + 1];
    if (std::strcmp(argv[i], "--precision") == 0) precision = argv[i + 1];
    if (std::strcmp(argv[i], "--peak_gb_s") == 0) where.peak_gb_s = std::atof(argv[i + 1]);
  }
  set_threads(count);
  auto& world = runtime.world();
  static_cast<bench::Where&>(where) =
      bench::where(world, device, precision, {"f32"}, {"f32", "tf32", "bf16"});
  const OptimizerOptions adamw{
      .kind = OptimizerKind::kAdamW, .learning_rate = 1e-3, .weight_decay = 0.1};
  const OptimizerOptions sgd{
      .kind = OptimizerKind::kSgd, .learning_rate = 1e-3, .weight_decay = 1e-4, .momentum = 0.9};
  const ObjectiveOptions cross_entropy{.terms = {testing::cross_entropy_term()}};
  const auto wanted = [&](const char* name) { return only.empty() || only == name; };
  if (wanted("adamw"))
    time_steps(world,
               {"step 5 members 2 active batch 32 adamw", 5, 2, 32, adamw, a2d_hard(), 1, 20, 40},
               where);
  if (wanted("sgd"))
    time_steps(world,
               {"step 50 members 2 active batch 16 sgd", 50, 2, 16, sgd, cross_entropy, 1, 120, 40},
               where);
  if (wanted("all"))
    time_steps(world,
               {"step 6 members all active batch 32 adamw", 6, 6, 32, adamw, a2d_hard(), 1, 10, 12},
               where);
  if (wanted("wave"))
    time_steps(world,
               {"step 50 members 2 active batch 16 sgd, waves", 50, 2, 16, sgd, cross_entropy, 64,
                128, 128},
               where);
  if (wanted("evaluate") && world.size() == 1 && where.device.is_cpu()) time_evaluation(world);
}

}  // namespace

int main(int argc, char** argv) {
  Runtime runtime(argc, argv);
  return bench::run("bench_head_step", [&] { run(runtime, argc, argv); });
}
