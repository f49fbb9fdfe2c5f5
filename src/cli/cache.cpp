#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "cli/checks.hpp"
#include "cli/compute.hpp"
#include "cli/lock.hpp"
#include "cli/schemas.hpp"
#include "comm/device.hpp"
#include "config/read.hpp"
#include "config/resolved.hpp"
#include "core/progress_bar.hpp"
#include "core/stop.hpp"
#include "data/feature_source.hpp"
#include "models/trunk/image_trunk.hpp"
#include "models/trunk/trunk_source.hpp"
#include "storage/atomic_file.hpp"
#include "storage/cache_writer.hpp"
#include "storage/feature_cache.hpp"
#include "train/config/common_config.hpp"

namespace dissent::cli {
namespace {

constexpr int64_t kPieceRows = 4096;  // between two updates of the progress bar

struct CacheConfig {
  CacheOptions cache;
  TrunkOptions trunk;
  ImageDataOptions data;
  CorruptionOptions corruption;
  RuntimeOptions runtime;
};

config::Schema cache_schema_of(CacheConfig& c) {
  config::Schema schema;
  schema.table(cache_table(), c.cache)
      .table(trunk_table(), c.trunk)
      .table(image_data_table(), c.data);
  schema.table(corruption_options_table("corruption"), c.corruption)
      .table(runtime_table(), c.runtime);
  return schema;
}

CacheSpec cache_spec(CacheConfig config, const FeatureSource& source) {
  const auto schema = cache_schema_of(config);
  return {.dim = source.dim,
          .dtype = config.cache.dtype,
          .passes = config.cache.passes,
          .rows_per_pass = source.rows,
          .classes = config.data.labels ? source.classes : 0,
          .shard_rows = config.cache.shard_rows,
          // What the features were made of: a cache of another origin is not continued.
          .source = source.name,
          .trunk = source.trunk,
          .weights = source.weights,
          .transform = source.transform,
          .configuration = config::to_toml(schema),
          .configuration_hash = config::config_hash(schema)};
}

// Opens the set and the trunk. Collective.
FeatureSource open(Communicator& world, const CacheConfig& config) {
  // Pixels and generated features are computed on the CPU: only a network needs a device.
  auto device = at::Device(at::kCPU);
  if (config.trunk.is_network()) {
    const auto node = world.split_by_node();
    device = choose_device(config.runtime.device, world, *node,
                           device_math(config.trunk.precision, config.runtime.deterministic));
  }

  // Each rank opens its own copy: the set and the weights are read, and a missing file ends all
  // ranks with one message.
  FeatureSource source;
  agree(world, [&] {
    if (!config.trunk.is_network()) {
      source = open_source(config.data, config.trunk.model);
      return;
    }
    source = open_trunk_source(config.data, config.corruption, config.trunk, device);
    spdlog::info("event=trunk name={} weights={} device={}", source.trunk, source.weights,
                 device.str());
  });
  return source;
}

CacheConfig read_cache_config(const config::Document& document) {
  CacheConfig config;
  config::ConfigErrors errors(document);
  config::read(document, cache_schema_of(config), errors);

  // The suffix tells a cache from other folders, for patterns in configurations and for readers.
  const auto& output = config.cache.output;
  if (!output.ends_with(".cache"))
    errors.add("cache.output", fmt::format("expected a folder NAME.cache, found {}",
                                           output.empty() ? "nothing" : toml_text(output)));

  errors.raise();
  return config;
}

// Raises for options that contradict each other.
void check_cache_config(const CacheConfig& config) {
  const bool network = config.trunk.is_network();
  DISSENT_CHECK(!network || config.trunk.precision != ComputePrecision::kTf32 ||
                    config.runtime.device != DeviceChoice::kCpu,
                kUsage, "trunk.precision = {}", needs_gpu_text(config.trunk.precision));

  // Several passes are stored so that a training sees different draws of one image in each epoch.
  // They need something random: a transform that draws, or a synthetic set.
  bool passes_differ = has_no_images(config.data);
  if (network) {
    passes_differ = draws(trunk_transform(config.data, config.corruption, config.trunk));

    DISSENT_CHECK(
        !config.trunk.weights.empty(), kUsage,
        "trunk.weights: expected the weights of {}: a file, a run folder, a checkpoint, or "
        "\"random\"; found nothing",
        config.trunk.model);
  } else {
    DISSENT_CHECK(
        !config.corruption.enabled() && config.trunk.weights.empty(), kUsage,
        "trunk.model: expected a network, since corruption or trunk.weights is set, found \"{}\"",
        config.trunk.model);
    check_source(config.data, config.trunk.model);
  }

  DISSENT_CHECK(
      config.cache.passes == 1 || passes_differ, kUsage,
      "cache.passes: expected 1, found {}: {} is not random, so every pass would be the same",
      config.cache.passes,
      network ? "data.transform = \"" + config.data.transform + "\"" : "trunk.model = \"pixels\"");
}

// Raises for an existing cache of another configuration. CacheWriter checks the same later, when
// the whole specification is known.
void check_cache_place(const CacheConfig& given) {
  auto config = given;
  const auto& path = config.cache.output;
  for (const char* name : {kManifestName, kPartialManifestName}) {
    const auto manifest = path + "/" + name;
    if (!path_exists(manifest)) continue;

    CacheSpec existing;
    try {
      existing = parse_manifest(read_text(manifest), manifest).spec;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kData) throw;
      DISSENT_FAIL(kData, "{}; --force replaces the cache", error.what());
    }

    // Equal hashes: an interrupted or finished cache of this configuration, which is continued or
    // reused.
    const auto schema = cache_schema_of(config);
    if (existing.configuration_hash == config::config_hash(schema)) return;
    DISSENT_FAIL(
        kUsage,
        "{}: expected a cache of this configuration, found another one ({}); choose another name, "
        "or "
        "replace it with --force (in a sheet: column arguments, [\"--force\"])",
        path,
        config::difference(existing.configuration, config::result_toml(schema), schema, manifest));
  }
}

void write_shards(Communicator& world, CacheWriter& writer, const CacheConfig& config,
                  const FeatureSource& source, bool show_progress) {
  const int64_t rows = config.cache.passes * source.rows;
  ProgressBar progress(config.cache.output, rows, "rows", !show_progress);
  while (const auto part = writer.next_shard()) {
    const int64_t before = part->pass * source.rows + part->first_source_row,
                  first = part->first_source_row;

    // Features in pieces: between two of them the writer can be stopped. A signal may reach one
    // rank earlier than another, so it is only noted here and agreed on below.
    std::vector<at::Tensor> pieces{at::empty({0, source.dim})};
    bool stopped = false;
    try {
      for (int64_t done = 0; done < part->count; done += kPieceRows) {
        throw_if_stopped();
        pieces.push_back(
            source.features(part->pass, first + done, std::min(kPieceRows, part->count - done)));
        progress.update(std::min(rows, before + (done + pieces.back().size(0)) * world.size()), "");
      }
    } catch (const Stopped&) {
      stopped = true;
    }

    // Ranks that have finished wait for the slowest one without a timeout; a rank that fails aborts
    // the job.
    const auto stops = [&] {
      const TimeoutScope no_timeout(world, kNoTimeout);
      return all_gather_integer(world, stopped);
    }();
    if (std::find(stops.begin(), stops.end(), 1) != stops.end()) {
      spdlog::info("event=cache_stopped path={} shards={}/{}", config.cache.output,
                   writer.finished_shards(), writer.shard_count());
      throw Stopped();  // on every rank
    }

    // The index of a row is its position in the image set, the same in every pass: it links
    // features to images.
    const auto index = at::arange(first, first + part->count, at::kLong);
    const auto labels = config.data.labels ? source.labels(first, part->count)
                                           : at::full({part->count}, -1, at::kLong);
    writer.write_shard(at::cat(pieces), labels, index);
  }
  progress.update(rows, "");
  progress.finish();
}

// With --again the path to replace has to be a cache, and the new one is written next to it. What
// an earlier call left there may have another configuration or be damaged; it is then deleted.
// Collective.
CacheWriter open_writer(Communicator& world, const std::string& path, const CacheConfig& config,
                        const CacheSpec& spec, bool force, bool again) {
  if (!again) return CacheWriter::open(world, path, spec, force);
  agree(world, [&] {
    const auto& place = config.cache.output;
    DISSENT_CHECK(!path_exists(place) || path_exists(place + "/" + kManifestName) ||
                      path_exists(place + "/" + kPartialManifestName),
                  kUsage,
                  "{}: expected a feature cache, found another file or folder; choose another name",
                  place);
  });

  try {
    // A new cache that an earlier call with --again has begun is continued.
    return CacheWriter::open(world, path, spec, false);
  } catch (const Error& error) {
    if (!error.agreed()) throw;
  }
  return CacheWriter::open(world, path, spec, true);
}

}  // namespace

config::Schema cache_schema() {
  static CacheConfig config;
  return cache_schema_of(config);
}

void check_cache(const CommandLine& line, const config::Document& document, Files& files) {
  const auto config = read_cache_config(document);

  DISSENT_CHECK(
      !line.flag("force") || !line.flag("again"), kUsage,
      "--force, --again: expected one of them, found both (--force replaces the cache at once, "
      "--again when the new one is finished)");

  check_cache_config(config);

  // The files: images, weights, and a cache of that name.
  if (!has_no_images(config.data)) check_images("data", config.data, files);

  // Loading the weights finds files that are missing or do not fit before a job is queued.
  const auto& trunk = config.trunk;
  if (trunk.is_network()) {
    const auto transform = trunk_transform(config.data, config.corruption, trunk);
    const auto load = [&] {
      const ImageTrunk network(trunk, transform.size, static_cast<uint64_t>(config.data.seed),
                               at::kCPU);
    };
    const std::string subject =
        fmt::format("trunk\n{}\n{}\n{}\n{}\n{}\n{}", trunk.model, trunk.weights,
                    trunk.member.value_or(-1), trunk.prefix, trunk.cut, transform.size);
    if (!trunk.has_random_weights()) files.reads("trunk.weights", trunk.weights);

    // f16 needs the GPU of the machine that the row will run on.
    if (trunk.precision == ComputePrecision::kF32)
      files.check_file("trunk.weights", trunk.has_random_weights() ? "" : trunk.weights, subject,
                       load);
  }

  // With these options an existing cache is replaced, whatever it is.
  if (line.flag("force") || line.flag("again")) return;
  files.check_file("cache.output", config.cache.output, "", [&] { check_cache_place(config); });
}

int run_cache(Runtime& runtime, const CommandLine& line) {
  const auto document =
      load_configuration(runtime, line.positional()[0], line.get<std::vector<std::string>>("set"));
  prepare_device(runtime, document);
  const auto config = read_cache_config(document);

  // Checks come before the image set, the device and the weights, which may take minutes to open.
  agree(runtime.world(), [&] {
    Files own;
    check_cache(line, document, own);
    if (!line.flag("force") && !line.flag("again")) check_cache_place(config);
  });
  apply_runtime(runtime, config.runtime.threads, config.runtime.timeout_s);

  // With --again the new cache is written next to the old one.
  auto& world = runtime.world();
  const auto source = open(world, config);
  const bool again = line.flag("again");
  const auto path = again ? again_path(config.cache.output) : config.cache.output;

  // A finished cache is only read, perhaps in a folder that this user cannot write: no lock.
  const bool reads =
      all_gather_integer(world, !line.flag("force") && path_exists(path + "/" + kManifestName))[0];
  auto lock =
      reads ? nullptr : lock_folder(world, path + ".lock", path, "give another cache.output");
  auto writer =
      open_writer(world, path, config, cache_spec(config, source), line.flag("force"), again);

  if (writer.state() == CacheWriter::State::kResumed)
    spdlog::info("event=cache_resumed path={} shards={}/{}", config.cache.output,
                 writer.finished_shards(), writer.shard_count());

  const bool reused = writer.state() == CacheWriter::State::kFinished;
  if (!reused) {
    write_shards(world, writer, config, source, world.rank() == 0 && !line.flag("quiet"));
    writer.finish();
  }

  // The lock's file is in the folder of --again, which is removed when it is empty.
  lock.reset();
  agree(world, [&] {
    if (again && world.rank() == 0) replace_path(path, config.cache.output);
  });

  if (reused)
    spdlog::info("event=cache_reused path={} rows={}", config.cache.output,
                 config.cache.passes * source.rows);
  else
    spdlog::info("event=cache_written path={} rows={} dim={} shards={}", config.cache.output,
                 config.cache.passes * source.rows, source.dim, writer.shard_count());
  return 0;
}

}  // namespace dissent::cli
