#include "evaluate/subjects/export_ensemble.hpp"

#include <fmt/format.h>
#include <dissent/error.hpp>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

#include "config/document.hpp"
#include "data/transforms/transform.hpp"
#include "evaluate/subjects/ensemble_file.hpp"
#include "models/weights/state_dict.hpp"
#include "storage/atomic_file.hpp"
#include "storage/checkpoint.hpp"
#include "storage/run_folder.hpp"
#include "storage/seal.hpp"
#include "train/config/image_config.hpp"

namespace dissent {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

json json_of(const config::Node& node) {
  return std::visit(
      [](const auto& value) -> json {
        using T = std::decay_t<decltype(value)>;

        // JSON has no dates: they are written as TOML has them.
        if constexpr (std::is_same_v<T, config::Date>) {
          return value.text;
        } else if constexpr (std::is_same_v<T, config::List>) {
          auto list = json::array();
          for (const auto& element : value) list.push_back(json_of(element));
          return list;
        } else if constexpr (std::is_same_v<T, config::Table>) {
          auto table = json::object();
          for (const auto& [key, element] : value) table[key] = json_of(element);
          return table;
        } else {
          return value;
        }
      },
      node.data);
}

json value_at(const config::Document& document, const std::string& key) {
  const auto* node = document.find(key);
  return node ? json_of(*node) : json(nullptr);
}

std::string exported_name(std::string name, ExportNames names) {
  if (names == ExportNames::kOwn) return name;

  // timm has other names for the layer scale of DeiT-3.
  for (const auto& [own, timm] :
       {std::pair<std::string, std::string>{".gamma_1", ".ls1.gamma"}, {".gamma_2", ".ls2.gamma"}})
    if (name.ends_with(own)) name.replace(name.size() - own.size(), own.size(), timm);
  return name;
}

// Member m of each dataset below the group, [M, ...] -> [...].
void add_member(const CheckpointReader& file, const std::string& group, int64_t member,
                ExportNames names, StateDict& weights) {
  for (const auto& name : file.names(group)) {
    auto value = file.read_slab(group + "/" + name, member, 1).squeeze(0);

    // PyTorch's batch norm expects this count as an integer; checkpoints store all buffers as
    // f32.
    if (name.ends_with("num_batches_tracked")) value = value.to(at::kLong);
    weights[exported_name(name, names)] = value;
  }
}

int64_t members_of(const CheckpointReader& file, const std::string& weights) {
  const auto names = file.names(weights);
  DISSENT_CHECK(!names.empty(), kData, "{}: expected a group {}/, found none", file.path(),
                weights);

  // Every dataset has the members as its first dimension.
  const int64_t members = file.shape(weights + "/" + names[0])[0];
  for (const std::string& group : {weights, std::string("buffers")})
    for (const auto& name : file.names(group)) {
      const int64_t count = file.shape(group + "/" + name)[0];
      DISSENT_CHECK(count == members, kData, "{}: {}/{}: expected {} members as in {}, found {}",
                    file.path(), group, name, members, names[0], count);
    }
  return members;
}

json progress_value(const CheckpointReader& file, const std::string& key) {
  const auto found = file.progress().find(key);
  if (found == file.progress().end()) return nullptr;
  return std::visit([](const auto& value) { return json(value); }, found->second);
}

json description(const CheckpointReader& file, const std::string& weights, int64_t members) {
  const auto document = config::load_document(
      config::read_sources(file.path() + " (its configuration)", file.config_text()));

  // File names follow from the number of members, so the text is complete before a file is written.
  auto files = json::array();
  for (int64_t m = 0; m < members; ++m) files.push_back(fmt::format("member-{}.safetensors", m));
  const auto model = value_at(document, "ensemble.model");

  // Heads on features have a dimension and a hidden width, networks on images an image size and a
  // transform.
  const auto names = training_names(document);
  const bool features = !trains_images(document),
             multihead = model.is_string() && model.get<std::string>().ends_with("_multihead");
  const auto transform = value_at(document, "data.transform");

  // All keys are written, with null where one does not apply to the kind of network.
  return {
      {"format", "dissent ensemble"},
      {"version", 1},
      {"run", run_name(file.path())},
      {"experiment", names.experiment},
      {"method", names.method},
      {"members", members},
      {"weights", weights},
      {"files", files},
      {"model", model},
      {"classes", progress_value(file, "classes")},
      {"dim", features ? progress_value(file, "dim") : json(nullptr)},
      {"hidden", features ? value_at(document, "ensemble.hidden") : json(nullptr)},
      {"image_size",
       features ? json(nullptr) : json(find_transform(transform.get<std::string>()).options.size)},
      {"heads", multihead ? value_at(document, "ensemble.members") : json(nullptr)},
      {"transform", features ? json(nullptr) : transform},
      {"seed", progress_value(file, "seed")},
      {"epoch", progress_value(file, "epoch")},
      {"config_hash", file.config_hash()},
      {"training_hash", training_hash(file.config_text())},
      {"configuration", json_of(document.root())}};
}

}  // namespace

std::vector<std::string> export_ensemble(const std::string& run, const std::string& folder,
                                         ExportNames names) {
  const CheckpointReader file(fs::is_directory(run) ? run + "/" + kCheckpointFile : run);

  // The same weights that evaluate and cache read.
  const std::string group = file.names("average").empty() ? "members" : "average";
  const int64_t members = members_of(file, group);
  auto text = description(file, group, members);

  // All files are written to another folder first, and replace those of an earlier export when the
  // last one is complete: an export that fails does not change the earlier one.
  const auto unfinished = folder + "/.unfinished";
  std::error_code ignored;
  fs::remove_all(unfinished, ignored);  // left by a killed process
  make_folder(unfinished);

  std::vector<std::string> names_of_files;
  try {
    for (int64_t m = 0; m < members; ++m) {
      StateDict weights;
      add_member(file, group, m, names, weights);
      add_member(file, "buffers", m, names, weights);
      names_of_files.push_back(fmt::format("member-{}.safetensors", m));
      write_safetensors(unfinished + "/" + names_of_files.back(), weights,
                        {{"format", "pt"},
                         {"config_hash", file.config_hash()},
                         {"member", std::to_string(m)},
                         {"members", std::to_string(members)}});
      text["checksums"].push_back(file_checksum(unfinished + "/" + names_of_files.back()));
    }

    names_of_files.emplace_back("ensemble.json");
    atomic_write_text(unfinished + "/" + names_of_files.back(), text.dump(2) + "\n");
  } catch (...) {
    fs::remove_all(unfinished, ignored);
    throw;
  }

  // ensemble.json is last: as long as it is the earlier one, its checksums refuse new weights.
  std::vector<std::string> paths;
  for (const auto& name : names_of_files) {
    paths.push_back(folder + "/" + name);
    sync_and_rename(unfinished + "/" + name, paths.back());
  }
  fs::remove(unfinished, ignored);
  return paths;
}

}  // namespace dissent
