#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "config/read.hpp"
#include "doctor/checks.hpp"
#include "storage/atomic_file.hpp"
#include "storage/feature_cache.hpp"
#include "storage/node_memory.hpp"
#include "storage/residency.hpp"
#include "train/config/head_config.hpp"
#include "train/config/image_config.hpp"
#include "train/images/image_data.hpp"

namespace dissent::doctor {
namespace {

constexpr const char* kConfigAdvice = "correct the file; `dissent config VERB` prints every key";

// The grid of a training on the ranks of this job.
template <class Config>
GridShape grid_of(const Config& config, const Communicator& world) {
  return resolve_grid(config.grid, world.size(),
                      static_cast<int64_t>(config.experiment.seeds.size()), config.ensemble.members,
                      config.data.batch_size);
}

std::string grid_text(const GridShape& shape) {
  return fmt::format("{} x {} x {} ranks (runs, members, data)", shape.runs, shape.members,
                     shape.data);
}

// Bytes of the sets that a training holds completely in the memory of each node.
int64_t resident_bytes(const CacheDataOptions& data) {
  int64_t bytes = 0;
  for (const auto& path : {data.train, data.validation, data.unlabelled}) {
    if (path.empty()) continue;
    const auto cache = FeatureCache::open(path);
    bytes += HostResidency::bytes(cache, all_rows(cache));
  }
  return bytes;
}

// The ranks of a node share the resident sets through /dev/shm, which has a limit of its own.
int64_t resident_limit(const Communicator& node) {
  const int64_t available = available_memory_bytes();
  return node.size() > 1 ? std::min(available, free_bytes("/dev/shm")) : available;
}

Finding check_training(Communicator& world, const config::Document& document) {
  auto node = world.split_by_node();
  TrainConfig config;
  GridShape shape;
  int64_t bytes = 0, limit = 0;

  // Later steps use what earlier ones have found, and are left out after a failure.
  Steps steps(world);
  steps.run([&] { config = read_train_config(document); });
  steps.run([&] { shape = grid_of(config, world); });
  steps.run([&] {
    if (node->rank() != 0) return;
    bytes = resident_bytes(config.data);
    limit = resident_limit(*node);
  });

  return steps.finding(kConfigAdvice, [&] {
    if (node->rank() != 0) return ok("");

    const std::string text =
        fmt::format("{}: a training on {}, its caches need {} of memory per node", document.name(),
                    grid_text(shape), byte_text(bytes));

    // A warning, not a failure, since the training may run on other nodes.
    return bytes > limit && config.data.residency != Residency::kStream
               ? warning(fmt::format("{}, {} is free", text, byte_text(limit)),
                         "request more memory, or set data.residency = \"stream\" and "
                         "data.chunk_rows")
               : ok(text);
  });
}

// Opens the sets: lists and labels are read, pictures are not.
Finding check_image_training(Communicator& world, const config::Document& document) {
  // In the order in which a training would fail: keys, grid, files.
  ImageTrainConfig config;
  GridShape shape;
  int64_t images = 0;

  Steps steps(world);
  steps.run([&] { config = read_image_train_config(document); });
  steps.run([&] { shape = grid_of(config, world); });
  steps.run([&] { images = open_image_data(config).train.source->rows(); });

  return steps.finding(kConfigAdvice, [&] {
    return ok(fmt::format("{}: a training of {} with {} images on {}", document.name(),
                          config.ensemble.model, images, grid_text(shape)));
  });
}

}  // namespace

Finding check_config(Communicator& world, const config::Document& document,
                     const std::vector<VerbSchema>& verbs) {
  if (trains_images(document)) return check_image_training(world, document);

  // A configuration does not name its verb; a table or key that only one verb has tells it.
  for (const auto& known : verbs) {
    if (!document.find(known.verb) && !document.find(known.key)) continue;
    Steps steps(world);
    steps.run([&] { config::read(document, known.schema()); });
    return steps.finding(kConfigAdvice, [&] {
      return ok(fmt::format("{}: all keys of `dissent {}` are valid", document.name(), known.verb));
    });
  }
  return check_training(world, document);
}

}  // namespace dissent::doctor
