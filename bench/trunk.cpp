// Time of the network of `dissent cache`: images [32, 3, 224, 224] to DeiT-3 Base's class token
// behind the last attention. bench/peers/trunk.py does the same work. A batch is split over the
// threads, as trunk_source.cpp does with trunk.batch_size = batch / threads.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/parallel.hpp"
#include "device.hpp"
#include "harness.hpp"
#include "models/trunk/image_trunk.hpp"

using namespace dissent;

namespace {

void time_trunk(const TrunkOptions& options, at::Device device, int64_t rows, int64_t steps) {
  const ImageTrunk trunk(options, 224, 1, device);
  const int64_t parts = device.is_cpu() ? threads() : 1, rows_per_part = rows / parts;
  const auto x = at::randn({rows, 3, 224, 224});
  auto out = at::empty({rows, trunk.dim()});

  // The first batch is not timed.
  std::vector<double> times;
  for (int64_t s = 0; s <= steps; ++s) {
    const double seconds = bench::seconds_of([&] {
      parallel_tasks(parts, [&](int64_t i) {
        const auto part = x.narrow(0, i * rows_per_part, rows_per_part);
        out.narrow(0, i * rows_per_part, rows_per_part).copy_(trunk.features(part));
      });
    });
    if (s > 0) times.push_back(seconds);
  }

  const double best = *std::min_element(times.begin(), times.end());
  bench::report({.bench = "trunk"}, options.model + " " + precision_name(options.precision),
                best * 1e3, {{"rows", rows}, {"rows_per_s", static_cast<double>(rows) / best}});
}

}  // namespace

int main(int argc, char** argv) {
  TrunkOptions trunk{
      .model = "deit3_base_patch16_224", .weights = "random", .cut = "cls_after_last_attention"};
  int64_t rows = 32, steps = 2;
  bench::DeviceOptions device({"f32", "bf16"}, {"f32", "tf32", "bf16", "f16"});
  bench::Options options("bench_trunk", "Time of the network of `dissent cache`; the best batch.");
  device.declare(options);
  options.text("model", trunk.model, "network")
      .text("cut", trunk.cut, "layer at which the network is cut")
      .number("batch", rows, "images per batch")
      .number("steps", steps, "timed batches");
  return bench::run(options, argc, argv, [&] {
    set_threads(options.threads(2));
    for (const auto& [name, precision] : precision_names())
      if (name == device.precision) trunk.precision = precision;
    const auto world = make_self_communicator();
    time_trunk(trunk, device.choose(*world).device, rows, steps);
  });
}
