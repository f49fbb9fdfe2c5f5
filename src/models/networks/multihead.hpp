#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/networks/image_network.hpp"

namespace dissent {

/// M heads on one trunk: logits [M, B, C], head m = linear D-D, ReLU, linear D-C on the trunk's
/// features. features and maps are the trunk's and are shared by the members
/// (losses::MemberInputs::shared). Parameters: those of the trunk with the prefix "backbone.", then
/// "heads.m.0.weight", ".0.bias", ".2.weight", ".2.bias".
/// Ref: SDDE, openood/networks/ensemble.py ResNet18_32x32_Multihead
class Multihead final : public ImageNetwork {
 public:
  /// trunk: a network without classifier (classes 0).
  Multihead(std::unique_ptr<const ImageNetwork> trunk, int64_t heads, int64_t classes);
  std::string size_misfit(int64_t height, int64_t width) const override {
    return trunk_->size_misfit(height, width);
  }
  int64_t heads() const override { return static_cast<int64_t>(heads_.size()); }
  ImageOutput run(const Pass& pass, const at::Tensor& x) const override;

 private:
  struct Head {
    Linear hidden, output;
  };
  std::unique_ptr<const ImageNetwork> trunk_;
  std::vector<Head> heads_;
};

}  // namespace dissent
