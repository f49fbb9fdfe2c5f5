// The sums of fit_data.hpp.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"
#include "scores/fit_data.hpp"

namespace dissent::scores {
namespace {

// In parallel on the CPU, else one after another.
void tasks_on(const at::Tensor& rows, int64_t count, const std::function<void(int64_t)>& task) {
  if (rows.device().is_cpu())
    parallel_tasks(count, task);
  else
    for (int64_t i = 0; i < count; ++i) task(i);
}

template <class T>
int64_t not_finite(const T* values, int64_t count) {
  // The comparison is false for NaN too.
  int64_t bad = 0;
  for (int64_t i = 0; i < count; ++i)
    bad += !(std::fabs(values[i]) <= std::numeric_limits<T>::max());
  return bad;
}

// Adds columns [first, first + count) of rows [n, d] to those of sum [.., d] at each row's place.
template <class T>
void add_columns(const at::Tensor& rows, const int64_t* place, int64_t first, int64_t count,
                 double* sum) {
  const int64_t d = rows.size(1);
  const T* from = rows.const_data_ptr<T>();
  for (int64_t row = 0; row < rows.size(0); ++row) {
    const T* x = from + row * d + first;
    double* to = sum + place[row] * d + first;
    for (int64_t i = 0; i < count; ++i) to[i] += static_cast<double>(x[i]);
  }
}

// Sums of rows by place, on the CPU. A task has some of the columns, so each sum is in row order
// for any number of threads.
void add_by_place(const at::Tensor& rows, const at::Tensor& place, at::Tensor& sum) {
  constexpr int64_t kColumns = 128;
  const int64_t d = rows.size(1);

  // Tasks write to different columns, so they need no locks.
  const auto* places = place.const_data_ptr<int64_t>();
  auto* to = sum.mutable_data_ptr<double>();
  parallel_tasks(divide_up(d, kColumns), [&](int64_t task) {
    const int64_t column = task * kColumns, columns = std::min(kColumns, d - column);
    for (int64_t first = 0; first < rows.size(0); first += kBlockRows) {
      const auto block =
          rows.narrow(0, first, std::min(kBlockRows, rows.size(0) - first)).contiguous();
      if (block.scalar_type() == at::kFloat)
        add_columns<float>(block, places + first, column, columns, to);
      else
        add_columns<double>(block, places + first, column, columns, to);
    }
  });
}

}  // namespace

int64_t count_not_finite(const at::Tensor& rows) {
  // On the CPU one pass over the values, without a tensor of flags; on a GPU blocks bound the
  // flags.
  std::vector<int64_t> bad(divide_up(rows.size(0), kBlockRows));
  tasks_on(rows, static_cast<int64_t>(bad.size()), [&](int64_t i) {
    const auto block =
        rows.narrow(0, i * kBlockRows, std::min(kBlockRows, rows.size(0) - i * kBlockRows))
            .contiguous();

    if (!block.device().is_cpu())
      bad[i] = block.isfinite().logical_not().sum().item<int64_t>();
    else if (block.scalar_type() == at::kFloat)
      bad[i] = not_finite(block.const_data_ptr<float>(), block.numel());
    else
      bad[i] = not_finite(block.const_data_ptr<double>(), block.numel());
  });

  int64_t all = 0;
  for (const int64_t count : bad) all += count;
  return all;
}

at::Tensor row_mean(const at::Tensor& rows) {
  // A fixed number of partial sums, added in order, whatever the number of threads.
  constexpr int64_t kParts = 64;

  const int64_t n = rows.size(0), size = divide_up(n, kParts), parts = divide_up(n, size);
  auto sums = at::zeros({parts, rows.size(1)}, rows.options().dtype(at::kDouble));
  tasks_on(rows, parts, [&](int64_t part) {
    auto sum = sums[part];
    for_blocks(rows.narrow(0, part * size, std::min(size, n - part * size)), kBlockRows,
               [&](const at::Tensor& block, int64_t) { sum += block.sum(0); });
  });
  return sums.sum(0) / static_cast<double>(n);
}

ClassMeans class_means(const at::Tensor& rows, const at::Tensor& class_of_row, int64_t classes) {
  const auto options = rows.options().dtype(at::kDouble);
  auto sum = at::zeros({classes + 1, rows.size(1)}, options),
       count = at::zeros({classes + 1}, options);  // the last is none
  const auto place = class_of_row.masked_fill(class_of_row.lt(0), classes).contiguous();

  count.index_add_(0, place, at::ones({rows.size(0)}, options));
  if (rows.device().is_cpu())
    add_by_place(rows, place, sum);
  else
    for_blocks(rows, kBlockRows, [&](const at::Tensor& block, int64_t first) {
      sum.index_add_(0, place.narrow(0, first, block.size(0)), block);
    });

  // Sums of rows without a class are dropped; a class without rows has mean 0.
  count = count.narrow(0, 0, classes);
  return {sum.narrow(0, 0, classes) / count.clamp_min(1).unsqueeze(1), count};
}

at::Tensor second_moment(const at::Tensor& rows,
                         const std::function<void(at::Tensor&, int64_t)>& centre) {
  constexpr int64_t kTile = 192, kRows = 2048, kPiece = 256;
  const int64_t n = rows.size(0), d = rows.size(1), tiles = divide_up(d, kTile);

  // Only the tiles (i, j) with i <= j of sum_n x_n x_n^T are computed, in f64. A tile is written
  // by one task per block, so the order of additions does not depend on the threads.
  auto moment = at::zeros({d, d}, rows.options().dtype(at::kDouble)),
       x = at::empty({2, std::min(kRows, n), d}, moment.options());
  std::vector<std::pair<int64_t, int64_t>>
      upper;  // tiles on and above the diagonal; the sum is symmetric
  for (int64_t i = 0; i < tiles; ++i)
    for (int64_t j = i; j < tiles; ++j) upper.emplace_back(i * kTile, j * kTile);

  // Two buffers: one block is prepared (copied and centred) while the other is multiplied.
  const auto count_of = [&](int64_t block) {
    return std::clamp<int64_t>(n - block * kRows, 0, kRows);
  };

  const auto prepare = [&](int64_t block, int64_t piece) {
    const int64_t at = piece * kPiece, count = std::min(kPiece, count_of(block) - at),
                  first = block * kRows + at;
    auto part = x[block % 2].narrow(0, at, count);
    part.copy_(rows.narrow(0, first, count));
    centre(part, first);
  };

  const auto add = [&](int64_t block, int64_t row, int64_t column) {
    const auto columns = [&](int64_t from) {
      return x[block % 2].narrow(0, 0, count_of(block)).narrow(1, from, std::min(kTile, d - from));
    };
    const auto left = columns(row), right = columns(column);
    moment.narrow(0, row, left.size(1)).narrow(1, column, right.size(1)).addmm_(left.t(), right);
  };

  // The products of one block run concurrently with the preparation of the next, so that threads
  // seldom wait.
  for (int64_t block = -1; block * kRows < n; ++block) {
    const auto products = block < 0 ? 0 : static_cast<int64_t>(upper.size());
    tasks_on(rows, products + divide_up(count_of(block + 1), kPiece), [&](int64_t i) {
      if (i < products)
        add(block, upper[i].first, upper[i].second);
      else
        prepare(block + 1, i - products);
    });
  }

  // The lower triangle is a copy of the upper one: the result is symmetric in every bit.
  moment = moment.triu() / static_cast<double>(n);
  return moment + moment.triu(1).t();
}

}  // namespace dissent::scores
