#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "models/networks/image_network.hpp"

namespace dissent {

/// The cut of a vision transformer after the attention half of the last block: what SED caches.
inline constexpr const char* kClassTokenCut = "cls_after_last_attention";

struct VisionTransformerOptions {
  int64_t channels = 3;
  int64_t classes = 1000;  ///< 0: no classifier
  int64_t image_size = 224;
  int64_t patch_size = 16;
  int64_t dim = 768;   ///< D
  int64_t depth = 12;  ///< blocks
  int64_t attention_heads = 12;
  double mlp_ratio = 4;  ///< hidden width of the MLP over D
  bool qkv_bias = true;
  double norm_eps = 1e-6;
};

/// DeiT-3: a vision transformer with LayerScale. With L = (image_size / patch_size)^2 patches,
/// preceded by the class token (token 0):
///   t = [cls_token; patches + pos_embed]
///   each block:  t += gamma_1 * attention(norm1(t));  t += gamma_2 * mlp(norm2(t))
///   features = norm(t)[0]
/// pos_embed [1, L, D] has no entry for the class token. attention: rows of qkv ordered (q, k, v;
/// head; dimension), q scaled by head_dim^-0.5; mlp: exact (erf) GELU; LayerNorm with biased
/// variance. Initialisation: weights of linear layers, cls_token and pos_embed truncated normal
/// with deviation 0.02, biases 0, gammas 1e-4, the patch convolution PyTorch's default. No dropout
/// and no stochastic depth, so training and evaluation mode are the same. maps: the patch tokens
/// that enter the last block, [B, D, h, w] (after it patches no longer affect the class token).
/// Ref: Touvron, Cord, Jegou 2022, arXiv:2204.07118, models_v2.py (the class vit_models of SED,
/// local_models/deit3.py); cases networks.h5 / deit3
class VisionTransformer final : public ImageNetwork {
 public:
  /// Error::kUsage: depth below 1, a width that attention_heads does not divide, an image smaller
  /// than a patch.
  explicit VisionTransformer(const VisionTransformerOptions& options);

  struct Tokens {
    at::Tensor tokens;      ///< [B, 1 + L, D] after the last block, before the final norm
    at::Tensor cached_cls;  ///< [B, D], the class token after the attention half of the last block:
                            ///< the features that SED caches and block_head continues from
    at::Tensor maps;        ///< as above
  };
  Tokens tokens(const Pass& pass, const at::Tensor& x) const;
  /// Token 0 of the final norm [B, D].
  at::Tensor features_of(const Pass& pass, const at::Tensor& tokens) const;

  ImageOutput run(const Pass& pass, const at::Tensor& x) const override;
  std::vector<std::string> cuts() const override { return {kFeaturesCut, kClassTokenCut}; }
  at::Tensor features_at(const std::string& cut, const std::vector<at::Tensor>& parameters,
                         const at::Tensor& buffers, const at::Tensor& x) const override;

 protected:
  std::string size_misfit(int64_t height, int64_t width) const override;

 private:
  struct Block {
    size_t gamma_1, gamma_2;
    LayerNorm norm1;
    Linear qkv, proj;
    LayerNorm norm2;
    Linear fc1, fc2;
  };
  Block add_block(const std::string& name);
  // tokens: after the attention half of the last block.
  Tokens attended_tokens(const Pass& pass, const at::Tensor& x) const;
  at::Tensor embedded(const Pass& pass, const at::Tensor& x) const;
  at::Tensor attended(const Block& block, const Pass& pass, const at::Tensor& x) const;
  at::Tensor transformed(const Block& block, const Pass& pass, const at::Tensor& x) const;

  VisionTransformerOptions options_;
  size_t cls_token_, pos_embed_;
  Convolution patch_embed_;
  std::vector<Block> blocks_;
  LayerNorm norm_;
  Linear head_;
};

}  // namespace dissent
