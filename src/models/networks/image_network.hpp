#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "models/networks/layers.hpp"
#include "models/parameters.hpp"

namespace dissent {

/// Output of an image network for B images.
struct ImageOutput {
  at::Tensor logits;    ///< [B, C]; [M, B, C] for a multihead network; undefined for a network
                        ///< without classifier (classes 0)
  at::Tensor features;  ///< [B, D], the penultimate layer: what the classifier reads
  at::Tensor maps;  ///< [B, K, h, w], the map with respect to which saliency losses differentiate:
                    ///< the logits are computed from this tensor object
};

/// The cut that every network has: its penultimate features, which the classifier reads.
inline constexpr const char* kFeaturesCut = "features";

/// A network on images, as a function of named parameters: x [B, channels, H, W] f32 or f64 ->
/// logits. Stateless: parameters are views into a member's flat vector [P] (parameters.hpp),
/// BatchNorm's running statistics are another flat vector [Q]. Derivatives of any order come from
/// autograd. Names and order of parameters are those of the references' state dicts, so weights can
/// be imported and exported (weights/load.hpp).
class ImageNetwork {
 public:
  virtual ~ImageNetwork() = default;
  ImageNetwork(const ImageNetwork&) = delete;
  ImageNetwork& operator=(const ImageNetwork&) = delete;

  const ParameterLayout& layout() const { return parts_.parameters; }
  /// running_mean, running_var and num_batches_tracked (a float here) of each BatchNorm; empty for
  /// networks without BatchNorm.
  const ParameterLayout& buffer_layout() const { return parts_.buffers; }
  int64_t channels() const { return channels_; }
  int64_t classes() const { return classes_; }          ///< C; 0: no classifier
  int64_t feature_dim() const { return feature_dim_; }  ///< D
  /// M for a multihead network (its logits are [M, B, C]), else 0.
  virtual int64_t heads() const { return 0; }

  /// Initialises a member's flat vector [P] (f32 or f64, CPU) as the references do; each
  /// parameter's draws are keyed by (seed, member, its position).
  void initialise(at::Tensor flat, uint64_t seed, int64_t member) const;
  /// Running means 0, variances 1, counts 0: flat [Q], CPU.
  void initialise_buffers(at::Tensor flat) const;

  /// parameters: one tensor per entry of layout(), on the device and in the dtype of x (see
  /// unpack). buffers [Q]: read in evaluation mode; in training mode the batch's statistics are
  /// used to normalise, and the running ones are updated in place. An evaluation pass with
  /// gradients copies them, so its graph stays valid after later passes. data: ranks that share the
  /// batch, x being this rank's rows of it, perhaps none; in training mode BatchNorm then uses the
  /// statistics of the whole batch, and this call and every derivative of it are collective over
  /// these ranks (synchronised_batch_norm.hpp). Error::kUsage with argument, expected and found:
  /// number of parameters, shape of x, size of buffers.
  ImageOutput forward(const std::vector<at::Tensor>& parameters, const at::Tensor& buffers,
                      const at::Tensor& x, bool training, Communicator* data = nullptr) const;

  /// The required size of image edges if height x width does not fit: "28 .. 31 pixels"; else
  /// empty.
  virtual std::string size_misfit(int64_t /*height*/, int64_t /*width*/) const { return {}; }

  /// Layers whose features can be cached; the first is "features".
  virtual std::vector<std::string> cuts() const { return {kFeaturesCut}; }
  /// Features [B, D] at a cut, evaluation mode. Error::kUsage for an unknown cut.
  virtual at::Tensor features_at(const std::string& cut, const std::vector<at::Tensor>& parameters,
                                 const at::Tensor& buffers, const at::Tensor& x) const;

  /// The body of forward without the checks of arguments: for networks composed of networks.
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

/// Splits a flat vector [P] into its parameters, as views. Gradients flow back to `flat` through
/// one concatenation. For gradients of single parameters pass flat.detach() and call
/// requires_grad_() on each.
std::vector<at::Tensor> unpack(const at::Tensor& flat, const ParameterLayout& layout);

}  // namespace dissent
