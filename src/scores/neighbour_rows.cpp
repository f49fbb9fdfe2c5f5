#include <cstdint>
#include <vector>

#include <dissent/scores/neighbours.hpp>

#include "scores/postprocessor_rows.hpp"

namespace dissent::scores {
namespace {

OptionInfo block_info() {
  return {.meaning = "rows per block: memory is a few block_rows^2 x 8 bytes per thread",
          .scope = Scope::kExecution,
          .min = 1};
}

}  // namespace

std::vector<PostprocessorInfo> neighbour_rows() {
  using F = FitField;

  return {
      // Distances
      postprocessor_row<KnnOptions>(
          {.name = "knn",
           .summary = "Distance to the k-th nearest training feature, all of norm 1",
           .formula = "-|h / |h| - t / |t||^2,  t the k-th nearest",
           .citation =
               "Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022",
           .answers = "zero feature: stays 0, at distance 1 from all; k above the training "
                      "samples: an error",
           .needs = {F::kTrainFeatures},
           .scores_features = true,
           .wide = true,
           .search = {{"k",
                       {int64_t{50}, int64_t{100}, int64_t{200}, int64_t{500}, int64_t{1000}}}}},
          OptionTable<KnnOptions>("postprocessor.knn", "KNN")
              .option("k", &KnnOptions::k, {.meaning = "rank of the neighbour", .min = 1})
              .option("block_rows", &KnnOptions::block_rows,
                      {.meaning = "rows per block of the bank and, at most, of samples: memory is "
                                  "about 12 block_rows (block_rows + D) bytes per thread",
                       .scope = Scope::kExecution,
                       .min = 1}),
          fit_knn, score_knn),

      postprocessor_row<NnguideOptions>(
          {.name = "nnguide",
           .summary = "Energy times the mean similarity to the nearest training features, weighted "
                      "by their energies",
           .formula = "LSE(z) mean over the k largest of <h', t'> LSE(z_t),  h' = h / |h| + 1e-10",
           .citation = "Park, Jung and Teoh, Nearest Neighbor Guidance for Out-of-Distribution "
                       "Detection, ICCV 2023",
           .answers = "zero feature: its direction is 0; k above the bank: an error",
           .needs = {F::kTrainFeatures, F::kTrainLogits},
           .scores_features = true,
           .scores_logits = true,
           .search = {{"k", {int64_t{100}}}, {"alpha", {0.01}}}},
          OptionTable<NnguideOptions>("postprocessor.nnguide", "NNGuide")
              .option("k", &NnguideOptions::k, {.meaning = "number of neighbours", .min = 1})
              .option(
                  "alpha", &NnguideOptions::alpha,
                  {.meaning = "share of the training set in the bank, in the set's order, above 0",
                   .min = 1e-9,
                   .max = 1})
              .option("batch_rows", &NnguideOptions::batch_rows,
                      {.meaning = "rows per batch; the bank consists of whole batches", .min = 1})
              .option("block_rows", &NnguideOptions::block_rows, block_info()),
          fit_nnguide, score_nnguide),

      // Relations to all training samples
      postprocessor_row<RelationOptions>(
          {.name = "relation",
           .summary = "Sum of the relations to all training samples, in feature and in prediction",
           .formula =
               "sum over t of e_t^power where e_t > threshold,  e_t = max(cos(h, t), 0) <p, p_t>",
           .citation = "Kim et al., Neural Relation Graph: A Unified Framework for Identifying "
                       "Label Noise and Outlier Data, NeurIPS 2023",
           .answers = "zero feature: 0",
           .needs = {F::kTrainFeatures, F::kTrainLogits},
           .scores_features = true,
           .scores_logits = true,
           .search = {{"power", {1.0, 2.0, 4.0, 6.0, 8.0}}}},
          OptionTable<RelationOptions>("postprocessor.relation", "Relation")
              .option("power", &RelationOptions::power,
                      {.meaning = "exponent of an edge, above 0", .min = 1e-9})
              .option("threshold", &RelationOptions::threshold,
                      {.meaning = "edges up to this value are omitted, before the power", .min = 0})
              .option("block_rows", &RelationOptions::block_rows, block_info()),
          fit_relation, score_relation),

      // Neighbourhoods
      postprocessor_row<CfoodOptions>(
          {.name = "cfood",
           .summary =
               "Smallest size of neighbourhoods, as a share of the reference rows, with which "
               "enough reference rows contain the sample",
           .formula = "-min f on a grid with  (1 / n) #{r : |h - r| <= distance of r to its "
                      "neighbour f n} >= k,  else -1",
           .citation = "CFOOD, OpenOOD openood/postprocessors/cfood_postprocessor.py",
           .answers = "zero feature: stays 0; fewer than 2 reference rows: an error",
           .needs = {F::kTrainFeatures},
           .scores_features = true,
           .search = {{"alpha", {0.1, 0.5, 1.0}}, {"k", {0.001, 0.005, 0.01, 0.05}}}},
          OptionTable<CfoodOptions>("postprocessor.cfood", "CFOOD")
              .option("alpha", &CfoodOptions::alpha,
                      {.meaning = "share of the training set in the reference set, above 0",
                       .min = 1e-9,
                       .max = 1})
              .option("k", &CfoodOptions::k,
                      {.meaning = "share of the reference rows whose neighbourhoods have to "
                                  "contain the sample",
                       .min = 0,
                       .max = 1})
              .option("seed", &CfoodOptions::seed,
                      {.meaning = "seed of the reference set, if alpha is below 1",
                       .min = 0,
                       .max = kAnyInteger})
              .option("block_rows", &CfoodOptions::block_rows, block_info()),
          fit_cfood, score_cfood),
  };
}

}  // namespace dissent::scores
