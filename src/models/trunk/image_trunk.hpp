#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/networks/image_network.hpp"
#include "models/trunk/options.hpp"

namespace dissent {

/// A frozen network up to a named layer, the cut: images to features. Evaluation mode, no
/// gradients.
class ImageTrunk {
 public:
  /// Makes the network of `options` for images of edge image_size and reads its weights. From a
  /// checkpoint the network has the heads and classes of the run; from a file it has no classifier.
  /// Error::kUsage: no weights, a cut that the network does not have, a member that is missing, too
  /// large or given where there is none, a checkpoint of another network, f16 without a GPU.
  /// Error::kData: weights that are missing, damaged or do not fit, with each misfit. Not
  /// collective.
  ImageTrunk(const TrunkOptions& options, int64_t image_size, uint64_t seed, at::Device device);

  int64_t dim() const { return network_->feature_dim(); }  ///< D, the same at every cut
  at::Device device() const { return device_; }
  /// "xxh3:" and 16 hex digits: XXH3_64 of the parameters, then of the buffers, f32, in the
  /// network's order. The same weights have the same checksum, whatever kind of file they come
  /// from.
  const std::string& checksum() const { return checksum_; }
  /// x [B, 3, S, S] f32, host -> [B, D] f32, host. Thread-safe on the CPU. The features of an image
  /// are the same in every batch up to rounding in the matrix products; their last bits may depend
  /// on B and on the position in the batch.
  at::Tensor features(const at::Tensor& x) const;

 private:
  std::string cut_;
  at::ScalarType compute_;
  at::Device device_;
  std::unique_ptr<const ImageNetwork> network_;
  at::Tensor parameters_, buffers_;   // [P], [Q]
  std::vector<at::Tensor> unpacked_;  // views of parameters_
  std::string checksum_;
};

}  // namespace dissent
