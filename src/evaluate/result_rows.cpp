#include <dissent/metrics/ranking.hpp>
#include <dissent/scores/registry.hpp>

#include <filesystem>
#include <numeric>

#include "evaluate/head_evaluator.hpp"

namespace dissent {
namespace {

bool wants(const std::vector<std::string>& list, const std::string& name) { return std::find(list.begin(), list.end(), name) != list.end(); }

std::string set_name(const std::string& path) {
  auto normal = std::filesystem::path(path).lexically_normal();
  if (normal.filename().empty()) normal = normal.parent_path();
  return normal.stem().string();
}

double mean_of(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size()); }

int64_t best_member(const SetOutcome& outcome) {
  return std::max_element(outcome.right_members.begin(), outcome.right_members.end()) - outcome.right_members.begin();
}

// AUROC of a score with the class positive that the convention says.
double auroc_of(const at::Tensor& id, const at::Tensor& ood, const std::string& score, const EvaluateOptions& options, const std::string& ood_name) {
  const auto& info = scores::find_score(score);
  const auto positive = options.convention == "sed" ? info.released_positive : info.positive;
  for (const auto& [values, name] : {std::pair(id, std::string("the in-distribution set")), std::pair(ood, ood_name)}) {
    const auto bad = values.isnan().sum().item<int64_t>();
    DISSENT_CHECK(bad == 0, kData, "score {} of {}: {} of {} values are NaN", score, name, bad, values.numel());
  }
  metrics::Ranking ranking;
  const bool id_positive = positive == scores::Positive::kId;
  ranking.update(id, at::full({id.numel()}, id_positive, at::kBool));
  ranking.update(ood, at::full({ood.numel()}, !id_positive, at::kBool));
  return metrics::auroc(ranking.finish());
}

// Collects the rows of one ensemble.
class Rows {
 public:
  Rows(const LoadedEnsemble& ensemble, const EvaluateConfig& config, int64_t best, bool best_on_validation)
      : ensemble_(ensemble), options_(config.evaluate), best_(best), best_on_validation_(best_on_validation) {}

  void accuracy(const SetOutcome& set, const std::string& name, const std::string& shift) {
    if (!wants(options_.metrics, "accuracy")) return;
    const auto n = static_cast<double>(set.rows);
    std::vector<double> members;
    for (const int64_t right : set.right_members) members.push_back(static_cast<double>(right) / n);
    const int64_t best = best_on_validation_ ? best_ : best_member(set);
    const auto put = [&](const std::string& predictor, double value, bool on_test) { add(predictor, name, shift, "", "accuracy", value, set.rows, on_test); };
    if (wants(options_.predictors, "ensemble")) put("ensemble", static_cast<double>(set.right_ensemble) / n, false);
    if (wants(options_.predictors, "soup")) put("soup", static_cast<double>(set.right_soup) / n, false);
    if (wants(options_.predictors, "best")) put("best", members[best], !best_on_validation_);
    if (wants(options_.predictors, "mean")) put("mean", mean_of(members), false);
    if (wants(options_.predictors, "members"))
      for (size_t m = 0; m < members.size(); ++m) put(fmt::format("member:{}", m), members[m], false);
  }

  void auroc(const SetOutcome& id, const SetOutcome& ood, const std::string& name, const std::string& shift) {
    if (!wants(options_.metrics, "auroc")) return;
    const int64_t n = id.rows + ood.rows;
    if (wants(options_.predictors, "ensemble"))
      for (size_t s = 0; s < options_.scores.size(); ++s)
        add("ensemble", name, shift, options_.scores[s], "auroc", auroc_of(id.ensemble_scores[s], ood.ensemble_scores[s], options_.scores[s], options_, name), n, false);
    if (!wants(options_.scores, "msp")) return;  // of a single network: max softmax alone
    std::vector<double> members;
    for (size_t m = 0; m < id.member_msp.size(); ++m) members.push_back(auroc_of(id.member_msp[m], ood.member_msp[m], "msp", options_, name));
    const auto put = [&](const std::string& predictor, double value, bool on_test) { add(predictor, name, shift, "msp", "auroc", value, n, on_test); };
    const int64_t best = best_on_validation_ ? best_ : best_member(id);
    if (wants(options_.predictors, "soup")) put("soup", auroc_of(id.soup_msp, ood.soup_msp, "msp", options_, name), false);
    if (wants(options_.predictors, "best")) put("best", members[best], !best_on_validation_);
    if (wants(options_.predictors, "mean")) put("mean", mean_of(members), false);
    if (wants(options_.predictors, "members"))
      for (size_t m = 0; m < members.size(); ++m) put(fmt::format("member:{}", m), members[m], false);
  }

  std::vector<ResultRow> take() { return std::move(rows_); }

 private:
  void add(const std::string& predictor, const std::string& dataset, const std::string& shift, const std::string& score, const std::string& metric, double value,
           int64_t n, bool chosen_on_test) {
    rows_.push_back({options_.experiment, ensemble_.run, ensemble_.config_hash, ensemble_.seed, ensemble_.method(), ensemble_.members.size(0), predictor, dataset,
                     "test", shift, score, metric, chosen_on_test ? "sed" : options_.convention, "", value, n});
  }
  const LoadedEnsemble& ensemble_;
  const EvaluateOptions& options_;
  int64_t best_;
  bool best_on_validation_;
  std::vector<ResultRow> rows_;
};

// Several files of one set: the mean of their figures, row by row (the rows of all files stand in the same order).
std::vector<ResultRow> mean_rows(std::vector<std::vector<ResultRow>> files) {
  auto rows = std::move(files.front());
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<double> values{rows[i].value};
    for (size_t f = 1; f < files.size(); ++f) {
      values.push_back(files[f][i].value);
      rows[i].n += files[f][i].n;
    }
    rows[i].value = mean_of(values);
  }
  return rows;
}

FeatureCache open_for(Communicator& comm, const std::string& path, const std::vector<LoadedEnsemble>& ensembles, bool labelled) {
  std::optional<FeatureCache> cache;
  agree(comm, [&] {
    cache.emplace(FeatureCache::open(path));
    for (const auto& ensemble : ensembles)
      DISSENT_CHECK(cache->dim() == ensemble.dim, kData, "{} has {} features a row, {} was trained on {}", path, cache->dim(), ensemble.path, ensemble.dim);
    if (labelled) cache->check_labels(ensembles.front().classes, false);
  });
  return std::move(*cache);
}

bool has_labels(const EvaluateSet& set) { return set.shift == "id" || set.shift == "covariate"; }

// The caches of each set. All are opened and checked here: a bad one ends an evaluation before it begins.
std::vector<std::vector<std::string>> find_sets(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles, const EvaluateConfig& config) {
  std::vector<std::vector<std::string>> paths;
  agree(comm, [&] {
    for (const auto& set : config.sets) paths.push_back(expand_paths(set.paths));
  });
  if (!config.evaluate.validation.empty()) open_for(comm, config.evaluate.validation, ensembles, true);
  open_for(comm, config.evaluate.id, ensembles, true);
  for (size_t s = 0; s < paths.size(); ++s)
    for (const auto& path : paths[s]) open_for(comm, path, ensembles, has_labels(config.sets[s]));
  return paths;
}

}  // namespace

std::vector<ResultRow> evaluate_heads(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles, const EvaluateConfig& config, bool show_progress) {
  const auto& options = config.evaluate;
  const auto outcomes_of = [&](const std::string& path, bool labelled) {
    return run_over_cache(comm, open_for(comm, path, ensembles, labelled), ensembles, options, show_progress);
  };
  const auto paths = find_sets(comm, ensembles, config);
  std::vector<SetOutcome> validation;
  if (!options.validation.empty()) validation = outcomes_of(options.validation, true);
  const auto id = outcomes_of(options.id, true);
  const std::string id_name = options.id_name.empty() ? set_name(options.id) : options.id_name;

  std::vector<std::vector<ResultRow>> rows(ensembles.size());
  const auto rows_for = [&](size_t e) { return Rows(ensembles[e], config, validation.empty() ? 0 : best_member(validation[e]), !validation.empty()); };
  for (size_t e = 0; e < ensembles.size(); ++e) {
    auto collected = rows_for(e);
    collected.accuracy(id[e], id_name, "id");
    rows[e] = collected.take();
  }
  for (size_t s = 0; s < paths.size(); ++s) {
    const auto& set = config.sets[s];
    const bool labelled = has_labels(set);
    std::vector<std::vector<std::vector<ResultRow>>> files(ensembles.size());
    for (const auto& path : paths[s]) {
      const auto outcome = outcomes_of(path, labelled);
      for (size_t e = 0; e < ensembles.size(); ++e) {
        auto collected = rows_for(e);
        if (labelled) collected.accuracy(outcome[e], set.name, set.shift);
        if (set.shift != "id") collected.auroc(id[e], outcome[e], set.name, set.shift);
        files[e].push_back(collected.take());
      }
    }
    for (size_t e = 0; e < ensembles.size(); ++e)
      for (auto& row : mean_rows(std::move(files[e]))) rows[e].push_back(std::move(row));
  }
  std::vector<ResultRow> all;
  for (auto& part : rows)
    for (auto& row : part) all.push_back(std::move(row));
  return all;
}

}  // namespace dissent
