// Time of an evaluation of SED's heads: the forward pass against its products alone, and what comes
// after the logits (twelve scores and their AUROCs); the same work as bench/peers/evaluate.py. One
// JSON object a line.
//   bench_evaluate [--threads N] [--rows N]
#include <chrono>
#include <cstdio>
#include <cstring>

#include "core/parallel.hpp"
#include "core/random.hpp"
#include "evaluate/scoring/fused_scores.hpp"
#include "evaluate/subjects/head_networks.hpp"
#include "evaluate/values/metric_values.hpp"

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
using Clock = std::chrono::steady_clock;

double seconds(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void report(const char* what, double seconds, int64_t rows) {
  std::printf(
      "{\"bench\": \"evaluate\", \"peer\": \"dissent\", \"what\": \"%s\", \"threads\": %d, "
      "\"rows\": %lld, \"s\": %.3f}\n",
      what, threads(), static_cast<long long>(rows), seconds);
  std::fflush(stdout);
}

// The three products of a member on its blocks, split as the forward pass splits them.
void products(const at::Tensor& x, const std::vector<at::Tensor>& weights) {
  parallel_tasks(kMembers * x.size(0) / 256, [&](int64_t task) {
    const auto part = x.narrow(0, task % (x.size(0) / 256) * 256, 256);
    at::mm(at::mm(at::mm(part, weights[0]), weights[1]), weights[2]);
  });
}

}  // namespace

int main(int count, char** arguments) {
  int64_t rows = 8192;
  int thread_count = 2;
  for (int i = 1; i + 1 < count; i += 2) {
    if (!std::strcmp(arguments[i], "--threads")) thread_count = std::atoi(arguments[i + 1]);
    if (!std::strcmp(arguments[i], "--rows")) rows = std::atoll(arguments[i + 1]) / kBlock * kBlock;
  }
  set_threads(thread_count);
  const std::shared_ptr<const Head> head = make_head("block_head", kDim, kHidden, kClasses);
  auto members = at::empty({kMembers, head->layout().size()}, at::kFloat);
  for (int64_t m = 0; m < kMembers; ++m) head->initialise(members[m], 1, m);
  const auto networks = head_networks(head, members, kDim, kClasses);
  auto x = at::empty({kBlock, kDim}, at::kFloat);
  fill_uniform(x, -1, 1, Random(1, Purpose::kNoise));
  const std::vector<at::Tensor> weights{at::rand({kDim, kHidden}), at::rand({kHidden, kDim}),
                                        at::rand({kDim, kClasses})};
  const auto which = all_of(kMembers);
  networks->forward(x, which, false);
  products(x, weights);
  report("forward", seconds([&] {
           for (int64_t r = 0; r < rows; r += kBlock) networks->forward(x, which, false);
         }),
         rows);
  report("products", seconds([&] {
           for (int64_t r = 0; r < rows; r += kBlock) products(x, weights);
         }),
         rows);

  auto logits = at::randn({kMembers, kBlock, kClasses}) * 3;
  std::vector<const scores::ScoreInfo*> infos;
  for (const auto& name : kScores) infos.push_back(&scores::find_score(name));
  std::vector<at::Tensor> blocks;
  report("scores", seconds([&] {
           for (int64_t r = 0; r < rows; r += kBlock) blocks.push_back(fused_scores(logits, infos));
         }),
         rows);
  const auto values = at::cat(blocks, 1) +
                      at::rand({static_cast<int64_t>(kScores.size()), rows}, at::kDouble) * 1e-3;
  report("auroc", seconds([&] {
           parallel_tasks(static_cast<int64_t>(kScores.size()), [&](int64_t s) {
             PlannedScore score;
             score.name = kScores[s];
             score.info = infos[s];
             auroc_of(values[s].narrow(0, 0, rows / 2), values[s].narrow(0, rows / 2, rows / 2),
                      score, metrics::Convention::kSklearn, "bench");
           });
         }),
         rows);
  return 0;
}
