#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "models/networks/image_network.hpp"

namespace dissent {

struct ResNetOptions {
  int64_t channels = 3;
  int64_t classes = 10;  ///< 0: no classifier
  std::array<int64_t, 4> blocks{2, 2, 2, 2};
  /// Blocks of 1x1, 3x3 (with the stride), 1x1 with four times the width; else two 3x3.
  bool bottleneck = false;
  bool torchvision = false;  ///< stem 7x7 stride 2 and max pooling, "downsample", normal
                             ///< initialisation (fan out); else stem 3x3, "shortcut", PyTorch's
                             ///< default
  int64_t pool = 0;  ///< edge of the average pooling before the classifier, which has to leave one
                     ///< value per channel; 0: global
  int64_t width = 64;  ///< channels of the first stage; they double at each of the next three
};

/// Residual network with BatchNorm. D = 8 width (32 width with bottlenecks); maps: the output of
/// layer3, [B, 4 width (16 width), h, w], whose stride is 4, or 16 with torchvision's stem.
/// Ref: He, Zhang, Ren, Sun 2016; SDDE and OpenOOD,
/// openood/networks/resnet{18_32x32,18_64x64,18_224x224,50}.py; torchvision models/resnet.py
class ResNet final : public ImageNetwork {
 public:
  explicit ResNet(const ResNetOptions& options);
  ImageOutput run(const Pass& pass, const at::Tensor& x) const override;

 private:
  struct Block {
    std::vector<Convolution> convolutions;
    std::vector<BatchNorm> norms;
    std::vector<Convolution> shortcut;  ///< none or one
    std::vector<BatchNorm> shortcut_norm;
  };
  Block add_block(const std::string& name, int64_t in, int64_t planes, int64_t stride);
  at::Tensor run_block(const Block& block, const Pass& pass, const at::Tensor& x) const;
  std::string size_misfit(int64_t height, int64_t width) const override;
  at::Tensor pooled(const at::Tensor& x) const;

  ResNetOptions options_;
  Convolution stem_;
  BatchNorm stem_norm_;
  std::array<std::vector<Block>, 4> layers_;
  Linear fc_;
};

}  // namespace dissent
