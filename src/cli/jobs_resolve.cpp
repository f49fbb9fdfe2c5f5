#include "cli/jobs_resolve.hpp"

#include <filesystem>

#include "cli/schemas.hpp"
#include "cli/verb.hpp"
#include "config/read.hpp"
#include "config/resolved.hpp"
#include "train/image_options.hpp"
#include "train/schema.hpp"

namespace dissent::cli {
namespace {

config::Document document_of(const std::string& verb, const std::string& config,
                             const std::vector<std::string>& overrides) {
  DISSENT_CHECK(!config.empty(), kUsage,
                "config: expected the configuration that `dissent {}` reads, found nothing", verb);
  return config::load_document(config::read_sources(config), overrides);
}

// Value of a key as it is written; "" if it is not.
std::string written(const config::Document& document, const std::string& key) {
  const auto* node = document.find(key);
  const auto* text = node ? std::get_if<std::string>(&node->data) : nullptr;
  return text ? *text : "";
}

template <class Config>
jobs::Resolution resolve_runs(Config config, config::Schema (*schema_of)(Config&),
                              const std::vector<std::string>& inputs) {
  const auto schema = schema_of(config);
  jobs::Resolution out{.hash = config::config_hash(schema),
                       .place = config.experiment.output,
                       .runs = {},
                       .hashes = {},
                       .inputs = {}};
  const auto seeds = config.experiment.seeds;
  for (const int64_t seed : seeds) {
    config.experiment.seeds = {seed};
    out.runs.push_back(
        fmt::format("{}/{}/seed-{}", config.experiment.output, config.experiment.experiment, seed));
    out.hashes.push_back(config::config_hash(schema));
  }
  for (const auto& path : inputs)
    if (!path.empty()) out.inputs.push_back(path);
  return out;
}

jobs::Resolution resolve_train(const config::Document& document) {
  if (trains_images(document))
    return resolve_runs(read_image_train_config(document), image_train_schema, {});
  const auto config = read_train_config(document);
  return resolve_runs(config, train_schema,
                      {config.data.train, config.data.validation, config.data.unlabelled});
}

// place: the key that says where the results go.
jobs::Resolution resolve_with(const config::Document& document, const config::Schema& schema,
                              const std::string& place) {
  config::read(document, schema);
  return {.hash = config::config_hash(schema),
          .place = written(document, place),
          .runs = {},
          .hashes = {},
          .inputs = {}};
}

}  // namespace

jobs::Resolution resolve_job(const std::string& name, const std::string& config,
                             const std::vector<std::string>& overrides,
                             const std::vector<std::string>& arguments) {
  verb(name);  // it exists
  DISSENT_CHECK(name != "jobs" && name != "replay", kUsage, "verb: `dissent {}` is no experiment",
                name);
  const bool configured =
      name == "train" || name == "cache" || name == "evaluate" || name == "plan";
  const std::string words =
      fmt::format("{}\n{}", fmt::join(overrides, "\n"), fmt::join(arguments, "\n"));
  if (!configured)
    return {.hash = config + "\n" + words, .place = "", .runs = {}, .hashes = {}, .inputs = {}};
  const auto document = document_of(name, config, overrides);
  auto out = name == "cache"      ? resolve_with(document, cache_schema(), "cache.output")
             : name == "evaluate" ? resolve_with(document, evaluate_schema(), "evaluate.output")
                                  : resolve_train(document);
  if (!arguments.empty()) out.hash += "\n" + words;
  return out;
}

}  // namespace dissent::cli
