// Time of the scores that read the whole training set, against their matrix products alone in
// blocks of the same size and type, on the same threads:
//   knn      the k-th nearest row of the bank for each sample; products in f32 (and in f64, which
//   the
//            result would need without the preselection in f32)
//   mds      the distance to the nearest of 1,000 class means; products in f64
//   mds_fit  class means and covariance; products in f64, X^T X as a whole
// `resident` is the peak memory of the process in bytes.
#include <dissent/scores/gaussian.hpp>
#include <dissent/scores/neighbours.hpp>

#include <algorithm>
#include <cstdint>
#include <string>

#include "core/parallel.hpp"
#include "core/random.hpp"
#include "harness.hpp"
#include "memory_use.hpp"

using namespace dissent;
using namespace dissent::scores;

namespace {

constexpr int64_t kClasses = 1000;

struct Sizes {
  int64_t bank = 100'000, dim = 768, rows = 1024, k = 50, block = 1024, f64_products = 1;
};

// products: seconds of the products alone.
void report(const Sizes& sizes, const std::string& what, double seconds, double products) {
  bench::report({.bench = "neighbours"}, what, seconds * 1e3,
                {{"bank", sizes.bank},
                 {"dim", sizes.dim},
                 {"rows", sizes.rows},
                 {"k", sizes.k},
                 {"block_rows", sizes.block},
                 {"times_products", seconds / products},
                 {"resident", dissent::testing::status_bytes("VmHWM:")}});
}

// Uniform numbers around a centre per class, so that neighbours differ as those of features do.
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

// Seconds of the products of all rows with the whole bank, in blocks: the threads take turns with
// the blocks of the bank.
double knn_products(const Sizes& sizes, const at::Tensor& rows, const at::Tensor& bank,
                    at::ScalarType dtype) {
  const auto q = rows.to(dtype), b = bank.narrow(0, 0, std::min(sizes.block, sizes.bank)).to(dtype);
  const int64_t blocks = sizes.bank / b.size(0), workers = threads();
  return bench::seconds_of([&] {
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
  const double fit = bench::seconds_of([&] { state = fit_knn(data, {sizes.k, sizes.block}); });
  const double products = knn_products(sizes, rows, bank, at::kFloat);
  report(sizes, "knn: products f32", products, products);
  report(sizes, "knn: score", bench::seconds_of([&] { score_knn(state, rows, {}); }), products);
  if (sizes.f64_products)
    report(sizes, "knn: products f64", knn_products(sizes, rows, bank, at::kDouble), products);
  report(sizes, "knn: fit", fit, products);
}

// A fit on 20 samples per class at most: its time is not measured here.
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
  const double products = bench::seconds_of([&] {
    parallel_tasks(sizes.rows / block.size(0),
                   [&](int64_t) { at::mm(at::mm(block, a), points.t()); });
  });
  report(sizes, "mds: products f64", products, products);
  report(sizes, "mds: score", bench::seconds_of([&] { score_mds(state, rows, {}); }), products);
}

void bench_mds_fit(const Sizes& sizes, const at::Tensor& bank) {
  const int64_t block_rows = 1024, parts = threads();
  const auto block = bank.narrow(0, 0, std::min(block_rows, sizes.bank)).to(at::kDouble);
  const double products = bench::seconds_of([&] {
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
  report(sizes, "mds_fit: fit", bench::seconds_of([&] { fit_mds(data); }), products);
}

}  // namespace

int main(int argc, char** argv) {
  Sizes sizes;
  std::string only;
  bench::Options options(
      "bench_neighbours",
      "Time of scores that read the whole training set, against their products.");
  options.choice("only", only, {"knn", "mds", "mds_fit"}, "one score")
      .number("bank", sizes.bank, "rows of the training set")
      .number("dim", sizes.dim, "features per row")
      .number("rows", sizes.rows, "rows to score")
      .number("k", sizes.k, "neighbours of knn")
      .number("block", sizes.block, "rows per block")
      .number("double", sizes.f64_products, "also time the products of knn in f64: 0 or 1", 0);
  return bench::run(options, argc, argv, [&] {
    set_threads(options.threads(2));
    const auto chosen = [&](const char* name) { return only.empty() || only == name; };
    const auto bank =
        chosen("knn") || chosen("mds_fit") ? made_features(sizes.bank, sizes.dim, 1) : at::Tensor();
    if (chosen("knn")) bench_knn(sizes, bank);
    if (chosen("mds")) bench_mds(sizes);
    if (chosen("mds_fit")) bench_mds_fit(sizes, bank);
  });
}
