#pragma once
#include <cstdint>
#include <string>

#include "models/networks/image_network.hpp"

namespace dissent {

/// LeNet-5 with ReLU and max pooling, for 28 x 28: convolutions 6@5x5 (padding 2), 16@5x5, 120@5x5,
/// then 84 and C. D = 84; maps: the second block after its pooling, [B, 16, 5, 5]. No
/// normalisation, so training and evaluation mode are the same. PyTorch's default initialisation.
/// Ref: LeCun et al. 1998; SDDE and OpenOOD, openood/networks/lenet.py
class LeNet final : public ImageNetwork {
 public:
  LeNet(int64_t channels, int64_t classes);
  ImageOutput run(const Pass& pass, const at::Tensor& x) const override;

 protected:
  std::string size_misfit(int64_t height, int64_t width) const override;

 private:
  Convolution block1_, block2_, block3_;
  Linear classifier1_, fc_;
};

}  // namespace dissent
