// Time of an evaluation of SED's heads: the forward pass, its products alone, and what comes after
// the logits (twelve scores and their AUROCs). bench/peers/evaluate.py does the same work.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/parallel.hpp"
#include "core/random.hpp"
#include "evaluate/scoring/fused_scores.hpp"
#include "evaluate/subjects/head_networks.hpp"
#include "evaluate/values/metric_values.hpp"
#include "harness.hpp"

using namespace dissent;

namespace {

constexpr int64_t kMembers = 5, kDim = 768, kHidden = 3072, kClasses = 1000, kBlock = 1024;
const std::vector<std::string> kScores{"msp",
                                       "mean_member_confidence",
                                       "different_predictions",
                                       "pds",
                                       "ensemble_entropy",
                                       "average_entropy",
                                       "mutual_information",
                                       "average_energy",
                                       "average_max_logit",
                                       "a2d_score",
                                       "prob_minmax",
                                       "minmax"};

// Times the work on all rows, block by block.
void time_blocks(const char* what, int64_t rows, const std::function<void()>& block) {
  const double seconds = bench::seconds_of([&] {
    for (int64_t r = 0; r < rows; r += kBlock) block();
  });
  bench::report({.bench = "evaluate"}, what, seconds * 1e3, {{"rows", rows}});
}

// The three products of a member on its blocks, split as the forward pass splits them.
void products(const at::Tensor& x, const std::vector<at::Tensor>& weights) {
  parallel_tasks(kMembers * x.size(0) / 256, [&](int64_t task) {
    const auto part = x.narrow(0, task % (x.size(0) / 256) * 256, 256);
    at::mm(at::mm(at::mm(part, weights[0]), weights[1]), weights[2]);
  });
}

void time_forward(int64_t rows) {
  const std::shared_ptr<const Head> head = make_head("block_head", kDim, kHidden, kClasses);
  auto members = at::empty({kMembers, head->layout().size()}, at::kFloat);
  for (int64_t m = 0; m < kMembers; ++m) head->initialise(members[m], 1, m);
  const auto networks = head_networks(head, members, kDim, kClasses);
  auto x = at::empty({kBlock, kDim}, at::kFloat);
  fill_uniform(x, -1, 1, Random(1, Purpose::kNoise));
  const std::vector<at::Tensor> weights{at::rand({kDim, kHidden}), at::rand({kHidden, kDim}),
                                        at::rand({kDim, kClasses})};
  const auto which = all_of(kMembers);

  // The first calls are not timed: they allocate memory and start threads.
  networks->forward(x, which, false);
  products(x, weights);
  time_blocks("forward", rows, [&] { networks->forward(x, which, false); });
  time_blocks("products", rows, [&] { products(x, weights); });
}

void time_scores(int64_t rows) {
  auto logits = at::randn({kMembers, kBlock, kClasses}) * 3;
  std::vector<const scores::ScoreInfo*> infos;
  for (const auto& name : kScores) infos.push_back(&scores::find_score(name));
  std::vector<at::Tensor> blocks;
  time_blocks("scores", rows, [&] { blocks.push_back(fused_scores(logits, infos)); });

  // All blocks have the same scores; noise makes them differ, as those of samples do.
  const auto count = static_cast<int64_t>(kScores.size());
  const auto values = at::cat(blocks, 1) + at::rand({count, rows}, at::kDouble) * 1e-3;
  const double seconds = bench::seconds_of([&] {
    parallel_tasks(count, [&](int64_t s) {
      PlannedScore score;
      score.name = kScores[s];
      score.info = infos[s];
      auroc_of(values[s].narrow(0, 0, rows / 2), values[s].narrow(0, rows / 2, rows / 2), score,
               metrics::Convention::kSklearn, "bench");
    });
  });
  bench::report({.bench = "evaluate"}, "auroc", seconds * 1e3, {{"rows", rows}});
}

}  // namespace

int main(int argc, char** argv) {
  int64_t rows = 8192;
  bench::Options options("bench_evaluate",
                         "Time of an evaluation of five heads: forward pass, its products alone, "
                         "twelve scores, their AUROCs.");
  options.number("rows", rows, "rows, rounded down to blocks of 1024", kBlock);
  return bench::run(options, argc, argv, [&] {
    set_threads(options.threads(2));
    time_forward(rows / kBlock * kBlock);
    time_scores(rows / kBlock * kBlock);
  });
}
