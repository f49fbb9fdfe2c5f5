#pragma once
#include "train/cost/image_cost.hpp"
#include "train/images/image_data.hpp"

namespace dissent {

/// Fills in what is counted in passes of one network: bytes that they allocate (each tensor of a
/// pass over one and over two random images, on one thread), the map's pixels, and pass_s. Not
/// collective.
void count_passes(ImageRunShape& run);

/// Measures what a rank of this grid computes, for about `seconds`: ImageStepper and Optimizer
/// themselves, on random images of the real shapes, with the most networks and images that a rank
/// of the grid has, on threads() threads. Members of other ranks are left out of the losses between
/// members; where a rank has one network and such losses are used, two are measured on one thread
/// and halved. `set`: reading is measured on its first images; nullptr: reading is unknown. Not
/// collective. Ranks that share a machine should do it at the same time.
ImageRankTimes calibrate_images(const ImageTrainConfig& config, const ImageRunShape& run,
                                const GridShape& grid, const TransformedSet* set, double seconds);

/// Mean over the ranks with `measured`. Collective.
ImageRankTimes merge(Communicator& comm, const ImageRankTimes& own, bool measured);

}  // namespace dissent
