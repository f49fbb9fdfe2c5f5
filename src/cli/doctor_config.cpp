#include "cli/doctor.hpp"
#include "cli/schemas.hpp"
#include "config/read.hpp"
#include "storage/atomic_file.hpp"
#include "storage/feature_cache.hpp"
#include "storage/node_memory.hpp"
#include "storage/residency.hpp"
#include "train/config/head_config.hpp"
#include "train/images/image_data.hpp"

namespace dissent::cli {
namespace {

constexpr const char* kConfigAdvice = "correct the file; `dissent config VERB` prints every key";

// Bytes of the sets that a training keeps in the memory of a node, whole.
int64_t resident_bytes(const CacheDataOptions& data) {
  int64_t bytes = 0;
  for (const auto& path : {data.train, data.validation, data.unlabelled}) {
    if (path.empty()) continue;
    const auto cache = FeatureCache::open(path);
    bytes += HostResidency::bytes(cache, all_rows(cache));
  }
  return bytes;
}

Finding check_training(Communicator& world, const config::Document& document) {
  auto node = world.split_by_node();
  TrainConfig config;
  GridShape shape;
  int64_t bytes = 0, room = 0;
  Steps steps(world);
  steps.run([&] { config = read_train_config(document); });
  steps.run([&] {
    shape = resolve_grid(config.grid, world.size(),
                         static_cast<int64_t>(config.experiment.seeds.size()),
                         config.ensemble.members, config.data.batch_size);
  });
  steps.run([&] {
    if (node->rank() != 0) return;
    bytes = resident_bytes(config.data);
    room = std::min(available_memory_bytes(),
                    node->size() > 1 ? free_bytes("/dev/shm") : available_memory_bytes());
  });
  return steps.finding(kConfigAdvice, [&] {
    if (node->rank() != 0) return ok("");
    const std::string text = fmt::format(
        "{}: a training on {} x {} x {} ranks (runs, members, data), its caches take {} of a "
        "node's memory",
        document.name(), shape.runs, shape.members, shape.data, byte_text(bytes));
    return bytes > room && config.data.residency != Residency::kStream
               ? warning(
                     fmt::format("{}, {} are free", text, byte_text(room)),
                     "ask for more memory, or set data.residency = \"stream\" and data.chunk_rows")
               : ok(text);
  });
}

// The sets are opened: lists and labels are read, pictures are not.
Finding check_image_training(Communicator& world, const config::Document& document) {
  ImageTrainConfig config;
  GridShape shape;
  int64_t images = 0;
  Steps steps(world);
  steps.run([&] { config = read_image_train_config(document); });
  steps.run([&] {
    shape = resolve_grid(config.grid, world.size(),
                         static_cast<int64_t>(config.experiment.seeds.size()),
                         config.ensemble.members, config.data.batch_size);
  });
  steps.run([&] { images = open_image_data(config).train.source->rows(); });
  return steps.finding(kConfigAdvice, [&] {
    return ok(fmt::format(
        "{}: a training of {} on {} images on {} x {} x {} ranks (runs, members, data)",
        document.name(), config.ensemble.model, images, shape.runs, shape.members, shape.data));
  });
}

}  // namespace

Finding check_config(Communicator& world, const config::Document& document) {
  if (trains_images(document)) return check_image_training(world, document);
  for (const auto& [verb, key, schema] : {std::tuple("cache", "data.dataset", &cache_schema),
                                          {"evaluate", "evaluate", &evaluate_schema}}) {
    if (!document.find(verb) && !document.find(key)) continue;
    Steps steps(world);
    steps.run([&, read = schema] { config::read(document, read()); });
    return steps.finding(kConfigAdvice, [&, name = verb] {
      return ok(
          fmt::format("{}: the keys of `dissent {}` are as they should be", document.name(), name));
    });
  }
  return check_training(world, document);
}

}  // namespace dissent::cli
