// Time of a training step of image ensembles as SDDE trains them. bench/peers/image_step.py does
// the same work. Under mpirun the members are split over the ranks.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/runtime.hpp"
#include "core/parallel.hpp"
#include "device.hpp"
#include "harness.hpp"
#include "models/networks/registry.hpp"
#include "train/images/image_stepper.hpp"

using namespace dissent;

namespace {

struct Work {
  std::string what, model;
  int64_t members, size, batch, warm_up, steps;
};

// SDDE's loss: cross-entropy of each member on its own batch, and saliency maps of a common batch.
// The median time of a step.
void time_steps(Communicator& world, const Work& work, const bench::Place& place) {
  Grid grid(world, {1, world.size(), 1});
  std::shared_ptr<const ImageNetwork> network =
      make_image_network(work.model, ImageNetworkOptions{});
  auto members =
      make_members(network, work.members, part_of(work.members, world.size(), world.rank()), 1,
                   at::kFloat, place.device);
  const OptimizerOptions sgd{.kind = OptimizerKind::kSgd,
                             .learning_rate = 0.01,
                             .weight_decay = 5e-4,
                             .momentum = 0.9,
                             .nesterov = true};
  Optimizer optimizer(sgd, members.values);
  ImageObjective objective;
  objective.terms = {{"cross_entropy", {.weight = 1}, {}}, {"gradcam", {.weight = 0.1}, {}}};
  ImageStepper stepper(members, objective, {.compute = place.compute}, grid, nullptr);

  // Every rank draws the batches of all members and uses those of its own.
  at::manual_seed(1);
  const auto images =
      at::randn({work.members, work.batch, 3, work.size, work.size}).to(place.device);
  const auto labels = at::randint(10, {work.members, work.batch}, at::kLong).to(place.device);

  std::vector<double> times;
  for (int64_t s = 0; s < work.warm_up + work.steps; ++s) {
    ImageStepInput input{.epoch = 0, .batch = s};
    for (int64_t i = 0; i < members.networks(); ++i)
      input.own.push_back({images[members.first + i], labels[members.first + i], work.batch});
    input.common = {images[s % work.members], labels[s % work.members], work.batch};

    // A GPU computes asynchronously, and ranks are not in step: the clock starts and stops when all
    // of them have finished.
    synchronise(place.device);
    world.barrier();
    const auto start = Clock::now();
    stepper.accumulate(input, 1);
    stepper.update(optimizer, 0.01, Request::kNone);
    synchronise(place.device);
    world.barrier();
    if (s >= work.warm_up) times.push_back(seconds_since(start));
  }

  if (world.rank() != 0) return;
  const double step_s = median(times);
  bench::report({.bench = "image_step", .ranks = world.size()}, work.what, step_s * 1e3,
                {{"rows_per_s", static_cast<double>(work.batch * work.members) / step_s}});
}

// ResNet-50 takes minutes on a CPU, and runs there only if it is named.
std::vector<Work> works(bool gpu, const std::string& only) {
  const std::vector<Work> all = {
      {"lenet", "lenet", 5, 28, 128, 10, 30},
      {"lenet6", "lenet", 6, 28, 128, 10, 30},
      {"resnet18", "resnet18_32x32", 5, 32, 128, gpu ? 5 : 1, gpu ? 15 : 2},
      {"resnet50", "resnet50", 5, 224, 32, gpu ? 5 : 1, gpu ? 10 : 1}};
  std::vector<Work> chosen;
  for (const auto& work : all) {
    const bool by_default = gpu || work.what != "resnet50";
    if (only.empty() ? by_default : only == work.what) chosen.push_back(work);
  }
  return chosen;
}

}  // namespace

int main(int argc, char** argv) {
  std::string only;
  bench::DeviceOptions device({"f32", "bf16"}, {"f32", "tf32", "bf16", "f16"});
  bench::Options options("bench_image_step", "Time of a training step of image ensembles.");
  device.declare(options);
  options.choice("only", only, {"lenet", "lenet6", "resnet18", "resnet50"}, "one network");
  return bench::run(options, argc, argv, [&] {
    Runtime runtime(argc, argv);
    set_threads(options.threads(runtime.default_threads()));
    const auto place = device.choose(runtime.world());
    for (const auto& work : works(place.device.is_cuda(), only))
      time_steps(runtime.world(), work, place);
  });
}
