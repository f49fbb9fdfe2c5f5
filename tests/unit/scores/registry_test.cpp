// Properties that every score of the table has to have.
#include <dissent/metrics/ranking.hpp>
#include <dissent/scores/registry.hpp>

#include <set>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

TEST(ScoreTable, NamesAreUniqueAndFound) {
  std::set<std::string> names, released;
  for (const auto& score : score_table()) {
    EXPECT_TRUE(names.insert(score.name).second) << score.name;
    EXPECT_EQ(&find_score(score.name), &score);
    if (!score.released_name.empty()) {
      EXPECT_TRUE(released.insert(score.released_name).second) << score.released_name;
      EXPECT_EQ(find_released_score(score.released_name), &score);
    }
    EXPECT_FALSE(score.meaning.empty() || score.citation.empty()) << score.name;
  }
  expect_error(ErrorKind::kUsage, "score: expected one of pds, ", [] { find_score("pdss"); });
  EXPECT_EQ(find_released_score("pds"), nullptr);
  EXPECT_EQ(find_released_score(""), nullptr);
}

TEST(ScoreTable, OrderOfMembersDoesNotMatter) {
  const auto logits = made_logits(4, 6, 5);
  const auto order = at::tensor({2, 0, 3, 1}, at::kLong);
  for (const auto& score : score_table()) {
    const auto one = score.function(logits, InputKind::kLogits),
               other = score.function(logits.index_select(0, order), InputKind::kLogits);
    EXPECT_LT((one - other).abs().max().item<double>(), 1e-13) << score.name;
  }
}

TEST(ScoreTable, ScoresAreOfOneSampleAlone) {
  const auto logits = made_logits(4, 6, 5);
  for (const auto& score : score_table()) {
    const auto whole = score.function(logits, InputKind::kLogits);
    EXPECT_EQ(whole.sizes(), at::IntArrayRef({6})) << score.name;
    for (int64_t b = 0; b < 6; ++b)
      EXPECT_NEAR(score.function(logits.slice(1, b, b + 1), InputKind::kLogits).item<double>(),
                  whole[b].item<double>(), 1e-13)
          << score.name;
  }
}

// Members that agree with certainty on ID samples and differ without certainty on OOD ones: each
// score has to rank them as its line says.
TEST(ScoreTable, PositiveClassIsTheOneWithLargerValues) {
  const int64_t members = 5, rows = 200, classes = 10;
  auto id = made_logits(members, rows, classes, 0.1, 1);
  id.select(2, 3).add_(8);
  const auto ood = made_logits(members, rows, classes, 1.0, 2);
  for (const auto& score : score_table()) {
    metrics::Ranking ranking;
    const auto of_id = score.function(id, InputKind::kLogits),
               of_ood = score.function(ood, InputKind::kLogits);
    const bool id_positive = score.positive == Positive::kId;
    ranking.update(of_id, at::full({rows}, id_positive, at::kBool));
    ranking.update(of_ood, at::full({rows}, !id_positive, at::kBool));
    EXPECT_GT(metrics::auroc(ranking.finish()), 0.95) << score.name;
  }
}

TEST(ScoreTable, TooFewMembersAreAnError) {
  for (const auto& score : score_table()) {
    const auto run = [&](int64_t members) {
      return score.function(made_logits(members, 4, 5), InputKind::kLogits);
    };
    EXPECT_NO_THROW(run(score.min_members)) << score.name;
    EXPECT_TRUE(run(score.min_members).isfinite().all().item<bool>()) << score.name;
    if (score.min_members > 1) expect_error(ErrorKind::kUsage, "expected [M >= 2", [&] { run(1); });
  }
}

TEST(ScoreTable, SinglePrecisionStaysNearDouble) {
  const auto logits = made_logits(5, 128, 1000).to(at::kFloat);
  for (const auto& score : score_table()) {
    const auto exact = score.function(logits.to(at::kDouble), InputKind::kLogits),
               single = score.function(logits, InputKind::kLogits);
    EXPECT_EQ(single.scalar_type(), at::kFloat) << score.name;
    // 80 roundings of 2^-24, relative to at least 1.
    EXPECT_LT(((single - exact) / exact.abs().clamp_min(1)).abs().max().item<double>(), 5e-6)
        << score.name;
  }
}
