#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <future>
#include <memory>
#include <vector>

#include "data/image_source.hpp"
#include "data/transforms/transform.hpp"

namespace dissent {

/// Rows of a set to be turned into a network's input. The random draws of row r are keyed by (seed,
/// stream, r) alone (ImageTransform::row), so order, batches, workers and ranks do not change a
/// pixel.
struct ImageRequest {
  const ImageSource* source = nullptr;
  const TransformOptions* transform = nullptr;
  std::vector<int64_t> rows = {};
  uint64_t seed = 0;
  uint64_t stream = 0;  ///< say, the epoch of a member
};

/// The result of a request.
struct ImageBatch {
  at::Tensor x;               ///< [b, 3, S, S] f32
  at::Tensor labels;          ///< [b] i64
  std::vector<int64_t> rows;  ///< [b] the requested rows without the damaged ones
};

struct ImageLoaderOptions {
  int64_t workers = 0;  ///< background threads that decode and transform; 0: in load(), on the
                        ///< threads of this process
  bool skip_damaged = false;  ///< skip damaged images, count them and log the first ones by name;
                              ///< false: they are errors
};

/// Makes batches of images, in the background if there are workers: request the next batches before
/// the current one has been used.
class ImageLoader {
 public:
  /// Starts the workers. Error::kUsage for a negative number of them.
  explicit ImageLoader(const ImageLoaderOptions& options);
  ~ImageLoader();  ///< joins the workers; running requests are finished first
  /// A deferred future: get() waits for the batch and rethrows the Error::kData of the first
  /// damaged image of the request (wait_for never reports ready). The request's source and
  /// transform have to outlive it.
  std::future<ImageBatch> load(ImageRequest request);
  int64_t damaged() const;  ///< images skipped so far
  /// Different images so far whose pixels all have the same colour (constant_images.hpp).
  int64_t constant() const;

 private:
  struct Job;
  struct Pool;
  std::unique_ptr<Pool> pool_;
};

}  // namespace dissent
