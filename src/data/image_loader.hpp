#pragma once
#include <ATen/core/Tensor.h>

#include <future>
#include <vector>

#include "data/image_source.hpp"
#include "data/transforms/transform.hpp"

namespace dissent {

/// Rows of a set, to be made into a network's input. Draws of row r are keyed by (seed, stream, r)
/// alone (ImageTransform::row), so neither order, batches, workers nor ranks change a pixel.
struct ImageRequest {
  const ImageSource* source = nullptr;
  const TransformOptions* transform = nullptr;
  std::vector<int64_t> rows = {};
  uint64_t seed = 0;
  uint64_t stream = 0;  ///< say, the epoch of a member
};

/// What became of a request.
struct ImageBatch {
  at::Tensor x;               ///< [b, 3, S, S] f32
  at::Tensor labels;          ///< [b] i64
  std::vector<int64_t> rows;  ///< [b] those of the request without the damaged ones
};

struct ImageLoaderOptions {
  int64_t workers = 0;  ///< threads that decode and transform in the background; 0: in load(), on
                        ///< the threads of this process
  bool skip_damaged = false;  ///< leaves damaged images out, counts them and logs the first ones by
                              ///< name; else they are errors
};

/// Makes batches of images, in the background if there are workers: ask for the next batches before
/// the present one is used up.
class ImageLoader {
 public:
  explicit ImageLoader(const ImageLoaderOptions& options);
  ~ImageLoader();  ///< ends the workers; requests under way are finished first
  /// The batch to come, deferred: get() waits for it and rethrows the Error::kData of the first
  /// damaged image of the request (wait_for does not say ready). The request's source and transform
  /// have to outlive it.
  std::future<ImageBatch> load(ImageRequest request);
  int64_t damaged() const;  ///< images left out so far
  /// Different images so far whose pixels are all of one colour (constant_images.hpp).
  int64_t constant() const;

 private:
  struct Job;
  struct Pool;
  std::unique_ptr<Pool> pool_;
};

}  // namespace dissent
