#include "cli/jobs_resolve.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <memory>

#include <dissent/error.hpp>

#include "cli/jobs_settings.hpp"
#include "cli/verb.hpp"
#include "config/read.hpp"
#include "config/resolved.hpp"

namespace dissent::cli {
namespace {

// What the thousands of rows of a sheet have in common: files that were read, schemas.
struct Common {
  std::map<std::string, std::string> sources;
  std::map<std::string, std::unique_ptr<config::DescribedConfig>> configs;
};

config::Document document_of(Common& common, const std::string& verb, const std::string& config,
                             const std::vector<std::string>& overrides) {
  DISSENT_CHECK(!config.empty(), kUsage,
                "config: expected the configuration that `dissent {}` reads, found nothing", verb);
  auto at = common.sources.find(config);
  if (at == common.sources.end())
    at = common.sources.emplace(config, config::read_sources(config)).first;
  return config::load_document(at->second, overrides);
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
    if (seeds.size() > 1) config.set("", "seeds", std::vector<int64_t>{seed});
    out.runs.push_back(fmt::format("{}/{}/seed-{}", output, experiment, seed));
    out.hashes.push_back(seeds.size() > 1 ? config::config_hash(config.schema()) : out.hash);
  }
  if (images) return;
  for (const char* key : {"train", "validation", "unlabelled"})
    if (const auto path = text_of(config, "data", key); !path.empty()) out.inputs.push_back(path);
}

// What a training leaves in the folder of each run, for rows that come after.
void add_run_files(const config::DescribedConfig& config, bool images,
                   const config::Document& document, jobs::Resolution& out) {
  const bool validates = images ? document.find("validation") != nullptr
                                : !text_of(config, "data", "validation").empty();
  for (const auto& run : out.runs) {
    out.writes.push_back({run, false});
    for (const char* file : {"checkpoint.h5", "config.toml", "provenance.json", "train.csv"})
      out.writes.push_back({run + "/" + file, false});
    if (validates) out.writes.push_back({run + "/best.h5", false});
  }
}

// What the verbs without a configuration write, as far as their options say it.
std::vector<jobs::Written> outputs_of(const std::string& name, const std::string& path,
                                      const std::vector<std::string>& overrides,
                                      std::vector<std::string> arguments) {
  if (name != "tables" && name != "plot" && name != "export" && name != "imglist") return {};
  if (!path.empty()) arguments.insert(arguments.begin(), path);
  auto line = verb(name).line();
  try {
    if (!overrides.empty() || !line.parse(false, arguments)) return {};
  } catch (const Error&) {
    return {};  // the check of the row says it
  }
  std::vector<jobs::Written> out;
  if (name == "plot") {
    const bool folder = line.positional()[0] == "tensorboard";
    for (const auto& file : line.texts("output")) out.push_back({file, folder});
  } else if (const auto file = line.get<std::string>("output"); !file.empty() && file != "-") {
    out.push_back({file, name == "export"});
  }
  return out;
}

}  // namespace

jobs::Resolver job_resolver(
    std::function<config::Description(const std::string& name)> description) {
  const auto common = std::make_shared<Common>();
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
      out.writes = outputs_of(name, path, overrides, arguments);
      return out;
    }
    const auto document = document_of(*common, name, path, overrides);
    const auto schema = schema_name(name, document);
    const bool images = schema == "train-images";
    auto& kept = common->configs[schema];
    if (kept)
      kept->reset();
    else
      kept = std::make_unique<config::DescribedConfig>(description(schema));
    auto& config = *kept;
    config::read(document, config.schema());
    out.hash = config::config_hash(config.schema());
    if (trains) {
      add_runs(config, images, out);
      if (name == "train") add_run_files(config, images, document, out);
    } else {
      out.place = written(document, name + ".output");
      out.writes.push_back({text_of(config, name.c_str(), "output"), name == "evaluate"});
    }
    if (!arguments.empty()) out.hash += "\n" + words;
    return out;
  };
}

}  // namespace dissent::cli
