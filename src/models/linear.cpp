#include "models/linear.hpp"

#include <algorithm>
#include <cstdint>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"

namespace dissent {
namespace {

constexpr int64_t kForwardBlock = 512;  // output columns of one product

// Block `index` of `blocks` nearly equal ones, with boundaries at multiples of 16.
RowBlock cut(int64_t extent, int64_t blocks, int64_t index) {
  // Multiples of 16 columns keep each block aligned for vector instructions.
  const auto edge = [&](int64_t i) {
    return i == blocks ? extent : std::min(extent, (extent * i / blocks + 15) / 16 * 16);
  };
  const int64_t first = edge(index);
  return {first, edge(index + 1) - first};
}

int64_t forward_blocks(int64_t extent, const at::Tensor& like) {
  return like.is_cuda() ? 1 : std::max<int64_t>(1, (extent + kForwardBlock / 2) / kForwardBlock);
}

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& b) {
  const int64_t out = w.size(0);
  auto y = at::empty({x.size(0), out}, x.options());

  // Blocks of output columns, one product on one thread each. Their edges depend on the shape
  // alone, so the bits do not depend on the number of threads.
  const int64_t blocks = forward_blocks(out, x);
  parallel_tasks(blocks, [&](int64_t index) {
    const auto [first, count] = cut(out, blocks, index);
    auto columns = y.narrow(1, first, count);
    at::addmm_out(columns, b.narrow(0, first, count), x, w.narrow(0, first, count).t());
  });
  return y;
}

at::Tensor linear_input_gradient(const at::Tensor& dy, const at::Tensor& w) {
  const int64_t in = w.size(1);
  auto dx = at::empty({dy.size(0), in}, dy.options());

  // Blocks of input columns, as in linear().
  const int64_t blocks = forward_blocks(in, dy);
  parallel_tasks(blocks, [&](int64_t index) {
    const auto [first, count] = cut(in, blocks, index);
    auto columns = dx.narrow(1, first, count);
    at::mm_out(columns, dy, w.narrow(1, first, count));
  });
  return dx;
}

at::Tensor stacked_linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& b) {
  return at::baddbmm(b.unsqueeze(1), x, w.transpose(1, 2));
}

at::Tensor stacked_linear_input_gradient(const at::Tensor& dy, const at::Tensor& w) {
  return at::bmm(dy, w);
}

void stacked_linear_gradient(const at::Tensor& dy, const at::Tensor& x, at::Tensor dw,
                             at::Tensor db) {
  // With products in bf16 the gradient is still f32, which a product cannot write directly.
  if (dy.scalar_type() == dw.scalar_type()) {
    at::bmm_out(dw, dy.transpose(1, 2), x);
  } else {
    dw.copy_(at::bmm(dy.transpose(1, 2), x));
  }

  db.copy_(dy.sum(1, false, dw.scalar_type()));
}

int64_t weight_blocks(int64_t out, int64_t in, bool cuda) {
  if (cuda) return 1;

  // Rows whose block of dw has about kWeightGradientBlock elements.
  const int64_t rows =
      std::max<int64_t>(16, kWeightGradientBlock / std::max<int64_t>(in, 1) / 16 * 16);
  return std::max<int64_t>(1, divide_up(out, rows));
}

RowBlock weight_block(int64_t out, int64_t in, bool cuda, int64_t index) {
  return cut(out, weight_blocks(out, in, cuda), index);
}

}  // namespace dissent
