// Every post-processor on a GPU against the host: the same f64 arithmetic, with sums in other
// orders.
#include <gtest/gtest.h>

#include "gpu/gpu_main.hpp"
#include "unit/scores/made_features.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

TEST(GpuPostprocessors, GiveTheScoresOfTheHost) {
  const MadeFeatures made;
  const at::Device gpu(at::kCUDA, static_cast<c10::DeviceIndex>(device()));
  const auto data = MadeFeatures::to(made.data(), at::kDouble, gpu);
  const auto test = MadeFeatures::to(made.test, at::kDouble, gpu);
  for (const auto& info : postprocessor_table()) {
    SCOPED_TRACE(info.name);
    const auto options = small_options(info);
    const auto host =
        info.score(fit(info, made.data(), options), made.test.features, made.test.logits);
    const auto score = info.score(fit(info, data, options), test.features, test.logits);
    EXPECT_TRUE(score.is_cuda());
    EXPECT_LT(((score.cpu() - host) / host.abs().clamp_min(1)).abs().max().item<double>(),
              1e-9);  // the tolerance of the reference cases
  }
}
