// The fused pass against the functions of the table, which take a pass a score.
#include <dissent/scores/registry.hpp>

#include <cstdint>
#include <limits>
#include <set>

#include "core/parallel.hpp"
#include "core/random.hpp"
#include "evaluate/scoring/fused_scores.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

at::Tensor logits_of(int64_t members, int64_t rows, int64_t classes, double scale) {
  auto z = at::empty({members, rows, classes}, at::kFloat);
  fill_uniform(z, -scale, scale, Random(7, Purpose::kNoise, members, classes));
  return z;
}

std::vector<const scores::ScoreInfo*> scores_for(int64_t members) {
  std::vector<const scores::ScoreInfo*> infos;
  for (const auto& score : scores::score_table())
    if (is_fused(score) && members >= score.min_members) infos.push_back(&score);
  return infos;
}

const scores::ScoreInfo* score(const char* name) { return &scores::find_score(name); }

}  // namespace

TEST(FusedScores, AgreeWithTheTableInF64) {
  for (const int64_t members : {1, 2, 5})
    for (const int64_t classes : {2, 7, 1000})
      for (const double scale : {0.01, 3.0, 60.0}) {
        const auto z = logits_of(members, 70, classes, scale);
        const auto infos = scores_for(members);
        const auto values = fused_scores(z, infos, 2.0);
        for (size_t s = 0; s < infos.size(); ++s) {
          const auto& name = infos[s]->name;
          const auto expected =
              infos[s]->function(z.to(at::kDouble) / 2, scores::InputKind::kLogits);
          // Sums of C terms in f32; a2d_score is a logarithm of differences of probabilities, which
          // lose their leading digits, all of them near p = 1.
          if (name == "a2d_score" && scale > 10) continue;
          const double tolerance = (name == "a2d_score" ? 2000 : 200) *
                                   std::numeric_limits<float>::epsilon() *
                                   (1 + expected.abs().max().item<double>());
          EXPECT_LT((values[static_cast<int64_t>(s)] - expected).abs().max().item<double>(),
                    tolerance)
              << name << " M " << members << " C " << classes << " scale " << scale;
        }
      }
}

// Each value of the fused pass belongs to exactly one score of the registry.
TEST(FusedScores, EveryValueHasOneScore) {
  std::set<scores::FusedScore> used;
  for (const auto& score : scores::score_table()) {
    if (is_fused(score)) {
      EXPECT_TRUE(used.insert(score.fused).second) << score.name;
    }
  }
  EXPECT_EQ(used.size(), static_cast<size_t>(scores::FusedScore::kCount) - 1);  // without kNone
}

TEST(FusedScores, HaveTheSameBitsForAnyThreadsAndBlocks) {
  const auto z = logits_of(5, 100, 1000, 4);
  const auto infos = scores_for(5);
  const auto one = fused_scores(z, infos);
  set_threads(3);
  EXPECT_TRUE(at::equal(fused_scores(z, infos), one));
  set_threads(1);
  EXPECT_TRUE(
      at::equal(fused_scores(z.narrow(1, 37, 50).contiguous(), infos), one.narrow(1, 37, 50)));
}

TEST(FusedScores, ARowThatIsNotFiniteIsNan) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    auto z = logits_of(3, 4, 10, 1);
    z[1][2][5] = bad;
    const auto values = fused_scores(z, scores_for(3));
    EXPECT_TRUE(values.select(1, 2).isnan().all().item<bool>());
    EXPECT_TRUE(values.select(1, 1).isfinite().all().item<bool>());
  }
  EXPECT_EQ(fused_scores(at::empty({2, 0, 3}), {score("pds")}).numel(), 0);
}

TEST(FusedScores, OneMemberHasNoSpread) {
  EXPECT_CONTAINS(
      error_of(ErrorKind::kUsage, [] { fused_scores(logits_of(1, 2, 3, 1), {score("maxstd")}); }),
      "expected 2 members or more, found 1");
}
