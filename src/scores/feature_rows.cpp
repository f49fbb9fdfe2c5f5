#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <dissent/scores/class_geometry.hpp>
#include <dissent/scores/gaussian.hpp>
#include <dissent/scores/subspace.hpp>

#include "scores/postprocessor_rows.hpp"

namespace dissent::scores {
namespace {

using F = FitField;

constexpr auto kGaussianAnswers =
    "class without training samples: left out; directions without spread: left out";

OptionTable<GaussianOptions> gaussian_options(const std::string& name) {
  return OptionTable<GaussianOptions>("postprocessor." + name, "Gaussian")
      .option("block_rows", &GaussianOptions::block_rows,
              {.meaning = "samples per block", .scope = Scope::kExecution, .min = 1});
}

std::vector<PostprocessorInfo> class_rows() {
  return {
      // Gradients
      postprocessor_row<NoOptions>(
          {.name = "gradnorm",
           .summary = "Size of the head's gradient under a uniform target",
           .formula = "sum_c |C p_c - 1| |h|_1",
           .citation = "Huang, Geng and Li, On the Importance of Gradients for Detecting "
                       "Distributional Shifts in the Wild, NeurIPS 2021",
           .answers = {},
           .scores_features = true,
           .scores_logits = true},
          OptionTable<NoOptions>("postprocessor.gradnorm", "GradNorm"),
          [](const FitData&, const NoOptions&) { return State{}; }, score_gradnorm),

      // Patterns of classes
      postprocessor_row<SheOptions>(
          {.name = "she",
           .summary = "Similarity to the stored pattern of the predicted class",
           .formula = "<h, s>, -|h - s| or cos(h, s),  s the mean of the class's correctly "
                      "classified training features",
           .citation = "Zhang et al., Out-of-Distribution Detection based on In-Distribution Data "
                       "Patterns Memorization with Modern Hopfield Energy, ICLR 2023",
           .answers = "class without a correctly classified training sample: its pattern is 0",
           .needs = {F::kTrainFeatures, F::kTrainLogits, F::kTrainLabels},
           .scores_features = true,
           .scores_logits = true},
          OptionTable<SheOptions>("postprocessor.she", "SHE")
              .choice("metric", &SheOptions::metric,
                      {{"inner_product", SheMetric::kInnerProduct},
                       {"euclidean", SheMetric::kEuclidean},
                       {"cosine", SheMetric::kCosine}},
                      "measure of similarity"),
          fit_she, score_she),

      // Weights of classes
      postprocessor_row<FdbdOptions>(
          {.name = "fdbd",
           .summary = "Distances to the decision boundaries of the predicted class",
           .formula = "(sum over c != y of |z_c - z_y| / |w_c - w_y|) / |h - mean(h_train)|,  y = "
                      "argmax z",
           .citation =
               "Liu and Qin, Fast Decision Boundary based Out-of-Distribution Detector, ICML 2024",
           .answers = "classes with the same weight: left out; normaliser 0: score 0, the lowest",
           .needs = {F::kTrainFeatures, F::kHead},
           .scores_features = true,
           .scores_logits = true,
           .search = {{"distance_as_normalizer", {true, false}}}},
          OptionTable<FdbdOptions>("postprocessor.fdbd", "fDBD")
              .option("distance_as_normalizer", &FdbdOptions::distance_as_normalizer,
                      {.meaning = "divide by the distance to the training mean, else by |h|"}),
          fit_fdbd, score_fdbd),

      postprocessor_row<NciOptions>(
          {.name = "nci",
           .summary = "Closeness to the weight of the predicted class, plus the norm",
           .formula = "<w_y, h - m> / |h - m| + alpha |h|_1,  y = argmax z, m = mean(h_train)",
           .citation = "Liu and Qin, Detecting Out-of-Distribution through the Lens of Neural "
                       "Collapse, CVPR 2025",
           .answers = "h = m: the first term is 0",
           .needs = {F::kTrainFeatures, F::kHead},
           .scores_features = true,
           .scores_logits = true,
           .search = {{"alpha", {0.0001, 0.001, 0.01, 0.1}}}},
          OptionTable<NciOptions>("postprocessor.nci", "NCI")
              .option("alpha", &NciOptions::alpha, {.meaning = "weight of the norm", .min = 0}),
          fit_nci, score_nci),
  };
}

std::vector<PostprocessorInfo> space_rows() {
  return {
      // Gaussians
      postprocessor_row<GaussianOptions>(
          {.name = "mds",
           .summary = "Mahalanobis distance to the nearest class",
           .formula = "max_c -(h - mu_c)^T P (h - mu_c),  P the pseudo-inverse of the covariance "
                      "about the class means",
           .citation = "Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution "
                       "Samples and Adversarial Attacks, NeurIPS 2018",
           .answers = kGaussianAnswers,
           .needs = {F::kTrainFeatures, F::kTrainLabels},
           .scores_features = true,
           .wide = true},
          gaussian_options("mds"), fit_mds, score_mds),

      postprocessor_row<GaussianOptions>(
          {.name = "rmds",
           .summary = "Mahalanobis distance relative to that under one Gaussian of all classes",
           .formula = "max_c -(h - mu_c)^T P (h - mu_c) + (h - mu)^T P_0 (h - mu)",
           .citation = "Ren et al., A Simple Fix to Mahalanobis Distance for Improving Near-OOD "
                       "Detection, 2021",
           .answers = kGaussianAnswers,
           .needs = {F::kTrainFeatures, F::kTrainLabels},
           .scores_features = true,
           .wide = true},
          gaussian_options("rmds"), fit_rmds, score_rmds),

      // Principal spaces
      postprocessor_row<VimOptions>(
          {.name = "vim",
           .summary = "Energy less the distance to the principal space of the training features",
           .formula = "log sum_c exp z_c - alpha |R^T (h + pinv(W) b)|",
           .citation =
               "Wang et al., ViM: Out-Of-Distribution with Virtual-logit Matching, CVPR 2022",
           .answers = "dim of D or more, or training features inside of the space: an error",
           .needs = {F::kTrainFeatures, F::kTrainLogits, F::kHead},
           .scores_features = true,
           .scores_logits = true,
           .search = {{"dim", {int64_t{256}, int64_t{1000}}}}},
          OptionTable<VimOptions>("postprocessor.vim", "ViM")
              .option("dim", &VimOptions::dim,
                      {.meaning = "dimension of the principal space, below D", .min = 0}),
          fit_vim, score_vim),

      postprocessor_row<ResidualOptions>(
          {.name = "residual",
           .summary = "Distance to the principal space of the validation features",
           .formula = "-|R^T (h + pinv(W) b)|",
           .citation =
               "Wang et al., ViM: Out-Of-Distribution with Virtual-logit Matching, CVPR 2022",
           .answers = "dim of D or more: an error",
           .needs = {F::kValidationFeatures, F::kHead},
           .scores_features = true},
          OptionTable<ResidualOptions>("postprocessor.residual", "Residual")
              .option("dim", &ResidualOptions::dim,
                      {.meaning = "dimension of the principal space, below D", .min = 0}),
          fit_residual, score_residual),
  };
}

}  // namespace

std::vector<PostprocessorInfo> feature_rows() {
  auto rows = class_rows();
  for (auto& row : space_rows()) rows.push_back(std::move(row));
  return rows;
}

}  // namespace dissent::scores
