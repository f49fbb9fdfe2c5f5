#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "models/networks/layers.hpp"
#include "models/parameters.hpp"

namespace dissent {

/// What an image network gives for B images.
struct ImageOutput {
  at::Tensor logits;  ///< [B, C]; of a multihead network [M, B, C]; undefined for a network without
                      ///< classifier (classes 0)
  at::Tensor features;  ///< [B, D], the penultimate layer: what the classifier reads
  at::Tensor maps;  ///< [B, K, h, w], the map that saliency losses take gradients with respect to:
                    ///< logits are computed from this very tensor
};

/// A network on images, as a function of named parameters: x [B, channels, H, W] f32 or f64 ->
/// logits. Stateless: parameters are a member's flat vector
/// [P] (parameters.hpp) cut into tensors, BatchNorm's running statistics another flat vector [Q].
/// Derivatives come from autograd, of any order. Names and order of parameters are those of the
/// references' state dicts, so that weights go in and out (weights.hpp).
class ImageNetwork {
 public:
  virtual ~ImageNetwork() = default;
  ImageNetwork(const ImageNetwork&) = delete;
  ImageNetwork& operator=(const ImageNetwork&) = delete;

  const ParameterLayout& layout() const { return parts_.parameters; }
  /// running_mean, running_var and num_batches_tracked (a float here) of each BatchNorm; empty
  /// where there is none.
  const ParameterLayout& buffer_layout() const { return parts_.buffers; }
  int64_t channels() const { return channels_; }
  int64_t classes() const { return classes_; }          ///< C; 0: no classifier
  int64_t feature_dim() const { return feature_dim_; }  ///< D
  /// M of a multihead network (its logits are [M, B, C]), else 0.
  virtual int64_t heads() const { return 0; }

  /// Fills a member's flat vector [P] (f32 or f64, CPU) as the references do; each parameter's
  /// draws are keyed by (seed, member, its position).
  void initialise(at::Tensor flat, uint64_t seed, int64_t member) const;
  /// Running means 0, variances 1, counts 0: flat [Q], CPU.
  void initialise_buffers(at::Tensor flat) const;

  /// parameters: one tensor an entry of layout(), on the device and of the dtype of x (see unpack).
  /// buffers [Q]: read in evaluation mode; in training mode the batch's statistics normalise and
  /// the running ones are updated in place. An evaluation pass with gradients keeps a copy of them,
  /// so its graph stays good whatever passes follow. Error::kUsage naming argument, wanted and
  /// given: number of parameters, shape of x, size of buffers. data: ranks that share the batch, x
  /// being this rank's rows of it, perhaps none. In training mode BatchNorm then takes the
  /// statistics of the whole batch, and this call and every derivative of it are collective over
  /// them (synchronised_batch_norm.hpp).
  ImageOutput forward(const std::vector<at::Tensor>& parameters, const at::Tensor& buffers,
                      const at::Tensor& x, bool training, Communicator* data = nullptr) const;

  /// What the edges of images have to be, if h x w do not fit: "28 .. 31 pixels"; else empty.
  virtual std::string size_misfit(int64_t /*height*/, int64_t /*width*/) const { return {}; }

  /// Layers at which features for a cache can be taken; the first is "features".
  virtual std::vector<std::string> cuts() const { return {"features"}; }
  /// Features [B, D] at a cut, evaluation mode. Error::kUsage for an unknown cut.
  virtual at::Tensor features_at(const std::string& cut, const std::vector<at::Tensor>& parameters,
                                 const at::Tensor& buffers, const at::Tensor& x) const;

  /// The body of forward, arguments checked: for networks made of networks.
  virtual ImageOutput run(const Pass& pass, const at::Tensor& x) const = 0;
  const NetworkParts& parts() const { return parts_; }

 protected:
  ImageNetwork(int64_t channels, int64_t classes, int64_t feature_dim)
      : channels_(channels), classes_(classes), feature_dim_(feature_dim) {}
  /// Checks arguments; evaluation mode unless training.
  Pass make_pass(const std::vector<at::Tensor>& parameters, const at::Tensor& buffers,
                 const at::Tensor& x, bool training, Communicator* data = nullptr) const;

  NetworkParts parts_;

 private:
  int64_t channels_, classes_, feature_dim_;
};

/// A flat vector [P] cut into its parameters, as views. Gradients go back to `flat` in one
/// concatenation. For gradients of single parameters give flat.detach() and call requires_grad_()
/// on each.
std::vector<at::Tensor> unpack(const at::Tensor& flat, const ParameterLayout& layout);

}  // namespace dissent
