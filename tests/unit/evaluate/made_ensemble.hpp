// Shared by the evaluation's tests: small ensembles, and sets in SED's layout.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "config/document.hpp"
#include "config/read.hpp"
#include "core/random.hpp"
#include "evaluate/evaluator.hpp"
#include "evaluate/subjects/head_networks.hpp"
#include "storage_helpers.hpp"

namespace dissent::testing {

inline LoadedEnsemble made_ensemble(const std::string& folder, const std::string& model,
                                    int64_t members, int64_t dim, int64_t classes,
                                    uint64_t seed = 3) {
  LoadedEnsemble ensemble;
  ensemble.path = folder + "/checkpoint.h5";
  ensemble.run = "made";
  ensemble.config_hash = "0123456789abcdef";
  ensemble.method = "cross_entropy";
  const std::shared_ptr<const Head> head = make_head(model, dim, 16, classes);
  auto weights = at::zeros({members, head->layout().size()}, at::kFloat);
  for (int64_t m = 0; m < members; ++m) head->initialise(weights[m], seed, m);
  weights.mul_(model == "block_head" ? 20 : 1);  // its first weights are small: all logits near 0
  ensemble.networks = head_networks(head, weights, dim, classes);
  ensemble.identity = ensemble.networks->weights_hash();
  return ensemble;
}

/// A file of SED's: embed, label and index as floats.
inline void write_sed_file(Communicator& comm, const std::string& path, int64_t rows, int64_t dim,
                           int64_t classes, uint64_t seed, double shift = 0) {
  auto embed = at::empty({rows, dim}, at::kFloat);
  fill_uniform(embed, -2 + shift, 2 + shift, Random(seed, Purpose::kNoise, 1));
  const auto label = at::arange(rows).remainder(classes).to(at::kFloat).unsqueeze(1),
             index = at::arange(rows).to(at::kFloat).unsqueeze(1);
  auto file = h5_create(path);
  for (const auto& [name, values] :
       {std::pair("embed", embed), {"label", label}, {"index", index}}) {
    h5_add_dataset(file, name, values.sizes(), values.scalar_type(), path);
    h5_write_rows(file, name, 0, values, comm, path);
  }
  file.close(path);
}

inline EvaluateConfig read_evaluate(const config::Document& document) {
  EvaluateConfig config;
  config::Schema schema;
  schema.table(evaluate_table(), config.evaluate).tables(evaluate_set_table(), config.sets);
  for (size_t i = 0; i < config.scores.size(); ++i)
    if (!score_option_tables()[i].options.empty())
      schema.optional_table(score_option_tables()[i], config.scores[i], config.scores[i].present);
  config::read(document, schema);
  return config;
}

inline EvaluateConfig evaluate_config(const std::string& text) {
  return read_evaluate(config::load_document(config::read_sources("test", text)));
}

/// The value of the one row like this.
inline double value_of(const std::vector<ResultRow>& rows, const std::string& predictor,
                       const std::string& dataset, const std::string& score,
                       const std::string& metric) {
  double value = -1;
  int found = 0;
  for (const auto& row : rows)
    if (row.predictor == predictor && row.dataset == dataset && row.score == score &&
        row.metric == metric) {
      value = row.value;
      ++found;
    }
  EXPECT_EQ(found, 1) << predictor << " " << dataset << " " << score << " " << metric;
  return value;
}

}  // namespace dissent::testing
