#include <dissent/scores/imagenet_subset.hpp>

#include <set>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

TEST(ImagenetSubset, HasTheClassesOfTheFile) {
  std::vector<int64_t> classes, outputs;
  for (const auto& name : imagenet_subset_names()) {
    const auto& subset = imagenet_subset(name);
    EXPECT_EQ(subset.output_of_class.numel(), 1000);
    classes.push_back(subset.output_of_class.ge(0).sum().item<int64_t>());
    outputs.push_back(static_cast<int64_t>(subset.outputs.size()));
    EXPECT_EQ(std::set<std::string>(subset.outputs.begin(), subset.outputs.end()).size(),
              subset.outputs.size());
    EXPECT_EQ(subset.output_of_class.max().item<int64_t>(), outputs.back() - 1);
  }
  EXPECT_EQ(classes, (std::vector<int64_t>{200, 200, 370, 207}));
  EXPECT_EQ(outputs, (std::vector<int64_t>{200, 200, 9, 16}));
  EXPECT_EQ(imagenet_subset("human16").outputs.front(), "airplane");
  EXPECT_EQ(imagenet_subset("imagenet_r").outputs.front(), "n01443537");  // class 1, goldfish
  EXPECT_EQ(imagenet_subset("imagenet9").output_of_class[0].item<int64_t>(), 8);  // class 0, a fish
  expect_error(ErrorKind::kUsage, "class subset: expected one of imagenet_a, ",
               [] { imagenet_subset("imagenet_v2"); });
}

TEST(ImagenetSubset, ReleasedRuleVotesAndAverages) {
  const auto logits = made_logits(2, 3, 1000);
  const auto& a = imagenet_subset("imagenet_a");
  EXPECT_TRUE(at::equal(subset_outputs(logits, InputKind::kLogits, a, SubsetRule::kReleased),
                        votes_in_subset(logits, a.output_of_class.ge(0))));
  const auto& nine = imagenet_subset("imagenet9");
  const auto means = subset_outputs(logits, InputKind::kLogits, nine, SubsetRule::kReleased);
  const auto p = at::softmax(logits, -1);
  EXPECT_NEAR(means[1][2][3].item<double>(),
              p[1][2].masked_select(nine.output_of_class.eq(3)).mean().item<double>(), 1e-16);
}

TEST(ImagenetSubset, MaskedSoftmaxSumsToOneAndIsConditional) {
  const auto logits = made_logits(2, 3, 1000);
  const auto p = at::softmax(logits, -1);
  for (const auto& name : imagenet_subset_names()) {
    const auto& subset = imagenet_subset(name);
    const auto from_logits =
        subset_outputs(logits, InputKind::kLogits, subset, SubsetRule::kMaskedSoftmax);
    EXPECT_EQ(from_logits.size(-1), static_cast<int64_t>(subset.outputs.size()));
    EXPECT_LT((from_logits.sum(-1) - 1).abs().max().item<double>(), 1e-14);
    EXPECT_LT((from_logits -
               subset_outputs(p, InputKind::kProbabilities, subset, SubsetRule::kMaskedSoftmax))
                  .abs()
                  .max()
                  .item<double>(),
              1e-15);
    const auto inside = p[0][0].masked_select(subset.output_of_class.ge(0)).sum(),
               of_two = p[0][0].masked_select(subset.output_of_class.eq(2)).sum();
    EXPECT_NEAR(from_logits[0][0][2].item<double>(), (of_two / inside).item<double>(), 1e-15);
  }
  const auto outside = at::zeros({1, 1000}, at::kDouble);
  EXPECT_EQ(subset_outputs(outside, InputKind::kProbabilities, imagenet_subset("imagenet_a"),
                           SubsetRule::kMaskedSoftmax)
                .sum()
                .item<double>(),
            0);
}

TEST(ImagenetSubset, LabelsFollow) {
  const auto labels = subset_labels(at::tensor(std::vector<int64_t>{0, 1}, at::kLong),
                                    imagenet_subset("imagenet_r"));
  EXPECT_EQ(labels[0].item<int64_t>(), -1);
  EXPECT_EQ(labels[1].item<int64_t>(), 0);
  expect_error(ErrorKind::kUsage, "expected [..., 1000]", [] {
    subset_outputs(at::zeros({2, 10}), InputKind::kLogits, imagenet_subset("imagenet_a"),
                   SubsetRule::kReleased);
  });
  expect_error(ErrorKind::kUsage, "expected class numbers 0 .. 999", [] {
    subset_labels(at::tensor(std::vector<int64_t>{0, 1000}, at::kLong),
                  imagenet_subset("imagenet_a"));
  });
}
