#include "evaluate/subjects/ensemble_folder.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <dissent/error.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "evaluate/subjects/content_hash.hpp"
#include "evaluate/subjects/head_networks.hpp"
#include "evaluate/subjects/image_networks.hpp"
#include "models/head.hpp"
#include "models/networks/registry.hpp"
#include "models/weights/load.hpp"
#include "storage/atomic_file.hpp"
#include "storage/seal.hpp"

namespace dissent {
namespace {

using nlohmann::json;

const char* const kDescription = "ensemble.json";

const char* kind_of(const json& value) { return value.is_null() ? "null" : value.type_name(); }

// The description; its errors name the file and the key.
class Description {
 public:
  explicit Description(const std::string& folder) : path_(folder + "/" + kDescription) {
    // Without exceptions: the message below names the file.
    json_ = json::parse(read_text(path_), nullptr, false);
    DISSENT_CHECK(json_.is_object(), kData, "{}: expected a JSON object, found another text",
                  path_);
    const auto format = text("format");
    DISSENT_CHECK(format == "dissent ensemble", kData,
                  "{}: format: expected \"dissent ensemble\", found \"{}\"", path_, format);
    DISSENT_CHECK(integer("version") == 1, kData, "{}: version: expected 1, found {}", path_,
                  integer("version"));
  }

  const std::string& path() const { return path_; }

  // Null counts as missing.
  bool has(const char* key) const { return json_.contains(key) && !json_[key].is_null(); }
  std::string text(const char* key) const {
    DISSENT_CHECK(has(key) && json_[key].is_string(), kData, "{}: {}: expected a string, found {}",
                  path_, key, found(key));
    return json_[key].get<std::string>();
  }
  std::string text(const char* key, const std::string& fallback) const {
    return has(key) ? text(key) : fallback;
  }
  int64_t integer(const char* key) const {
    DISSENT_CHECK(has(key) && json_[key].is_number_integer(), kData,
                  "{}: {}: expected an integer, found {}", path_, key, found(key));
    return json_[key].get<int64_t>();
  }
  int64_t integer(const char* key, int64_t fallback) const {
    return has(key) ? integer(key) : fallback;
  }

  std::vector<std::string> files() const {
    const bool list = has("files") && json_["files"].is_array() && !json_["files"].empty() &&
                      std::all_of(json_["files"].begin(), json_["files"].end(),
                                  [](const json& file) { return file.is_string(); });
    DISSENT_CHECK(list, kData, "{}: files: expected a list of file names, found {}", path_,
                  found("files"));
    return json_["files"].get<std::vector<std::string>>();
  }
  /// Checksums of the files, in their order; empty if the description has none.
  std::vector<std::string> checksums() const {
    if (!has("checksums")) return {};
    const auto& list = json_["checksums"];

    const bool fits =
        list.is_array() && list.size() == files().size() &&
        std::all_of(list.begin(), list.end(), [](const json& one) { return one.is_string(); });
    DISSENT_CHECK(fits, kData, "{}: checksums: expected one string per file, found {}", path_,
                  found("checksums"));
    return list.get<std::vector<std::string>>();
  }

 private:
  std::string found(const char* key) const {
    return json_.contains(key) ? kind_of(json_[key]) : "nothing";
  }
  std::string path_;
  json json_;
};

// A state dict with the names of our heads; accepts timm's names and the prefix "module.".
StateDict own_names(const StateDict& weights) {
  StateDict own;
  for (const auto& [given, tensor] : weights) {
    auto name = given.starts_with("module.") ? given.substr(7) : given;
    if (name == "ls2.gamma") name = "gamma_2";
    own.emplace(std::move(name), tensor);
  }
  return own;
}

void copy_head(const Head& head, const at::Tensor& flat, const StateDict& given,
               const std::string& source) {
  // All misfits are reported at once.
  auto weights = own_names(given);
  std::vector<std::string> problems;
  for (const auto& entry : head.layout().entries()) {
    const auto found = weights.find(entry.name);
    if (found == weights.end()) {
      problems.push_back(fmt::format("{}: expected [{}], found nothing", entry.name,
                                     fmt::join(entry.shape, ", ")));
    } else if (found->second.sizes() != at::IntArrayRef(entry.shape)) {
      problems.push_back(fmt::format("{}: expected [{}], found [{}]", entry.name,
                                     fmt::join(entry.shape, ", "),
                                     fmt::join(found->second.sizes(), ", ")));
    } else {
      parameter(flat, entry).copy_(found->second);
    }
    if (found != weights.end()) weights.erase(found);
  }

  // What is left belongs to another network.
  for (const auto& [name, tensor] : weights)
    problems.push_back(fmt::format("{}: expected no tensor of this name, found [{}]", name,
                                   fmt::join(tensor.sizes(), ", ")));
  DISSENT_CHECK(problems.empty(), kData, "{}: {}", source, fmt::join(problems, "; "));
}

std::unique_ptr<MemberNetworks> read_head_files(const Description& description,
                                                const std::string& folder,
                                                const std::string& model) {
  const int64_t dim = description.integer("dim"), classes = description.integer("classes");
  const auto files = description.files();
  const std::shared_ptr<const Head> head =
      make_head(model, dim, description.integer("hidden", 1), classes);
  const auto members =
      at::zeros({static_cast<int64_t>(files.size()), head->layout().size()}, at::kFloat);

  for (size_t m = 0; m < files.size(); ++m) {
    const auto path = folder + "/" + files[m];
    copy_head(*head, members[static_cast<int64_t>(m)], read_state_dict(path), path);
  }
  return head_networks(head, members, dim, classes);
}

std::unique_ptr<MemberNetworks> read_image_files(const Description& description,
                                                 const std::string& folder,
                                                 const std::string& model) {
  ImageNetworkOptions options;
  options.classes = description.integer("classes");
  if (description.has("image_size")) options.image_size = description.integer("image_size");
  options.heads = description.integer("heads", options.heads);
  const std::shared_ptr<const ImageNetwork> network = make_image_network(model, options);
  const auto files = description.files();
  const auto count = static_cast<int64_t>(files.size());
  DISSENT_CHECK(network->heads() == 0 || count == 1, kData,
                "{}: files: expected one file for a multihead network, found {}",
                description.path(), count);

  auto members = at::zeros({count, network->layout().size()}, at::kFloat),
       buffers = at::zeros({count, network->buffer_layout().size()}, at::kFloat);
  for (int64_t m = 0; m < count; ++m) {
    const auto path = folder + "/" + files[static_cast<size_t>(m)];
    load_weights(*network, members[m], buffers[m], read_state_dict(path), {}, path);
  }
  return image_networks(network, members, buffers);
}

bool is_head(const std::string& model) {
  const auto& table = head_registry();
  return std::any_of(table.begin(), table.end(),
                     [&](const HeadSpec& spec) { return spec.name == model; });
}

}  // namespace

bool is_ensemble_folder(const std::string& path) {
  return std::filesystem::is_regular_file(path + "/" + kDescription);
}

LoadedEnsemble load_ensemble_folder(const std::string& folder) {
  const Description description(folder);
  const auto model = description.text("model");

  LoadedEnsemble loaded;
  loaded.path = description.path();

  // Only the method is required: other programs have no run, hash or seed.
  loaded.run = description.text(
      "run", std::filesystem::absolute(loaded.path).lexically_normal().parent_path().filename());
  loaded.experiment = description.text("experiment", loaded.run);
  loaded.method = description.text("method");
  loaded.config_hash = description.text("config_hash", "");
  loaded.training_hash = description.text("training_hash", "");
  loaded.seed = description.integer("seed", 0);
  loaded.transform = description.text("transform", "");

  // Damaged weights would give plausible but wrong results.
  const auto files = description.files(), checksums = description.checksums();
  for (size_t i = 0; i < checksums.size(); ++i) {
    const auto path = folder + "/" + files[i], found = file_checksum(path);
    DISSENT_CHECK(
        found == checksums[i], kData,
        "{}: damaged: expected checksum {} as in {}, found {}; export the ensemble again, or "
        "remove the key 'checksums' if the file was replaced on purpose",
        path, checksums[i], kDescription, found);
  }

  loaded.networks = is_head(model) ? read_head_files(description, folder, model)
                                   : read_image_files(description, folder, model);
  // Without a config_hash the weights alone identify the ensemble.
  loaded.identity = content_hash(loaded.config_hash + " " + loaded.networks->weights_hash());
  return loaded;
}

}  // namespace dissent
