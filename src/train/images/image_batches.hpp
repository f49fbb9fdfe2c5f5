#pragma once
#include <cstdint>
#include <deque>
#include <future>
#include <optional>
#include <vector>

#include "comm/grid.hpp"
#include "data/image_loader.hpp"
#include "ensemble/members.hpp"
#include "train/images/image_data.hpp"
#include "train/images/image_plan.hpp"
#include "train/images/image_stepper.hpp"

namespace dissent {

/// The batches of an epoch in order, read ahead by the loader's workers. Each rank makes the pixels
/// that its own networks need: they follow from counters (image_plan.hpp), so none are sent.
class ImageBatches {
 public:
  struct Options {
    int64_t workers = 0;   ///< background threads; 0: batches are made when they are taken
    int64_t prefetch = 1;  ///< batches that workers prepare ahead
    bool skip_damaged = false;
    uint64_t seed = 0;
  };
  ImageBatches(const Options& options, const ImageData& data, const ImagePlanOptions& plan,
               const ImageMembers& members, const ImageStepper& stepper, const Grid& grid);

  /// Starts an epoch at one of its batches.
  void begin(const ImageEpoch& epoch, int64_t first_batch);
  /// The next batch. Error::kData for a damaged image of this rank, unless they are skipped. Not
  /// collective: errors of one rank have to be agreed on.
  ImageStepInput next();
  /// Requests batches ahead; next() does so too.
  void prefetch();

  ImageLoader& loader() { return loader_; }

 private:
  // A set's part of a batch, on its way.
  struct PendingRows {
    std::future<ImageBatch> future;
    int64_t total = 0;  ///< rows over all data ranks
  };
  // The batches of one step's batch number, on their way.
  struct Requested {
    ImageStepInput input;
    std::vector<PendingRows> own;
    std::optional<PendingRows> common;
    int64_t common_network = -1;  ///< the local network whose own batch it is; -1: none
  };
  Requested request(int64_t batch);
  PendingRows load(const TransformedSet& set, const std::vector<int64_t>& rows, uint64_t stream);
  ImageRows receive(PendingRows& rows, bool labelled) const;

  Options options_;
  const ImageData& data_;
  const ImagePlanOptions& plan_;
  const ImageMembers& members_;
  const ImageStepper& stepper_;
  const Grid& grid_;
  ImageLoader loader_;
  const ImageEpoch* epoch_ = nullptr;
  std::deque<Requested> requested_;
  int64_t next_request_ = 0;  ///< first batch of the epoch that is not requested yet
};

}  // namespace dissent
