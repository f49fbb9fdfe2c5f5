#include "models/networks/lenet.hpp"

#include <cstdint>
#include <string>

#include "core/tensor_check.hpp"

namespace dissent {
namespace {
constexpr int64_t kFeatures = 84;
}

LeNet::LeNet(int64_t channels, int64_t classes) : ImageNetwork(channels, classes, kFeatures) {
  block1_ = add_convolution(parts_, "block1.0",
                            {.in = channels, .out = 6, .kernel = 5, .padding = 2, .bias = true});
  block2_ = add_convolution(parts_, "block2.0", {.in = 6, .out = 16, .kernel = 5, .bias = true});

  // The third convolution covers its whole 5 x 5 input: one value per channel.
  block3_ = add_convolution(parts_, "block3.0", {.in = 16, .out = 120, .kernel = 5, .bias = true});
  classifier1_ = add_linear(parts_, "classifier1", {.in = 120, .out = kFeatures});
  if (classes > 0) fc_ = add_linear(parts_, "fc", {.in = kFeatures, .out = classes});
}

std::string LeNet::size_misfit(int64_t height, int64_t width) const {
  // The third convolution needs 5 x 5: the edge is halved, loses 4 pixels and is halved again.
  const auto fits = [](int64_t edge) { return edge >= 28 && edge < 32; };
  return fits(height) && fits(width) ? "" : "28 .. 31 pixels";
}

ImageOutput LeNet::run(const Pass& pass, const at::Tensor& x) const {
  ImageOutput out;
  const auto first = max_pool_2x2(block1_(pass, x).relu_());
  // The second block's output is the map that saliency losses differentiate with respect to.
  out.maps = as_parameters(pass, max_pool_2x2(block2_(pass, first).relu_()));
  out.features = classifier1_(pass, block3_(pass, out.maps).relu_().flatten(1)).relu_();
  if (classes() > 0) out.logits = fc_(pass, out.features);
  return out;
}

}  // namespace dissent
