#include "evaluate/values/saliency.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <dissent/losses/gradcam.hpp>

#include "core/stop.hpp"

namespace dissent {
namespace {

constexpr int64_t kBlockRows = 64;

}  // namespace

EnsembleSaliency ensemble_saliency(const LoadedEnsemble& ensemble, const EvaluationSet& set,
                                   int64_t count, const EvaluateOptions& options) {
  const at::NoGradGuard no_graph;
  const int64_t rows = std::min(count, set.rows());
  const Predictor all{"ensemble", all_of(ensemble.members()), true};
  std::vector<at::Tensor> images, maps, standardised, predictions;

  // Blocks bound the memory of the graph that the maps are derivatives of.
  for (int64_t first = 0; first < rows; first += kBlockRows) {
    throw_if_stopped();
    const int64_t block = std::min(kBlockRows, rows - first);
    images.push_back(set.pictures(first, block));
    const auto saliency =
        ensemble.networks->saliency(set.inputs(first, block), set.labels(first, block));
    maps.push_back(saliency.maps);
    standardised.push_back(saliency.standardised);
    predictions.push_back(output_logits(saliency.logits, all, options).argmax(1));
  }

  // Networks give maps by member, [M, B, h, w]; files have them by image, [N, M, h, w].
  EnsembleSaliency result;
  result.maps = {at::cat(images), at::cat(maps, 1).transpose(0, 1).contiguous(),
                 set.labels(0, rows).contiguous(), at::cat(predictions)};
  for (int64_t row = 0; row < rows; ++row) result.maps.names.push_back(set.row_name(row));
  result.maps.class_names = set.class_names();

  // The quantity of the loss: a similarity between members, so of at least two.
  if (ensemble.members() > 1)
    result.cosine = losses::saliency_similarity(at::cat(standardised, 1).to(at::kDouble),
                                                losses::Similarity::kCosine)
                        .item<double>();
  return result;
}

}  // namespace dissent
