#include "cli/jobs_resolve.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>

#include "cli/jobs_settings.hpp"
#include "cli/verb.hpp"
#include "config/read.hpp"
#include "config/resolved.hpp"

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

std::string text_of(const config::DescribedConfig& config, const char* table, const char* key) {
  return std::get<std::string>(config.value(table, key));
}

// Of a training: a run and a hash a seed, and the caches that it reads.
void add_runs(config::DescribedConfig& config, bool images, jobs::Resolution& out) {
  const auto output = text_of(config, "", "output"), experiment = text_of(config, "", "experiment");
  out.place = output;
  const auto seeds = std::get<std::vector<int64_t>>(config.value("", "seeds"));
  for (const int64_t seed : seeds) {
    config.set("", "seeds", std::vector<int64_t>{seed});
    out.runs.push_back(fmt::format("{}/{}/seed-{}", output, experiment, seed));
    out.hashes.push_back(config::config_hash(config.schema()));
  }
  if (images) return;
  for (const char* key : {"train", "validation", "unlabelled"})
    if (const auto path = text_of(config, "data", key); !path.empty()) out.inputs.push_back(path);
}

}  // namespace

jobs::Resolver job_resolver(
    std::function<config::Description(const std::string& name)> description,
    std::function<void(const std::string& verb, const config::Document& document)> check) {
  return [=](const std::string& name, const std::string& path,
             const std::vector<std::string>& overrides,
             const std::vector<std::string>& arguments) -> jobs::Resolution {
    verb(name);  // it exists
    DISSENT_CHECK(name != "jobs" && name != "replay", kUsage, "verb: `dissent {}` is no experiment",
                  name);
    const bool trains = name == "train" || name == "plan";
    const std::string words =
        fmt::format("{}\n{}", fmt::join(overrides, "\n"), fmt::join(arguments, "\n"));
    jobs::Resolution out;
    if (!trains && name != "cache" && name != "evaluate") {
      out.hash = path + "\n" + words;
      return out;
    }
    const auto document = document_of(name, path, overrides);
    if (check) check(name, document);
    const auto schema = schema_name(name, document);
    const bool images = schema == "train-images";
    config::DescribedConfig config(description(schema));
    config::read(document, config.schema());
    out.hash = config::config_hash(config.schema());
    if (trains)
      add_runs(config, images, out);
    else
      out.place = written(document, name + ".output");
    if (!arguments.empty()) out.hash += "\n" + words;
    return out;
  };
}

}  // namespace dissent::cli
