// Time of the network of `dissent cache`: images [32, 3, 224, 224] to DeiT-3 Base's class token
// behind the last attention; the same work as bench/peers/trunk.py.
//   bench_trunk [--threads N] [--model NAME] [--cut NAME] [--batch ROWS] [--device cpu|cuda]
//       [--precision f32|tf32|bf16|f16] [--steps N]; tf32 and f16 on a GPU
// Batches of 32 rows are split over the threads, as trunk_source.cpp does with trunk.batch_size =
// 32 / threads. One JSON object a line.
#include <chrono>
#include <cstdio>
#include <cstring>

#include "core/parallel.hpp"
#include "models/trunk/image_trunk.hpp"
#include "where.hpp"

using namespace dissent;

namespace {

void run(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  int count = 2, steps = 2;
  int64_t rows = 32;
  std::string device = "cpu", precision = "f32";
  TrunkOptions options{
      .model = "deit3_base_patch16_224", .weights = "random", .cut = "cls_after_last_attention"};
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i], value = argv[i + 1];
    if (key == "--threads") count = std::stoi(value);
    if (key == "--model") options.model = value;
    if (key == "--cut") options.cut = value;
    if (key == "--batch") rows = std::stoi(value);
    if (key == "--device") device = value;
    if (key == "--precision") precision = value;
    if (key == "--steps") steps = std::stoi(value);
  }
  set_threads(count);
  const auto world = make_self_communicator();
  const auto where =
      bench::where(*world, device, precision, {"f32", "bf16"}, {"f32", "tf32", "bf16", "f16"});
  for (const auto& [name, known] : precision_names())
    if (name == precision) options.precision = known;
  const ImageTrunk trunk(options, 224, 1, where.device);
  const int64_t parts = where.device.is_cpu() ? count : 1, each = rows / parts;
  const auto x = at::randn({rows, 3, 224, 224});
  auto out = at::empty({rows, trunk.dim()});
  std::vector<double> times;
  for (int s = 0; s < steps + 1; ++s) {  // the first one warms up
    const auto start = Clock::now();
    parallel_tasks(parts, [&](int64_t i) {
      out.narrow(0, i * each, each).copy_(trunk.features(x.narrow(0, i * each, each)));
    });
    if (s > 0) times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  const double best = *std::min_element(times.begin(), times.end());
  std::printf(
      "{\"bench\": \"trunk\", \"peer\": \"dissent\", \"what\": \"%s %s\", \"threads\": %d, "
      "\"rows\": %ld, \"ms\": %.1f, \"rows_per_s\": %.2f}\n",
      options.model.c_str(), precision.c_str(), count, static_cast<long>(rows), best * 1e3,
      static_cast<double>(rows) / best);
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run("bench_trunk", [&] { run(argc, argv); });
}
