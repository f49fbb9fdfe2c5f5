// The C++ side of scripts/compare_metrics: makes the logits of M members on N samples of C classes,
// as that script does bit for bit, and prints the metrics under convention sklearn as one JSON
// object.
//   metrics_peer SAMPLES CLASSES MEMBERS OOD_SAMPLES
#include <dissent/metrics/classification.hpp>
#include <dissent/metrics/diversity.hpp>
#include <dissent/metrics/ranking_values.hpp>
#include <dissent/metrics/registry.hpp>
#include <dissent/scores/ensemble_scores.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/parallel.hpp"

using namespace dissent;

namespace {

constexpr int64_t kBlock = 500;

struct Sizes {
  int64_t samples, classes, members, ood_samples;
};

uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

double uniform(uint64_t counter) {
  return static_cast<double>(mixed(counter * 0x9e3779b97f4a7c15ULL + 1) >> 11) * 0x1p-53;
}

// Sample n of the ID set is of class n * 7 mod C; its logit grows by a draw of its own. OOD samples
// (n >= samples) have no class.
double made_logit(const Sizes& sizes, int64_t m, int64_t n, int64_t c) {
  const uint64_t all = sizes.samples + sizes.ood_samples,
                 cell = (static_cast<uint64_t>(m) * all + n) * sizes.classes + c;
  const bool labelled = n < sizes.samples && c == n * 7 % sizes.classes;
  const double noise = 6 * (uniform(2 * cell) + uniform(2 * cell + 1) - 1);
  return labelled ? noise + 12 * uniform((uint64_t{1} << 60) + n) : noise;
}

at::Tensor made_block(const Sizes& sizes, int64_t first, int64_t count) {
  auto block = at::empty({sizes.members, count, sizes.classes}, at::kDouble);
  parallel_tasks(sizes.members, [&](int64_t m) {
    auto* out = block.data_ptr<double>() + m * count * sizes.classes;
    for (int64_t n = first; n < first + count; ++n)
      for (int64_t c = 0; c < sizes.classes; ++c) *out++ = made_logit(sizes, m, n, c);
  });
  return block;
}

class Peer {
 public:
  explicit Peer(const Sizes& sizes)
      : sizes_(sizes),
        predictors_(sizes.members + 1, metrics::Classification(sizes.classes)),
        diversity_(sizes.members) {}

  void run() {
    const int64_t all = sizes_.samples + sizes_.ood_samples;
    for (int64_t first = 0; first < all;) {
      const int64_t end = first < sizes_.samples ? sizes_.samples : all,
                    count = std::min(kBlock, end - first);
      add(made_block(sizes_, first, count), first, count);
      first += count;
    }
    print();
  }

 private:
  void add(const at::Tensor& logits, int64_t first, int64_t count) {
    const bool id = first < sizes_.samples;
    auto sum = logits[0].clone();
    for (int64_t m = 1; m < sizes_.members; ++m) sum += logits[m];
    const auto ensemble = sum / static_cast<double>(sizes_.members);
    const auto msp = at::softmax(ensemble, -1).amax(-1),
               pds = scores::pds(logits, scores::InputKind::kLogits);
    const auto ood = at::full({count}, !id, at::kBool);
    msp_.update(msp.neg(), ood);
    pds_.update(pds, ood);
    if (!id) return;
    const auto labels = (at::arange(first, first + count, at::kLong) * 7).remainder(sizes_.classes);
    parallel_tasks(sizes_.members + 2, [&](int64_t task) {
      if (task < sizes_.members)
        predictors_[task].update(logits[task], labels);
      else if (task == sizes_.members)
        predictors_[task].update(ensemble, labels);
      else
        diversity_.update(logits, labels);
    });
    confidence_.push_back(msp);
    right_.push_back(ensemble.argmax(-1).eq(labels));
  }

  void put(const std::string& name, double value) {
    std::printf("%s\n \"%s\": %.17g", std::exchange(any_, true) ? "," : "{", name.c_str(), value);
  }

  void print() {
    for (size_t i = 0; i < predictors_.size(); ++i) {
      const auto who =
          i + 1 == predictors_.size() ? std::string("ensemble") : fmt::format("member{}", i);
      for (const char* name :
           {"accuracy", "accuracy_top5", "nll", "brier", "ece", "ece_max", "ece_classwise"})
        put(who + "." + name, predictors_[i].finish(name));
    }
    for (const auto& [score, ranking] : {std::pair("msp", &msp_), std::pair("pds", &pds_)}) {
      const auto figures = metrics::ranking_values(*ranking);
      for (const auto& metric : metrics::metric_table())
        if (metric.needs == std::vector{metrics::MetricNeed::kOodScores})
          put(fmt::format("{}.{}", score, metric.name),
              metrics::detection_value(figures, metric.name));
    }
    const auto confidence = at::cat(confidence_), right = at::cat(right_);
    put("ensemble.ece_equal_mass", metrics::equal_mass_error(confidence, right));
    metrics::Ranking risk;
    risk.update(confidence, right);
    put("ensemble.aurc", metrics::ranking_values(risk, {{}, true}).aurc);
    const auto diversity = diversity_.finish();
    put("disagreement", diversity.disagreement);
    put("kl", diversity.kl);
    put("jensen_shannon", diversity.jensen_shannon);
    put("variance", diversity.variance);
    put("mutual_information", diversity.mutual_information);
    put("q_statistic", diversity.q_statistic);
    put("correlation", diversity.correlation);
    put("double_fault", diversity.double_fault);
    std::printf("\n}\n");
  }

  Sizes sizes_;
  bool any_ = false;
  std::vector<metrics::Classification> predictors_;
  metrics::Diversity diversity_;
  metrics::Ranking msp_, pds_;  // larger for OOD
  std::vector<at::Tensor> confidence_, right_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: metrics_peer SAMPLES CLASSES MEMBERS OOD_SAMPLES\n");
    return 2;
  }
  set_threads(2);
  Peer({std::atol(argv[1]), std::atol(argv[2]), std::atol(argv[3]), std::atol(argv[4])}).run();
  return 0;
}
