#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>

#include "core/divide_up.hpp"
#include "models/networks/image_network.hpp"
#include "train/config/image_config.hpp"
#include "train/cost/shared_costs.hpp"

namespace dissent {

// What a training on images costs, from the configuration: bytes of memory, storage and messages.
// Sizes that depend on the network alone are counted in passes over one and two images
// (image_calibration.hpp); no data are needed.

/// Bytes that a pass of one network needs, counted. `fixed` does not grow with images.
struct PassBytes {
  int64_t fixed = 0, image = 0;
  int64_t of(int64_t images) const { return fixed + images * image; }
};

/// What one run computes.
struct ImageRunShape {
  std::shared_ptr<const ImageNetwork> network;
  ImageObjective objective;
  int64_t members = 0, size = 0;      ///< M; edge of the images S
  int64_t batch = 0, unlabelled = 0;  ///< images of a batch; of an unlabelled batch, 0: none
  int64_t accumulation = 1, prefetch = 0, epochs = 1;
  int64_t states = 0;         ///< optimiser values per parameter
  int64_t discriminator = 0;  ///< parameters of DICE's discriminator
  bool ema = false;
  std::optional<int64_t> rows, batches, validation_rows;  ///< per epoch; nothing: unknown
  int64_t validation_batch = 0;                           ///< images of a block; 0: no validation
  int64_t config_bytes = 0;
  int64_t set_bytes = 0;   ///< memory of the opened sets; 0: unknown
  int64_t map_pixels = 0;  ///< of the map that saliency losses read
  PassBytes training;      ///< what a training pass of a network saves for its backward pass
  PassBytes common;        ///< the same for the pass on the batch that all members see
  PassBytes derivative;    ///< what a saliency map or an input gradient adds to it: the graph of a
                           ///< derivative
  PassBytes backward;      ///< peak of a backward pass, beyond what is saved for it
  PassBytes forward;       ///< peak of a pass without a graph
  double pass_s = 0;       ///< seconds of a training pass forward of one image, for comparing grids
                           ///< before anything is measured

  int64_t flat() const { return network->layout().size(); }            ///< P
  int64_t buffers() const { return network->buffer_layout().size(); }  ///< Q
  bool multihead() const { return network->heads() > 0; }
  int64_t networks() const { return multihead() ? 1 : members; }
  bool couples() const;  ///< has losses between members
  /// These losses read a batch of their own.
  bool common_batch() const { return couples() && (!objective.same_batch || objective.unlabelled); }
  int64_t common_images() const { return objective.unlabelled ? unlabelled : batch; }
  /// Images through all networks per batch of a step, the common batch included.
  int64_t common_passes() const { return common_batch() ? common_images() * networks() : 0; }
  /// Updates per epoch, where the number of batches is known.
  int64_t steps_per_epoch() const { return divide_up(*batches, accumulation); }
};

/// Sizes from the configuration; counted ones are 0 until count_passes. rows, validation_rows: of
/// the sets, where known. Error::kUsage from the network's table.
ImageRunShape image_run_shape(const ImageTrainConfig& config, int64_t classes,
                              std::optional<int64_t> rows, std::optional<int64_t> validation_rows,
                              int64_t config_bytes);

/// Messages of one step (an update: `accumulation` batches), of the rank that receives most.
struct ImageStepCost {
  double images = 0;          ///< through the networks of the rank, both passes of a step
  double exchange_bytes = 0;  ///< received: logits, features, maps or input gradients of other
                              ///< members and rows, for each loss that reads them
  double reduce_bytes = 0;  ///< of weight gradients over data ranks, sent: 2 (d - 1) / d n P values
  int64_t messages = 0;     ///< gathers
};
ImageStepCost image_step_cost(const ImageRunShape& run, const GridShape& grid);

/// Memory in bytes at the peak, of the rank that holds most (n networks, b images of each batch).
struct ImageMemoryCost {
  int64_t base = kBaseBytes;
  int64_t parameters = 0;   ///< n (P + Q), and n P of a moving average
  int64_t optimizer = 0;    ///< states x n P
  int64_t gradients = 0;    ///< n P that is accumulated, and n P for each running pass
  int64_t activations = 0;  ///< what passes save: n of the common batch, and a training pass per
                            ///< thread; what a backward pass per thread adds
  int64_t saliency = 0;     ///< graphs of derivatives, n of the common batch
  int64_t images = 0;       ///< pixels of the batches, those read ahead included
  int64_t validation = 0;   ///< of a block
  int64_t checkpoint = 0;   ///< the largest parameter of all networks
  int64_t sets = 0;         ///< of the image sets, which each rank opens
  int64_t rank() const {
    return base + sets + parameters + optimizer + gradients +
           std::max(activations + saliency + images, std::max(validation, checkpoint));
  }
};
ImageMemoryCost image_memory_cost(const ImageRunShape& run, const GridShape& grid, int64_t threads);

/// Checkpoint: parameters, states, buffers, moving average.
StorageCost image_storage_cost(const ImageRunShape& run, int64_t ranks);

/// What a rank takes, measured or assumed.
struct ImageRankTimes {
  double batch_s = 0;  ///< passes of one batch through its networks, with losses between members
  double update_s = 0;
  double image_s = 0;       ///< to read and transform one image on the rank's threads; 0: unknown
  double validation_s = 0;  ///< of the validation set, its images read
};
struct ImageTimeCost : TimeCost {
  double reading_s = 0;  ///< per step
};
/// step = accumulation (batch_s + reading) + update_s + messages; with workers reading overlaps
/// with the passes, and the longer of both counts.
ImageTimeCost image_time_cost(const ImageRunShape& run, const GridShape& grid, int64_t runs,
                              const ImageRankTimes& times, const MessageCost& messages,
                              int64_t workers);

/// The fastest split of `ranks`, from pass_s, rounds of networks on threads, and messages. Nothing
/// if there is none.
std::optional<GridShape> best_image_grid(const ImageRunShape& run, int64_t ranks, int64_t runs,
                                         int64_t threads, const MessageCost& messages);

}  // namespace dissent
