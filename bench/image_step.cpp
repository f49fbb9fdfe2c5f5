// Time of a training step of image ensembles as SDDE trains them; the same work as
// bench/peers/image_step.py. One JSON object a line.
//   bench_image_step [--threads N] [--only lenet|lenet6|resnet18|resnet50] [--device cpu|cuda]
//       [--precision f32|tf32|bf16|f16]; tf32 and f16 on a GPU, and resnet50 unless it is asked for
// Under mpirun the members are split over the ranks.
#include <chrono>
#include <cstdio>
#include <cstring>

#include "comm/runtime.hpp"
#include "core/parallel.hpp"
#include "models/networks/registry.hpp"
#include "train/images/image_stepper.hpp"
#include "where.hpp"

using namespace dissent;

namespace {

using Clock = std::chrono::steady_clock;

struct Work {
  const char *what, *model;
  int64_t members, size, batch, warm_up, steps;
};

// Own batches, cross-entropy, and saliency maps of a common batch: SDDE's loss. Median of the
// steps' times.
void time_steps(Communicator& world, const Work& work, const bench::Where& where) {
  Grid grid(world, {1, world.size(), 1});
  ImageNetworkOptions options;
  std::shared_ptr<const ImageNetwork> network = make_image_network(work.model, options);
  auto members =
      make_image_members(network, work.members, part_of(work.members, world.size(), world.rank()),
                         1, at::kFloat, where.device);
  OptimizerOptions sgd{.kind = OptimizerKind::kSgd,
                       .learning_rate = 0.01,
                       .weight_decay = 5e-4,
                       .momentum = 0.9,
                       .nesterov = true};
  Optimizer optimizer(sgd, members.values);
  ImageObjective objective;
  objective.terms = {{"cross_entropy", {.weight = 1}, {}}, {"gradcam", {.weight = 0.1}, {}}};
  ImageStepper stepper(members, objective, {.compute = where.compute}, grid, nullptr);
  std::vector<double> times;
  at::manual_seed(1);
  const auto images =
      at::randn({work.members, work.batch, 3, work.size, work.size}).to(where.device);
  const auto labels = at::randint(10, {work.members, work.batch}, at::kLong).to(where.device);
  for (int64_t s = 0; s < work.warm_up + work.steps; ++s) {
    ImageStepInput input{.epoch = 0, .batch = s};
    for (int64_t i = 0; i < members.networks(); ++i)
      input.own.push_back({images[members.first + i], labels[members.first + i], work.batch});
    input.diversity = {images[s % work.members], labels[s % work.members], work.batch};
    synchronise(where.device);
    world.barrier();
    const auto start = Clock::now();
    stepper.accumulate(input, 1);
    stepper.update(optimizer, 0.01, Request::kNone);
    synchronise(where.device);  // the update's kernels are under way
    world.barrier();
    if (s >= work.warm_up)
      times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  if (world.rank() != 0) return;
  std::printf(
      "{\"bench\": \"image_step\", \"peer\": \"dissent\", \"what\": \"%s\", \"ranks\": %d, "
      "\"threads\": %d, \"ms\": %.3f, \"rows_per_s\": %.0f}\n",
      work.what, world.size(), threads(), median * 1e3,
      static_cast<double>(work.batch * work.members) / median);
  std::fflush(stdout);
}

void run(Runtime& runtime, int argc, char** argv) {
  int count = runtime.default_threads();
  std::string only, device = "cpu", precision = "f32";
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--threads") == 0) count = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--only") == 0) only = argv[i + 1];
    if (std::strcmp(argv[i], "--device") == 0) device = argv[i + 1];
    if (std::strcmp(argv[i], "--precision") == 0) precision = argv[i + 1];
  }
  set_threads(count);
  const auto where = bench::where(runtime.world(), device, precision, {"f32", "bf16"},
                                  {"f32", "tf32", "bf16", "f16"});
  const bool gpu = where.device.is_cuda();
  std::vector<Work> all = {{"lenet", "lenet", 5, 28, 128, 10, 30},
                           {"lenet6", "lenet", 6, 28, 128, 10, 30},
                           {"resnet18", "resnet18_32x32", 5, 32, 128, gpu ? 5 : 1, gpu ? 15 : 2}};
  if (gpu || only == "resnet50")  // minutes on a CPU
    all.push_back({"resnet50", "resnet50", 5, 224, 32, gpu ? 5 : 1, gpu ? 10 : 1});
  for (const auto& work : all)
    if (only.empty() || only == work.what) time_steps(runtime.world(), work, where);
}

}  // namespace

int main(int argc, char** argv) {
  Runtime runtime(argc, argv);
  return bench::run("bench_image_step", [&] { run(runtime, argc, argv); });
}
