// A merged metric state is that of the whole, however the samples lie on ranks. Run on 1 to 4
// ranks; every rank makes all samples and keeps some.
#include "evaluate/values/reduce.hpp"

#include <gtest/gtest.h>
#include <dissent/metrics/classification.hpp>
#include <dissent/metrics/diversity.hpp>

#include <cstdint>
#include <functional>
#include <vector>

#include "finite_difference.hpp"
#include "mpi_main.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

// Which rank has sample i.
using Lies = std::function<int(int64_t i, int64_t count, int ranks)>;
const std::vector<Lies>& distributions() {
  static const std::vector<Lies> all{
      [](int64_t i, int64_t, int ranks) { return static_cast<int>(i % ranks); },  // in turn
      [](int64_t i, int64_t count, int ranks) {
        return static_cast<int>(i * ranks / count);
      },                                                      // blocks
      [](int64_t, int64_t, int ranks) { return ranks - 1; },  // all on one
      [](int64_t i, int64_t, int ranks) {
        return i % 10 == 0 ? 0 : static_cast<int>((i / 7) % ranks);
      },  // uneven
  };
  return all;
}

at::Tensor own_rows(const Lies& lies, int64_t count) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < count; ++i)
    if (lies(i, count, world().size()) == world().rank()) rows.push_back(i);
  return at::tensor(rows, at::kLong);
}

}  // namespace

TEST(MergedState, EveryStateIsThatOfTheWhole) {
  const auto logits = made_logits(3, 90, 6);
  const auto labels = at::arange(90).remainder(6);
  metrics::Classification whole(6);
  metrics::Diversity diverse(3);
  whole.update(logits[0], labels);
  diverse.update(logits, labels);
  for (const auto& lies : distributions()) {
    const auto rows = own_rows(lies, 90);
    metrics::Classification own(6);
    metrics::Diversity own_diverse(3);
    if (rows.numel() > 0) own.update(logits[0].index_select(0, rows), labels.index_select(0, rows));
    own_diverse.update(logits.index_select(1, rows), labels.index_select(0, rows));
    own.from_state(merged_state(world(), own.state()));
    for (const char* name : {"accuracy", "nll", "brier", "ece", "ece_classwise"})
      EXPECT_EQ(own.finish(name), whole.finish(name)) << name;
    own_diverse.from_state(merged_state(world(), own_diverse.state()));
    EXPECT_TRUE(at::equal(own_diverse.state(), diverse.state()));
  }
}
