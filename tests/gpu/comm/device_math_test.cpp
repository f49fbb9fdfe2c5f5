// f32 and TF32 of products and convolutions on a GPU, and runtime.deterministic.
#include "core/device_math.hpp"

#include <gtest/gtest.h>

#include "comm/nccl.hpp"
#include "gpu/gpu_main.hpp"

using namespace dissent;

namespace {

class DeviceMathOnGpu : public ::testing::Test {
 protected:
  // LibTorch reads cuBLAS' workspace once, at the first product.
  static void SetUpTestSuite() { keep_cublas_deterministic(); }
  void SetUp() override {
    DISSENT_CUDA(cudaSetDevice(dissent::testing::device()));
    DISSENT_CUDA(cudaGetDeviceProperties(&properties_, dissent::testing::device()));
  }
  void TearDown() override { set_device_math({}); }

  static at::Tensor draw(at::IntArrayRef shape) { return at::randn(shape, at::kDouble); }
  static at::Tensor there(const at::Tensor& x) {
    return x.to(at::TensorOptions()
                    .dtype(at::kFloat)
                    .device(at::kCUDA, static_cast<c10::DeviceIndex>(dissent::testing::device())));
  }
  static double error(const at::Tensor& found, const at::Tensor& expected) {
    return ((found.cpu().to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
  }
  cudaDeviceProp properties_;
};

TEST_F(DeviceMathOnGpu, F32IsIeeeAndTf32IsNot) {
  const auto a = draw({512, 512}), b = draw({512, 512});
  const auto x = draw({8, 64, 32, 32}), w = draw({64, 64, 3, 3});
  const auto product = at::mm(a, b), convolution = at::conv2d(x, w, {}, 1, 1);
  for (const bool tf32 : {false, true}) {
    if (tf32 && properties_.major < 8) GTEST_SKIP() << "this GPU has no TF32";
    set_device_math({.tf32 = tf32});
    const double of_product = error(at::mm(there(a), there(b)), product),
                 of_convolution = error(at::conv2d(there(x), there(w), {}, 1, 1), convolution);
    // Rounding: of operands to 2^-11 of them for TF32, to 2^-24 in sums of some 500 for f32.
    for (const double found : {of_product, of_convolution}) {
      EXPECT_LT(found, tf32 ? 0x1p-9 : 0x1p-16);
      EXPECT_GT(found, tf32 ? 0x1p-14 : 0);
    }
  }
}

TEST_F(DeviceMathOnGpu, DeterministicGivesTheSameBitsEachTime) {
  set_device_math({.deterministic = true});
  const auto x = there(draw({8, 16, 32, 32})), w = there(draw({64, 16, 3, 3})),
             v = there(draw({10, 64}));
  const auto labels = at::arange(8, at::kLong).to(x.device());
  // What a step on images does: convolution, pooling, product, logits of labels; derivatives of
  // both orders.
  const auto run = [&] {
    const auto image = x.clone().requires_grad_(), weight = w.clone().requires_grad_();
    const auto maps = at::max_pool2d(at::conv2d(image, weight, {}, 1, 1).relu(), {2, 2});
    const auto logits = at::linear(maps.mean(at::IntArrayRef{2, 3}), v);
    const auto chosen =
        logits.gather(1, labels.unsqueeze(1)).sum() + std::get<0>(logits.max(1)).sum();
    const auto slope = torch::autograd::grad({chosen}, {image}, {}, true, true)[0];
    return torch::autograd::grad({slope.square().sum() + chosen}, {weight})[0];
  };
  const auto first = run();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(run(), first));
}

}  // namespace
