// knn, nnguide, relation; cfood is in cfood.cpp.
#include <dissent/scores/neighbours.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/tensor_check.hpp"
#include "scores/bank.hpp"
#include "scores/fit_data.hpp"
#include "scores/nearest.hpp"
#include "scores/score_rows.hpp"
#include "scores/top_k.hpp"

namespace dissent::scores {
namespace {

constexpr double kNnguideEps = 1e-10, kRelationEps = 1e-10;

void check_neighbours(const char* name, int64_t k, int64_t rows) {
  DISSENT_CHECK(k >= 1 && k <= rows, kUsage, "{}: k: expected 1 .. {} (rows of the bank), found {}",
                name, rows, k);
}

at::Tensor relation_unit(const at::Tensor& rows) {
  return rows / (rows.square().sum(1, true) + kRelationEps).sqrt();
}

}  // namespace

State fit_knn(const FitData& data, const KnnOptions& options) {
  const auto bank = checked_features("knn", "training", data.train);
  check_neighbours("knn", options.k, bank.size(0));
  return bank_state("knn", {{"bank", bank}, {"k", at::scalar_tensor(options.k, at::kLong)}},
                    options.block_rows);
}

at::Tensor score_knn(const State& state, const at::Tensor& features, const at::Tensor& logits) {
  static_cast<void>(logits);
  const auto& bank = from_state("knn", state, "bank");
  const auto k = count_from_state("knn", state, "k"),
             block_rows = count_from_state("knn", state, "block_rows");

  // On the CPU f32 products select candidates, whose distances are then computed in f64.
  if (bank.device().is_cpu() && (!features.defined() || features.device().is_cpu())) {
    const auto nearest = [&](const at::Tensor& h, const at::Tensor&) {
      return kth_distances(h, bank, k, block_rows).neg();
    };
    return score_rows({.name = "knn",
                       .features = features,
                       .logits = {},
                       .dimension = bank.size(1),
                       .wide = true},
                      nearest, std::clamp<int64_t>(block_rows * block_rows / k, 1, block_rows));
  }

  // Elsewhere minus squared distances of unit vectors from products: 2 <q, t> - |t|^2 - |q|^2.
  const auto score = [&](const at::Tensor& h, const at::Tensor&) {
    const auto query = unit_rows(h),
               length = query.square().sum(1, true);  // 1, or 0 for a zero feature
    TopK nearest(h.size(0), k, h.device());
    for_blocks(bank, block_rows, [&](const at::Tensor& block, int64_t) {
      const auto other = unit_rows(block);
      nearest.update(at::mm(query, other.t()).mul_(2).sub_(other.square().sum(1)).sub_(length));
    });
    return nearest.values().amin(1).clamp_max(0);
  };
  return score_rows({"knn", features, {}, bank.size(1), 0}, score, block_rows);
}

State fit_nnguide(const FitData& data, const NnguideOptions& options) {
  const auto features = checked_features("nnguide", "training", data.train);
  const auto logits = checked_logits("nnguide", "training", data.train, data.head);
  DISSENT_CHECK(options.alpha > 0 && options.alpha <= 1, kUsage,
                "nnguide: alpha: expected a number above 0 and at most 1, found {}", options.alpha);
  DISSENT_CHECK(options.batch_rows >= 1, kUsage,
                "nnguide: batch_rows: expected 1 or more, found {}", options.batch_rows);

  // As in the reference, the bank consists of whole batches and is one batch larger than the share.
  const int64_t n = features.size(0),
                share = static_cast<int64_t>(static_cast<double>(n) * options.alpha);
  const int64_t rows = std::min(n, (share / options.batch_rows + 1) * options.batch_rows);
  check_neighbours("nnguide", options.k, rows);

  // Energies of the bank rows weight their similarities.
  auto energy = at::empty({rows}, features.options().dtype(at::kDouble));
  for_blocks(logits.narrow(0, 0, rows), kBlockRows, [&](const at::Tensor& block, int64_t first) {
    energy.narrow(0, first, block.size(0)).copy_(block.logsumexp(1));
  });

  State state = {{"bank", features.narrow(0, 0, rows)},
                 {"bank_energy", energy},
                 {"k", at::scalar_tensor(options.k, at::kLong)}};
  return bank_state("nnguide", std::move(state), options.block_rows);
}

at::Tensor score_nnguide(const State& state, const at::Tensor& features, const at::Tensor& logits) {
  const auto &bank = from_state("nnguide", state, "bank"),
             &energy = from_state("nnguide", state, "bank_energy");
  const auto k = count_from_state("nnguide", state, "k"),
             block_rows = count_from_state("nnguide", state, "block_rows");
  const auto score = [&](const at::Tensor& h, const at::Tensor& z) {
    // The largest products of the sample with bank rows scaled by their energies.
    const auto query = unit_rows(h) + kNnguideEps;
    TopK largest(h.size(0), k, h.device());
    for_blocks(bank, block_rows, [&](const at::Tensor& block, int64_t first) {
      const auto guide =
          (unit_rows(block) + kNnguideEps) * energy.narrow(0, first, block.size(0)).unsqueeze(1);
      largest.update(at::mm(query, guide.t()));
    });
    return largest.values().mean(1) * z.logsumexp(1);
  };
  return score_rows({"nnguide", features, logits, bank.size(1), -1}, score, block_rows);
}

State fit_relation(const FitData& data, const RelationOptions& options) {
  const auto features = checked_features("relation", "training", data.train);
  const auto logits = checked_logits("relation", "training", data.train, data.head);
  DISSENT_CHECK(options.power > 0, kUsage, "relation: power: expected a number above 0, found {}",
                options.power);
  DISSENT_CHECK(options.threshold >= 0, kUsage, "relation: threshold: expected 0 or more, found {}",
                options.threshold);

  // The whole training set is the bank: the tensors are kept as they are, without a copy.
  State state = {{"bank", features},
                 {"bank_logits", logits},
                 {"power", at::scalar_tensor(options.power, at::kDouble)},
                 {"threshold", at::scalar_tensor(options.threshold, at::kDouble)}};
  return bank_state("relation", std::move(state), options.block_rows);
}

at::Tensor score_relation(const State& state, const at::Tensor& features,
                          const at::Tensor& logits) {
  const auto &bank = from_state("relation", state, "bank"),
             &bank_logits = from_state("relation", state, "bank_logits");
  const double power = number_from_state("relation", state, "power"),
               threshold = number_from_state("relation", state, "threshold");
  const auto block_rows = count_from_state("relation", state, "block_rows");
  const auto score = [&](const at::Tensor& h, const at::Tensor& z) {
    // Edges: cosine of the features, cut at 0, times the product of the predictions.
    const auto query = relation_unit(h), p = at::softmax(z, 1);
    auto sum = at::zeros({h.size(0)}, h.options());
    for_blocks(bank, block_rows, [&](const at::Tensor& block, int64_t first) {
      const auto other =
          at::softmax(bank_logits.narrow(0, first, block.size(0)).to(at::kDouble), 1);
      auto edges = at::mm(query, relation_unit(block).t()).clamp_min_(0).mul_(at::mm(p, other.t()));

      edges.masked_fill_(edges.le(threshold), 0);
      sum += (power == 1 ? edges : edges.pow_(power)).sum(1);
    });
    return sum;
  };
  return score_rows({"relation", features, logits, bank.size(1), bank_logits.size(1)}, score,
                    block_rows);
}

}  // namespace dissent::scores
