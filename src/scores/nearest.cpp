#include "scores/nearest.hpp"

#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"

namespace dissent::scores {
namespace {

constexpr double kFarthest = std::numeric_limits<double>::infinity();
constexpr int64_t kLanes =
    8;  // partial sums, so that the order of additions is one that vectors have

template <class F>
double lane_sum(int64_t count, const F& term) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += term(i + lane);
  for (int64_t lane = 0; i < count; ++i, ++lane) lanes[lane] += term(i);

  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

// 1 / |x|; 0 for a row of zeros or one that is not finite.
template <class T>
double inverse_norm(const T* x, int64_t d) {
  const double norm = std::sqrt(lane_sum(
      d, [x](int64_t i) { return static_cast<double>(x[i]) * static_cast<double>(x[i]); }));
  return norm > 0 && norm < kFarthest ? 1 / norm : 0;
}

// |q - t|^2 of a unit vector and a row that is over its norm with `inverse`.
template <class T>
double squared_distance(const double* q, const T* t, double inverse, int64_t d) {
  return lane_sum(d, [=](int64_t i) {
    const double difference = q[i] - static_cast<double>(t[i]) * inverse;
    return difference * difference;
  });
}

// The k smallest, the largest of them first.
void keep(double* heap, int64_t k, double value) {
  if (!(value < heap[0])) return;
  std::pop_heap(heap, heap + k);
  heap[k - 1] = value;
  std::push_heap(heap, heap + k);
}

template <class P>
bool any_from(const P* values, int64_t count, P floor) {
  int any = 0;
  for (int64_t i = 0; i < count; ++i) any |= values[i] >= floor;
  return any != 0;
}

// How far a product of unit vectors can be off, in arithmetic of P, and their distance in f64.
template <class P>
double error_bound(int64_t d) {
  const double n = static_cast<double>(d) + 5, u = std::numeric_limits<P>::epsilon() / 2.0,
               u64 = std::numeric_limits<double>::epsilon();
  return (n * u < 0.5 ? n * u / (1 - n * u) : 4) + 4 * n * u64;  // no product is off by 4
}

// Rows to be scored: their unit vectors, and as what products take.
template <class P>
struct Queries {
  at::Tensor unit, product;   // [n, D] f64, P
  std::vector<char> is_zero;  // [n]
};

template <class P>
Queries<P> queries_of(const at::Tensor& rows) {
  const int64_t n = rows.size(0), d = rows.size(1);
  Queries<P> queries{at::zeros({n, d}, at::kDouble), {}, std::vector<char>(n)};

  const auto* from = rows.const_data_ptr<double>();
  auto* to = queries.unit.template mutable_data_ptr<double>();
  for (int64_t row = 0; row < n; ++row) {
    // A row of zeros has no direction and is handled apart.
    const double inverse = inverse_norm(from + row * d, d);
    queries.is_zero[row] = inverse == 0;
    for (int64_t i = row * d; inverse != 0 && i < (row + 1) * d; ++i) to[i] = from[i] * inverse;
  }
  queries.product = queries.unit.to(c10::CppTypeToScalarType<P>::value);
  return queries;
}

// One thread: the k nearest of each sample among the blocks of the bank that it is shown. B: type
// of the bank, P: of products.
template <class B, class P>
class Worker {
 public:
  Worker(const Queries<P>& queries, int64_t k, int64_t block_rows)
      : queries_(queries),
        d_(queries.unit.size(1)),
        k_(k),
        error_(error_bound<P>(d_)),
        inverse_(block_rows),
        heaps_(queries.unit.size(0) * k, kFarthest),
        unit_(at::empty({block_rows, d_}, queries.product.options())),
        products_(at::empty({queries.unit.size(0) * block_rows}, queries.product.options())) {}

  void show(const at::Tensor& block) {
    const int64_t n = queries_.unit.size(0), b = block.size(0);
    const auto* rows = block.const_data_ptr<B>();
    make_unit(rows, b);

    // One matrix product gives all products of the samples with the block.
    auto products = products_.narrow(0, 0, n * b).view({n, b});
    at::mm_out(products, queries_.product, unit_.narrow(0, 0, b).t());
    auto* values = products.template mutable_data_ptr<P>();
    for (int64_t row = 0; row < n; ++row)
      if (!queries_.is_zero[row]) look_at(row, values + row * b, rows, b);
  }
  const double* heap(int64_t row) const { return heaps_.data() + row * k_; }
  int64_t zeros() const { return zeros_; }

 private:
  void make_unit(const B* rows, int64_t b) {
    auto* unit = unit_.template mutable_data_ptr<P>();
    zero_rows_.clear();

    // A row of zeros has no direction; look_at() sets its products.
    for (int64_t row = 0; row < b; ++row) {
      const double inverse = inverse_norm(rows + row * d_, d_);
      inverse_[row] = inverse;
      if (inverse == 0) zero_rows_.push_back(row);
      for (int64_t i = row * d_; i < (row + 1) * d_; ++i)
        unit[i] = static_cast<P>(static_cast<double>(rows[i]) * inverse);
    }

    zeros_ += static_cast<int64_t>(zero_rows_.size());
  }
  // |q - t|^2 = 1 + |q|^2 - 2 product, where the product with a row of zeros, at distance 1, is set
  // to 1/2.
  void look_at(int64_t row, P* values, const B* rows, int64_t b) {
    constexpr int64_t kGroup = 64;
    const auto* q = queries_.unit.template const_data_ptr<double>() + row * d_;
    auto* heap = heaps_.data() + row * k_;
    for (const int64_t zero : zero_rows_) values[zero] = 0.5;

    // Only rows whose product is at least this may be nearer than the k-th so far.
    const auto floor = [&] { return static_cast<P>(1 - heap[0] / 2 - error_); };
    P least = floor();

    // Groups without such a row are skipped by one vectorised comparison. Constant group sizes let
    // the compiler unroll it.
    for (int64_t first = 0; first < b; first += kGroup) {
      const int64_t count = std::min(kGroup, b - first);
      if (count == kGroup ? !any_from(values + first, kGroup, least)
                          : !any_from(values + first, count, least))
        continue;
      for (int64_t i = first; i < first + count; ++i) {
        if (!(values[i] >= least)) continue;
        keep(heap, k_, inverse_[i] == 0 ? 1 : squared_distance(q, rows + i * d_, inverse_[i], d_));
        least = floor();
      }
    }
  }

  const Queries<P>& queries_;
  int64_t d_, k_, zeros_ = 0;
  double error_;
  std::vector<double> inverse_, heaps_;  // [block_rows], [n, k]
  std::vector<int64_t> zero_rows_;       // of the block
  at::Tensor unit_, products_;
};

template <class B, class P>
at::Tensor nearest_of(const at::Tensor& rows, const at::Tensor& bank, int64_t k,
                      int64_t block_rows) {
  const auto queries = queries_of<P>(rows.contiguous());
  const int64_t n = rows.size(0), size = std::min(block_rows, bank.size(0)),
                blocks = divide_up(bank.size(0), size);

  // One worker per thread; inside a parallel task the calling thread is the only one.
  const int64_t count = in_parallel_task() ? 1 : std::min<int64_t>(threads(), blocks);
  std::vector<std::unique_ptr<Worker<B, P>>> workers(count);

  // Workers take blocks as they get free. Which worker sees a block has no effect on the result:
  // every distance is computed in the same way, and the k smallest of all are a set.
  std::atomic<int64_t> next = 0;
  parallel_tasks(count, [&](int64_t w) {
    workers[w] = std::make_unique<Worker<B, P>>(queries, k, size);
    for (int64_t block = next++; block < blocks; block = next++)
      workers[w]->show(
          bank.narrow(0, block * size, std::min(size, bank.size(0) - block * size)).contiguous());
  });

  // The k-th of all workers' nearest rows. A zero sample is at distance 0 from zero rows, and at
  // distance 1 from all others.
  int64_t zeros = 0;
  for (const auto& worker : workers) zeros += worker->zeros();
  auto distances = at::empty({n}, at::kDouble);
  std::vector<double> all(count * k);
  for (int64_t row = 0; row < n; ++row) {
    for (int64_t w = 0; w < count; ++w) std::copy_n(workers[w]->heap(row), k, all.begin() + w * k);
    std::nth_element(all.begin(), all.begin() + (k - 1), all.end());
    distances.mutable_data_ptr<double>()[row] = queries.is_zero[row] ? (zeros < k) : all[k - 1];
  }
  return distances;
}

}  // namespace

at::Tensor kth_distances(const at::Tensor& rows, const at::Tensor& bank, int64_t k,
                         int64_t block_rows) {
  const auto precision =
      at::globalContext().float32Precision(at::Float32Backend::MKLDNN, at::Float32Op::MATMUL);

  // Products in reduced precision would break the error bound, so they are then computed in f64.
  const bool single =
      precision == at::Float32Precision::NONE || precision == at::Float32Precision::IEEE;
  if (bank.scalar_type() == at::kFloat)
    return (single ? nearest_of<float, float> : nearest_of<float, double>)(rows, bank, k,
                                                                           block_rows);
  return (single ? nearest_of<double, float> : nearest_of<double, double>)(rows, bank, k,
                                                                           block_rows);
}

}  // namespace dissent::scores
