#include "cli/jobs_resolve.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include <dissent/error.hpp>

#include "cli/jobs_settings.hpp"
#include "cli/verb.hpp"
#include "config/read.hpp"
#include "config/resolved.hpp"
#include "storage/run_folder.hpp"

namespace dissent::cli {
namespace {

// What the rows of a sheet share, which may be thousands: files that were read, schemas.
struct Common {
  std::map<std::string, std::string> sources;
  std::map<std::string, std::unique_ptr<config::DescribedConfig>> configs;
};

config::Document document_of(Common& common, const std::string& verb, const std::string& config,
                             const std::vector<std::string>& overrides) {
  DISSENT_CHECK(!config.empty(), kUsage,
                "config: expected the configuration of `dissent {}`, found an empty cell", verb);

  // A file is read once for all rows, which also makes them consistent while someone edits it.
  auto at = common.sources.find(config);
  if (at == common.sources.end())
    at = common.sources.emplace(config, config::read_sources(config)).first;
  return config::load_document(at->second, overrides);
}

// The text of a key in the document; "" if the document does not have it.
std::string written(const config::Document& document, const std::string& key) {
  const auto* node = document.find(key);
  const auto* text = node ? std::get_if<std::string>(&node->data) : nullptr;
  return text ? *text : "";
}

std::string text_of(const config::DescribedConfig& config, const char* table, const char* key) {
  return std::get<std::string>(config.value(table, key));
}

// For a training: one run and one hash per seed, and the caches that it reads.
void add_runs(config::DescribedConfig& config, bool images, jobs::Resolution& out) {
  const auto output = text_of(config, "", "output"), experiment = text_of(config, "", "experiment");
  out.place = output;

  const auto seeds = std::get<std::vector<int64_t>>(config.value("", "seeds"));
  for (const int64_t seed : seeds) {
    // A run has the hash of a configuration with its seed alone.
    if (seeds.size() > 1) config.set("", "seeds", std::vector<int64_t>{seed});
    out.runs.push_back(fmt::format("{}/{}/seed-{}", output, experiment, seed));
    out.hashes.push_back(seeds.size() > 1 ? config::config_hash(config.schema()) : out.hash);
  }

  // Images are read once per epoch from where they are; caches are worth a copy on the node.
  if (images) return;
  for (const char* key : {"train", "validation", "unlabelled"})
    if (const auto path = text_of(config, "data", key); !path.empty()) out.inputs.push_back(path);
}

// The files that a training writes to the folder of each run, which later rows may read.
void add_run_files(const config::DescribedConfig& config, bool images,
                   const config::Document& document, jobs::Resolution& out) {
  // best.h5 is written only if there is a validation set to choose by.
  const bool validates = images ? document.find("validation") != nullptr
                                : !text_of(config, "data", "validation").empty();
  for (const auto& run : out.runs) {
    out.writes.push_back({run, false});
    for (const char* file : {kCheckpointFile, kConfigFile, kProvenanceFile, kTrainLogFile})
      out.writes.push_back({run + "/" + file, false});
    if (validates) out.writes.push_back({run + "/" + kBestFile, false});
  }
}

// What the verbs without a configuration write, as far as their options tell.
std::vector<jobs::Written> outputs_of(const std::string& name, const std::string& path,
                                      const std::vector<std::string>& overrides,
                                      std::vector<std::string> arguments) {
  // Only what is certain: a result that is missing here makes a later row's input look missing, and
  // its error says how to mend that.
  if (name != "tables" && name != "plot" && name != "export" && name != "imglist") return {};

  if (!path.empty()) arguments.insert(arguments.begin(), path);
  auto line = verb(name).line();
  try {
    if (!overrides.empty() || !line.parse(false, arguments)) return {};
  } catch (const Error&) {
    return {};  // the check of the row reports it
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

// Reads one row for job_resolver.
class RowResolver {
 public:
  RowResolver(std::function<config::Description(const std::string& name)> description)
      : description_(std::move(description)) {}

  jobs::Resolution resolve(const std::string& name, const std::string& path,
                           const std::vector<std::string>& overrides,
                           const std::vector<std::string>& arguments) {
    // verb() throws for an unknown name. jobs and replay start programs themselves.
    verb(name);
    DISSENT_CHECK(name != "jobs" && name != "replay", kUsage,
                  "verb: expected a verb that runs an experiment, found '{}'", name);

    const auto kind = jobs::verb_kind(name);
    const std::string words =
        fmt::format("{}\n{}", fmt::join(overrides, "\n"), fmt::join(arguments, "\n"));

    // The hash is the job's identity. Without a configuration it is the command itself.
    jobs::Resolution out;
    if (kind == jobs::VerbKind::kOther) {
      out.hash = path + "\n" + words;
      out.writes = outputs_of(name, path, overrides, arguments);
      return out;
    }

    // With one, it is the hash of the keys that change results, so that two files with the same
    // keys are one job.
    const auto document = document_of(common_, name, path, overrides);
    const auto schema = schema_name(name, document);
    auto& config = config_of(schema);
    config::read(document, config.schema());
    out.hash = config::config_hash(config.schema());

    if (kind == jobs::VerbKind::kTrain || kind == jobs::VerbKind::kPlan) {
      const bool images = schema == kImageSchema;
      add_runs(config, images, out);
      if (kind == jobs::VerbKind::kTrain) add_run_files(config, images, document, out);
    } else {
      out.place = written(document, name + ".output");
      out.writes.push_back(
          {text_of(config, name.c_str(), "output"), kind == jobs::VerbKind::kEvaluate});
    }

    if (!arguments.empty()) out.hash += "\n" + words;
    return out;
  }

 private:
  // With default values. Building one takes longer than reading a row, so they are kept.
  config::DescribedConfig& config_of(const std::string& schema) {
    auto& config = common_.configs[schema];
    if (config)
      config->reset();
    else
      config = std::make_unique<config::DescribedConfig>(description_(schema));
    return *config;
  }

  std::function<config::Description(const std::string& name)> description_;
  Common common_;
};

}  // namespace

jobs::Resolver job_resolver(
    std::function<config::Description(const std::string& name)> description) {
  const auto resolver = std::make_shared<RowResolver>(std::move(description));
  return [resolver](const std::string& name, const std::string& path,
                    const std::vector<std::string>& overrides,
                    const std::vector<std::string>& arguments) {
    return resolver->resolve(name, path, overrides, arguments);
  };
}

}  // namespace dissent::cli
