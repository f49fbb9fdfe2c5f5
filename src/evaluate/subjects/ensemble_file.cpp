#include "evaluate/subjects/ensemble_file.hpp"

#include <dissent/error.hpp>
#include <dissent/losses/a2d.hpp>

#include <algorithm>
#include <any>
#include <cstdint>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/document.hpp"
#include "config/read.hpp"
#include "evaluate/subjects/content_hash.hpp"
#include "evaluate/subjects/ensemble_folder.hpp"
#include "evaluate/subjects/head_networks.hpp"
#include "evaluate/subjects/image_networks.hpp"
#include "storage/checkpoint.hpp"
#include "storage/run_folder.hpp"
#include "train/config/head_config.hpp"
#include "train/config/image_config.hpp"

namespace dissent {
namespace {

std::string method_of(const std::vector<losses::LossTerm>& terms) {
  std::vector<std::string> names;
  for (const auto& term : terms) {
    // The name of the method in result rows: its loss terms, joined. A2D with hard weights has
    // another name.
    const auto* a2d = std::any_cast<losses::A2dOptions>(&term.options);
    names.push_back(a2d && a2d->sample_weight == losses::SampleWeight::kHard ? "a2d_hard"
                                                                             : term.name);
  }
  return fmt::format("{}", fmt::join(names, "+"));
}

std::unique_ptr<MemberNetworks> read_heads(const CheckpointReader& file,
                                           const EnsembleOptions& options) {
  const int64_t dim = file.integer("dim"), classes = file.integer("classes");
  const std::shared_ptr<const Head> head = make_head(options.model, dim, options.hidden, classes);
  const auto members = at::zeros({options.members, head->layout().size()}, at::kFloat);

  // A dataset of the file holds one parameter of all members, [M, ...].
  for (const auto& entry : head->layout().entries()) {
    file.expect_shape(kMembersPrefix + entry.name, options.members, entry.shape);
    stacked_parameter(members, entry)
        .copy_(file.read_slab(kMembersPrefix + entry.name, 0, options.members));
  }
  return head_networks(head, members, dim, classes);
}

// Networks on images, with the moving average of their weights if the training computed one.
std::unique_ptr<MemberNetworks> read_images(const CheckpointReader& file,
                                            const ImageTrainConfig& config) {
  // A multihead network is stored as one network whose heads are the members.
  const auto network = image_network(config, file.integer("classes"));
  const int64_t networks = network->heads() > 0 ? 1 : config.ensemble.members;
  const auto read = [&](const std::string& group, const ParameterLayout& layout) {
    auto stack = at::zeros({networks, layout.size()}, at::kFloat);
    for (const auto& entry : layout.entries()) {
      file.expect_shape(group + entry.name, networks, entry.shape);
      stacked_parameter(stack, entry).copy_(file.read_slab(group + entry.name, 0, networks));
    }
    return stack;
  };

  return image_networks(
      network,
      read(config.training.ema_decay > 0 ? kAveragePrefix : kMembersPrefix, network->layout()),
      read(kBuffersPrefix, network->buffer_layout()));
}

}  // namespace

std::string LoadedEnsemble::unit_name(int64_t unit) const {
  return unit < members() ? fmt::format("member:{}", unit)
                          : option_name(soups[unit - members()].predictor);
}

scores::LinearHead LoadedEnsemble::head(int64_t unit) const {
  return unit < members() ? networks->head(unit) : soups[unit - members()].network->head(0);
}

MemberOutputs LoadedEnsemble::forward(const at::Tensor& x, const std::vector<int64_t>& units,
                                      bool features) const {
  // Members first, in one call that shares the threads; then each soup.
  std::vector<int64_t> member_units;
  for (const int64_t unit : units)
    if (unit < members()) member_units.push_back(unit);

  std::vector<MemberOutputs> parts;
  if (!member_units.empty()) parts.push_back(networks->forward(x, member_units, features));
  for (const int64_t unit : units)
    if (unit >= members())
      parts.push_back(soups[unit - members()].network->forward(x, all_of(1), features));
  if (parts.size() == 1) return parts[0];

  std::vector<at::Tensor> logits, own;
  for (const auto& part : parts) {
    logits.push_back(part.logits);
    if (features) own.push_back(part.features);
  }

  // Shared features are the same in every part.
  const bool shared = features && networks->shared_features();
  MemberOutputs out{at::cat(logits), {}, 0};
  if (features) out.features = shared ? own[0] : at::cat(own);
  return out;
}

std::string run_name(const std::string& checkpoint) {
  return std::filesystem::absolute(checkpoint).lexically_normal().parent_path().filename().string();
}

TrainingNames training_names(const config::Document& document) {
  if (trains_images(document)) {
    ImageTrainConfig config;
    config::read(document, image_train_schema(config));
    return {config.experiment.experiment, method_of(image_objective(config).terms)};
  }

  TrainConfig config;
  config::read(document, train_schema(config));
  return {config.experiment.experiment, method_of(objective_options(config).terms)};
}

std::string training_hash(const std::string& config_text) {
  std::string text;

  // Keys before the first table header belong to the top of the configuration.
  bool in_table = false;
  for (size_t at = 0; at < config_text.size();) {
    const size_t end = std::min(config_text.find('\n', at), config_text.size() - 1) + 1;
    const auto line = config_text.substr(at, end - at);
    in_table = in_table || line.starts_with('[');
    if (in_table || !line.starts_with("seeds = ")) text += line;
    at = end;
  }
  return content_hash(text);
}

LoadedEnsemble load_ensemble(const std::string& path) {
  // A checkpoint comes first: the folder of a run may also hold its exported ensemble.
  namespace fs = std::filesystem;
  const bool folder = fs::is_directory(path), run = fs::exists(path + "/" + kCheckpointFile);
  if (folder && !run && is_ensemble_folder(path)) return load_ensemble_folder(path);

  // Messages, caches and result rows refer to the checkpoint, also if its folder was given.
  LoadedEnsemble loaded;
  loaded.path = folder ? path + "/" + kCheckpointFile : path;
  loaded.run = run_name(loaded.path);
  const CheckpointReader file(loaded.path);
  loaded.config_hash = file.config_hash();

  const auto document = config::load_document(
      config::read_sources(loaded.path + " (its configuration)", file.config_text()));
  const auto names = training_names(document);
  loaded.experiment = names.experiment;
  loaded.method = names.method;
  loaded.training_hash = training_hash(file.config_text());

  // The checkpoint's own configuration says which networks its weights belong to.
  if (trains_images(document)) {
    ImageTrainConfig config;
    config::read(document, image_train_schema(config));
    loaded.transform = config.data.transform;
    loaded.networks = read_images(file, config);
  } else {
    TrainConfig config;
    config::read(document, train_schema(config));
    loaded.networks = read_heads(file, config.ensemble);
  }

  // Weights are part of the identity: a training that continues has other ones under the same
  // configuration.
  loaded.seed = file.integer("seed");
  loaded.identity = content_hash(loaded.config_hash + " " + loaded.networks->weights_hash());
  return loaded;
}

void add_soup(LoadedEnsemble& ensemble, ReportedPredictor predictor,
              const std::vector<int64_t>& members) {
  try {
    ensemble.soups.push_back({predictor, members, ensemble.networks->soup(members)});
  } catch (const Error& error) {
    DISSENT_FAIL(kUsage,
                 "evaluate.predictors: {}: expected networks that have a '{}', found {}: {}",
                 ensemble.path, option_name(predictor), ensemble.run, error.what());
  }
}

}  // namespace dissent
