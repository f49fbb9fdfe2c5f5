#include "evaluate/ensemble_file.hpp"

#include <dissent/error.hpp>
#include <dissent/scores/ensemble_output.hpp>

#include <filesystem>

#include "config/document.hpp"
#include "config/read.hpp"
#include "storage/checkpoint.hpp"
#include "train/schema.hpp"

namespace dissent {

std::string LoadedEnsemble::method() const {
  std::vector<std::string> names;
  for (const auto& term : objective_options(config).terms) {
    const auto* a2d = std::any_cast<losses::A2dOptions>(&term.options);
    names.push_back(a2d && a2d->sample_weight == losses::SampleWeight::kHard ? "a2d_hard" : term.name);
  }
  return fmt::format("{}", fmt::join(names, "+"));
}

LoadedEnsemble load_ensemble(const std::string& path) {
  namespace fs = std::filesystem;
  LoadedEnsemble loaded;
  loaded.path = fs::is_directory(path) ? path + "/checkpoint.h5" : path;
  loaded.run = fs::absolute(loaded.path).lexically_normal().parent_path().filename().string();
  const CheckpointReader file(loaded.path);
  loaded.config_hash = file.config_hash();
  auto schema = train_schema(loaded.config);
  config::read(config::load_document(config::read_sources(loaded.path + " (its configuration)", file.config_text())), schema);
  loaded.seed = file.integer("seed");
  loaded.dim = file.integer("dim");
  loaded.classes = file.integer("classes");
  loaded.head = make_head(loaded.config.ensemble.model, loaded.dim, loaded.config.ensemble.hidden, loaded.classes);
  const int64_t members = loaded.config.ensemble.members;
  loaded.members = at::zeros({members, loaded.head->layout().size()}, at::kFloat);
  for (const auto& entry : loaded.head->layout().entries()) {
    file.expect_shape("members/" + entry.name, members, entry.shape);
    stacked_parameter(loaded.members, entry).copy_(file.read_slab("members/" + entry.name, 0, members));
  }
  loaded.soup = scores::uniform_soup(loaded.members);
  return loaded;
}

}  // namespace dissent
