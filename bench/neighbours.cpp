// Time of the scores that read the whole training set, against their matrix products alone in the
// same blocks, of the same type, on the same threads:
//   knn
//       the k-th nearest of the bank for each sample; products f32 (and f64, in which the answer
//       would be without the choice by f32)
//   mds         the distance to the nearest of 1,000 class means; products f64
//   mds_fit     class means and covariance; products f64, X^T X in whole
// One JSON object a line; bytes are of the process, before the work and at its peak.
//   bench_neighbours [--threads N] [--only knn|mds|mds_fit] [--bank N] [--dim D] [--rows N] [--k K]
//       [--block N] [--double 0|1]
#include <dissent/scores/gaussian.hpp>
#include <dissent/scores/neighbours.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "core/parallel.hpp"
#include "core/random.hpp"
#include "memory_use.hpp"

using namespace dissent;
using namespace dissent::scores;

namespace {

constexpr int64_t kClasses = 1000;

struct Sizes {
  int64_t bank = 100'000, dim = 768, rows = 1024, k = 50, block = 1024, f64_products = 1;
  std::string only;
};

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void report(const Sizes& sizes, const std::string& what, double seconds, double products) {
  std::printf(
      "{\"bench\": \"neighbours\", \"peer\": \"dissent\", \"what\": \"%s\", \"bank\": %ld, "
      "\"dim\": %ld, \"rows\": %ld, \"k\": %ld, \"block_rows\": %ld, "
      "\"threads\": %d, \"ms\": %.1f, \"times_products\": %.3f, \"resident\": %ld}\n",
      what.c_str(), static_cast<long>(sizes.bank), static_cast<long>(sizes.dim),
      static_cast<long>(sizes.rows), static_cast<long>(sizes.k), static_cast<long>(sizes.block),
      threads(), seconds * 1e3, seconds / products,
      static_cast<long>(dissent::testing::status_bytes("VmHWM:")));
  std::fflush(stdout);
}

// Uniform numbers about a centre for each class, so that neighbours differ as those of features do.
// Made on all threads.
at::Tensor made_features(int64_t rows, int64_t dim, uint64_t seed) {
  constexpr int64_t kPart = 4096;
  auto centres = at::empty({kClasses, dim}, at::kFloat),
       features = at::empty({rows, dim}, at::kFloat);
  fill_uniform(centres, -0.5, 0.5, Random(7, Purpose::kNoise));
  parallel_tasks((rows + kPart - 1) / kPart, [&](int64_t part) {
    auto of_part = features.narrow(0, part * kPart, std::min(kPart, rows - part * kPart));
    fill_uniform(of_part, -1, 1, Random(seed, Purpose::kNoise, static_cast<uint64_t>(part)));
    for (int64_t row = 0; row < of_part.size(0); ++row)
      of_part[row] += centres[(row * 31) % kClasses];
  });
  return features;
}

// Products of all rows with the whole bank, in blocks: every thread takes blocks of the bank in
// turn.
double knn_products(const Sizes& sizes, const at::Tensor& rows, const at::Tensor& bank,
                    at::ScalarType dtype) {
  const auto q = rows.to(dtype), b = bank.narrow(0, 0, std::min(sizes.block, sizes.bank)).to(dtype);
  const int64_t blocks = sizes.bank / b.size(0), workers = threads();
  return seconds_of([&] {
    parallel_tasks(workers, [&](int64_t worker) {
      auto out = at::empty({std::min(sizes.block, sizes.rows), b.size(0)}, q.options());
      for (int64_t first = 0; first < sizes.rows; first += sizes.block) {
        const auto some = q.narrow(0, first, std::min(sizes.block, sizes.rows - first));
        auto of_some = out.narrow(0, 0, some.size(0));
        for (int64_t block = worker; block < blocks; block += workers)
          at::mm_out(of_some, some, b.t());
      }
    });
  });
}

void bench_knn(const Sizes& sizes, const at::Tensor& bank) {
  const auto rows = made_features(sizes.rows, sizes.dim, 2);
  FitData data;
  data.train.features = bank;
  State state;
  const double fit = seconds_of([&] { state = fit_knn(data, {sizes.k, sizes.block}); });
  const double products = knn_products(sizes, rows, bank, at::kFloat);
  report(sizes, "knn: products f32", products, products);
  report(sizes, "knn: score", seconds_of([&] { score_knn(state, rows, {}); }), products);
  if (sizes.f64_products)
    report(sizes, "knn: products f64", knn_products(sizes, rows, bank, at::kDouble), products);
  report(sizes, "knn: fit", fit, products);
}

State small_state(const Sizes& sizes) {
  auto few = sizes;
  few.bank = std::min<int64_t>(sizes.bank, 20 * kClasses);
  FitData data;
  data.train.features = made_features(few.bank, sizes.dim, 1);
  data.train.labels = at::arange(few.bank, at::kLong).remainder(kClasses);
  return fit_mds(data, {sizes.block});
}

void bench_mds(const Sizes& sizes) {
  const auto state = small_state(sizes);
  const auto rows = made_features(sizes.rows, sizes.dim, 2);
  const auto &a = state.at("whitening"), points = at::mm(state.at("class_mean"), a);
  const auto block = rows.narrow(0, 0, std::min(sizes.block, sizes.rows)).to(at::kDouble);
  const double products = seconds_of([&] {
    parallel_tasks(sizes.rows / block.size(0),
                   [&](int64_t) { at::mm(at::mm(block, a), points.t()); });
  });
  report(sizes, "mds: products f64", products, products);
  report(sizes, "mds: score", seconds_of([&] { score_mds(state, rows, {}); }), products);
}

void bench_mds_fit(const Sizes& sizes, const at::Tensor& bank) {
  const int64_t block_rows = 1024, parts = threads();
  const auto block = bank.narrow(0, 0, std::min(block_rows, sizes.bank)).to(at::kDouble);
  const double products = seconds_of([&] {
    parallel_tasks(parts, [&](int64_t part) {
      auto sum = at::zeros({sizes.dim, sizes.dim}, at::kDouble);
      for (int64_t i = part; i < sizes.bank / block.size(0); i += parts)
        sum.addmm_(block.t(), block);
    });
  });
  report(sizes, "mds_fit: products f64", products, products);
  FitData data;
  data.train.features = bank;
  data.train.labels = at::arange(sizes.bank, at::kLong).remainder(kClasses);
  report(sizes, "mds_fit: fit", seconds_of([&] { fit_mds(data); }), products);
}

}  // namespace

int main(int count, char** arguments) {
  Sizes sizes;
  int thread_count = 2;
  const std::pair<const char*, int64_t*> numbers[] = {
      {"--bank", &sizes.bank}, {"--dim", &sizes.dim},     {"--rows", &sizes.rows},
      {"--k", &sizes.k},       {"--block", &sizes.block}, {"--double", &sizes.f64_products}};
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string key = arguments[i];
    if (key == "--threads") thread_count = std::atoi(arguments[i + 1]);
    if (key == "--only") sizes.only = arguments[i + 1];
    for (const auto& [name, number] : numbers)
      if (key == name) *number = std::atol(arguments[i + 1]);
  }
  set_threads(thread_count);
  const auto wanted = [&](const char* name) { return sizes.only.empty() || sizes.only == name; };
  const auto bank =
      wanted("knn") || wanted("mds_fit") ? made_features(sizes.bank, sizes.dim, 1) : at::Tensor();
  if (wanted("knn")) bench_knn(sizes, bank);
  if (wanted("mds")) bench_mds(sizes);
  if (wanted("mds_fit")) bench_mds_fit(sizes, bank);
  return 0;
}
