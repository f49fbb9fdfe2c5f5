#include "cli/schemas.hpp"
#include "cli/verb.hpp"
#include "config/read.hpp"
#include "config/resolved.hpp"
#include "core/progress_bar.hpp"
#include "data/feature_source.hpp"
#include "data/options.hpp"
#include "storage/cache_writer.hpp"
#include "train/options.hpp"

namespace dissent::cli {
namespace {

namespace po = boost::program_options;

struct CacheConfig {
  CacheOptions cache;
  TrunkOptions trunk;
  ImageDataOptions data;
  RuntimeOptions runtime;
};

config::Schema cache_schema_of(CacheConfig& c) {
  config::Schema schema;
  schema.table(cache_table(), c.cache).table(trunk_table(), c.trunk).table(image_data_table(), c.data).table(runtime_table(), c.runtime);
  return schema;
}

CacheSpec cache_spec(CacheConfig& config, const FeatureSource& source) {
  const auto schema = cache_schema_of(config);
  return {.dim = source.dim,
          .dtype = dtype_from_name(config.cache.dtype, "cache.dtype"),
          .passes = config.cache.passes,
          .rows_per_pass = source.rows,
          .classes = config.data.labels ? source.classes : 0,
          .shard_rows = config.cache.shard_rows,
          .source = source.name,
          .trunk = config.trunk.model,
          .weights = "",
          .transform = "none",
          .configuration = config::to_toml(schema),
          .configuration_hash = config::config_hash(schema)};
}

void write_shards(CacheWriter& writer, const CacheConfig& config, const FeatureSource& source, bool show_progress) {
  ProgressBar progress(config.cache.output, writer.shard_count(), "shards", !show_progress);
  while (const auto part = writer.next_shard()) {
    const auto index = at::arange(part->first_source_row, part->first_source_row + part->count, at::kLong);
    const auto labels = config.data.labels ? source.labels(part->first_source_row, part->count) : at::full({part->count}, -1, at::kLong);
    writer.write_shard(source.features(part->pass, part->first_source_row, part->count), labels, index);
    progress.update(part->shard + 1, "");
  }
  progress.finish();
}

}  // namespace

config::Schema cache_schema() {
  static CacheConfig config;
  return cache_schema_of(config);
}

int run_cache(Runtime& runtime, const std::vector<std::string>& arguments) {
  CommandLine line(verb("cache"), "Turns the image set that CONFIG names into a sharded feature cache; all ranks write. A finished cache of the same configuration is reused,\n"
                   "a stopped one is gone on with. `dissent config cache` prints all keys.", "CONFIG", 1);
  line.add()("set", po::value<std::vector<std::string>>()->composing()->default_value({}, ""), "table.key=value, over the file's; may be repeated")(
      "force", po::bool_switch(), "write anew whatever cache is there: finished, stopped, damaged, of another configuration")("quiet", po::bool_switch(), "no progress");
  if (!line.parse(runtime, arguments)) return 0;
  const auto document = load_configuration(runtime, line.positional()[0], line.get<std::vector<std::string>>("set"));
  CacheConfig config;
  config::ConfigErrors errors(document);
  config::read(document, cache_schema_of(config), errors);
  if (config.cache.output.empty()) errors.add("cache.output", "expected a folder NAME.cache, found nothing");
  errors.raise();
  apply_runtime(runtime, config.runtime.threads, config.runtime.timeout_s);
  auto& world = runtime.world();
  FeatureSource source;
  agree(world, [&] { source = open_source(config.data, config.trunk); });
  auto writer = CacheWriter::open(world, config.cache.output, cache_spec(config, source), line.flag("force"));
  if (writer.state() == CacheWriter::State::kFinished) {
    spdlog::info("event=cache_reused path={} rows={}", config.cache.output, config.cache.passes * source.rows);
    return 0;
  }
  if (writer.state() == CacheWriter::State::kResumed) spdlog::info("event=cache_resumed path={} shards={}/{}", config.cache.output, writer.finished_shards(), writer.shard_count());
  write_shards(writer, config, source, world.rank() == 0 && !line.flag("quiet"));
  writer.finish();
  spdlog::info("event=cache_written path={} rows={} dim={} shards={}", config.cache.output, config.cache.passes * source.rows,
               source.dim, writer.shard_count());
  return 0;
}

}  // namespace dissent::cli
