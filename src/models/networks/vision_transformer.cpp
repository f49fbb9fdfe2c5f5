#include "models/networks/vision_transformer.hpp"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/tensor_check.hpp"

namespace dissent {
namespace {
constexpr double kTokenDeviation = 0.02;
constexpr double kLayerScaleStart = 1e-4;
}  // namespace

VisionTransformer::VisionTransformer(const VisionTransformerOptions& options)
    : ImageNetwork(options.channels, options.classes, options.dim), options_(options) {
  DISSENT_CHECK(options.depth >= 1 && options.attention_heads >= 1 &&
                    options.dim % options.attention_heads == 0,
                kUsage,
                "vision transformer: expected depth >= 1 and a width that its attention heads "
                "divide, found depth {}, width {}, heads {}",
                options.depth, options.dim, options.attention_heads);
  DISSENT_CHECK(options.patch_size >= 1 && options.image_size >= options.patch_size, kUsage,
                "vision transformer: image_size: expected at least a patch of {}, found {}",
                options.patch_size, options.image_size);

  // Parameters are added in the order of the reference's state dict.
  const int64_t edge = options.image_size / options.patch_size;
  cls_token_ = add_parameter(parts_, "cls_token", {1, 1, options.dim},
                             {Initial::Kind::kNormal, kTokenDeviation});
  pos_embed_ = add_parameter(parts_, "pos_embed", {1, edge * edge, options.dim},
                             {Initial::Kind::kNormal, kTokenDeviation});
  patch_embed_ = add_convolution(parts_, "patch_embed.proj",
                                 {.in = options.channels,
                                  .out = options.dim,
                                  .kernel = options.patch_size,
                                  .stride = options.patch_size,
                                  .bias = true});

  for (int64_t b = 0; b < options.depth; ++b)
    blocks_.push_back(add_block(fmt::format("blocks.{}", b)));

  norm_ = add_layer_norm(parts_, "norm", options.dim, options.norm_eps);
  if (options.classes > 0)
    head_ = add_transformer_linear(parts_, "head", {.in = options.dim, .out = options.classes});
}

VisionTransformer::Block VisionTransformer::add_block(const std::string& name) {
  const int64_t dim = options_.dim,
                hidden = static_cast<int64_t>(static_cast<double>(dim) * options_.mlp_ratio);

  // In the order of the reference's state dict, as above.
  Block block;
  block.gamma_1 =
      add_parameter(parts_, name + ".gamma_1", {dim}, {Initial::Kind::kConstant, kLayerScaleStart});
  block.gamma_2 =
      add_parameter(parts_, name + ".gamma_2", {dim}, {Initial::Kind::kConstant, kLayerScaleStart});

  // t += gamma_1 * attention(norm1(t))
  block.norm1 = add_layer_norm(parts_, name + ".norm1", dim, options_.norm_eps);
  block.qkv = add_transformer_linear(parts_, name + ".attn.qkv",
                                     {.in = dim, .out = 3 * dim, .bias = options_.qkv_bias});
  block.proj = add_transformer_linear(parts_, name + ".attn.proj", {.in = dim, .out = dim});

  // t += gamma_2 * mlp(norm2(t))
  block.norm2 = add_layer_norm(parts_, name + ".norm2", dim, options_.norm_eps);
  block.fc1 = add_transformer_linear(parts_, name + ".mlp.fc1", {.in = dim, .out = hidden});
  block.fc2 = add_transformer_linear(parts_, name + ".mlp.fc2", {.in = hidden, .out = dim});
  return block;
}

std::string VisionTransformer::size_misfit(int64_t height, int64_t width) const {
  if (height == options_.image_size && width == options_.image_size) return "";
  return fmt::format("{} pixels", options_.image_size);
}

at::Tensor VisionTransformer::embedded(const Pass& pass, const at::Tensor& x) const {
  // DeiT-3 adds positions to the patches only: its class token has none.
  const auto patches =
      patch_embed_(pass, x).flatten(2).transpose(1, 2) + pass.parameters[pos_embed_];
  return at::cat({pass.parameters[cls_token_].expand({x.size(0), -1, -1}), patches}, 1);
}

// The attention half of a block. Written out where gradients are enabled, since the fused kernel
// has no second derivative.
at::Tensor VisionTransformer::attended(const Block& block, const Pass& pass,
                                       const at::Tensor& x) const {
  const int64_t rows = x.size(0), tokens = x.size(1),
                head_dim = options_.dim / options_.attention_heads;

  // q, k and v, [B, heads, tokens, head_dim] each
  const auto qkv = block.qkv(pass, block.norm1(pass, x))
                       .view({rows, tokens, 3, options_.attention_heads, head_dim})
                       .permute({2, 0, 3, 1, 4})
                       .unbind(0);

  at::Tensor mixed;
  if (at::GradMode::is_enabled()) {
    const double scale = 1 / std::sqrt(static_cast<double>(head_dim));
    mixed = at::matmul(at::matmul(qkv[0] * scale, qkv[1].transpose(-2, -1)).softmax(-1), qkv[2]);
  } else {
    mixed = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]);
  }

  return x + pass.parameters[block.gamma_1] *
                 block.proj(pass, mixed.transpose(1, 2).reshape({rows, tokens, options_.dim}));
}

// The MLP half of a block.
at::Tensor VisionTransformer::transformed(const Block& block, const Pass& pass,
                                          const at::Tensor& x) const {
  return x + pass.parameters[block.gamma_2] *
                 block.fc2(pass, at::gelu(block.fc1(pass, block.norm2(pass, x))));
}

VisionTransformer::Tokens VisionTransformer::attended_tokens(const Pass& pass,
                                                             const at::Tensor& x) const {
  auto t = embedded(pass, x);
  for (size_t b = 0; b + 1 < blocks_.size(); ++b)
    t = transformed(blocks_[b], pass, attended(blocks_[b], pass, t));

  // The patch tokens that enter the last block are the maps.
  Tokens out;
  const int64_t edge = options_.image_size / options_.patch_size;
  t = as_parameters(pass, t);
  out.maps = t.narrow(1, 1, edge * edge).transpose(1, 2).unflatten(2, {edge, edge});
  // Rebuild the tokens from the maps, so that the logits depend on that tensor object.
  if (at::GradMode::is_enabled())
    t = at::cat({t.narrow(1, 0, 1), out.maps.flatten(2).transpose(1, 2)}, 1);

  out.tokens = attended(blocks_.back(), pass, t);
  out.cached_cls = out.tokens.select(1, 0);
  return out;
}

VisionTransformer::Tokens VisionTransformer::tokens(const Pass& pass, const at::Tensor& x) const {
  auto out = attended_tokens(pass, x);
  out.tokens = transformed(blocks_.back(), pass, out.tokens);
  return out;
}

at::Tensor VisionTransformer::features_of(const Pass& pass, const at::Tensor& tokens) const {
  return norm_(pass, tokens.select(1, 0));
}

ImageOutput VisionTransformer::run(const Pass& pass, const at::Tensor& x) const {
  const auto all = tokens(pass, x);
  ImageOutput out;
  out.maps = all.maps;
  out.features = features_of(pass, all.tokens);
  if (classes() > 0) out.logits = head_(pass, out.features);
  return out;
}

at::Tensor VisionTransformer::features_at(const std::string& cut,
                                          const std::vector<at::Tensor>& parameters,
                                          const at::Tensor& buffers, const at::Tensor& x) const {
  if (cut != kClassTokenCut) return ImageNetwork::features_at(cut, parameters, buffers, x);
  return attended_tokens(make_pass(parameters, buffers, x, false), x).cached_cls.contiguous();
}

}  // namespace dissent
