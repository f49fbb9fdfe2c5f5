#include <dissent/losses/similarity.hpp>

#include <cstdint>

#include "core/enum_names.hpp"
#include "core/tensor_check.hpp"
#include "losses/root.hpp"

namespace dissent::losses {
namespace {

constexpr EnumName<Similarity> kNames[] = {{Similarity::kDot, "dot"},
                                           {Similarity::kCosine, "cosine"},
                                           {Similarity::kExpCosine, "expcosine"},
                                           {Similarity::kIou, "iou"},
                                           {Similarity::kLogDet, "logdet"}};

at::Tensor row_norm(const at::Tensor& x) { return root(x.square().sum(-1)); }
at::Tensor normalised(const at::Tensor& x) { return x / (row_norm(x) + kNormEps).unsqueeze(-1); }

// Products <x_i, x_j> of all pairs of members for each sample: [B, M, M] from x [M, B, D].
at::Tensor gram(const at::Tensor& x) { return at::bmm(x.transpose(0, 1), x.permute({1, 2, 0})); }

// Sum over ordered pairs and the batch of a symmetric [B, M, M].
at::Tensor sum_over_pairs(const at::Tensor& values) { return values.triu(1).sum() * 2; }

// Sum over pairs and the batch of the cosine, without a Gram matrix: |sum_i v_i|^2 - sum_i |v_i|^2.
at::Tensor cosine_sum(const at::Tensor& x) {
  const auto length = row_norm(x), scale = (length + kNormEps).reciprocal();
  return (x * scale.unsqueeze(-1)).sum(0).square().sum() - (length * scale).square().sum();
}

at::Tensor exp_cosine(const at::Tensor& x) {
  //   log of the sum over b, i < j of exp cos(x_i, x_j)
  const auto cosines = gram(normalised(x));
  return (sum_over_pairs(cosines.exp()) / 2).log();
}

at::Tensor iou_sum(const at::Tensor& x) {
  const auto low = x.amin(-1, true), high = x.amax(-1, true);

  // Values are brought to 0 .. 1 first. Intersection <x, y>, union |x|^2 + |y|^2 - <x, y>.
  const auto products = gram((x - low) / (high - low + kIouEps));
  const auto squares = products.diagonal(0, 1, 2);
  const auto unions = squares.unsqueeze(1) + squares.unsqueeze(2) - products;
  return sum_over_pairs((products + kIouEps) / (unions + kIouEps));
}

at::Tensor log_determinant(const at::Tensor& x) {
  // In f64: the determinant of nearly parallel members is close to 0 and would be lost in f32.
  const auto matrix = gram(normalised(x.to(at::kDouble)));
  return -at::logdet(matrix + at::eye(x.size(0), matrix.options()) * kDiagonalEps)
              .mean()
              .to(x.scalar_type());
}

}  // namespace

at::Tensor similarity(const at::Tensor& x, Similarity kind) {
  const int64_t least = kind == Similarity::kLogDet ? 1 : 2;
  const bool fits = x.defined() && x.dim() == 3 && x.size(0) >= least && x.numel() > 0 &&
                    (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble);
  DISSENT_CHECK(fits, kUsage,
                "similarity {}: x: expected [M >= {}, B >= 1, D >= 1] of f32 or f64, found {}",
                to_string(kind), least, describe(x));

  // Means are over ordered pairs and samples. Without a Gram matrix:
  //   sum over i != j of <x_i, x_j> = |sum_i x_i|^2 - sum_i |x_i|^2
  const auto pairs = static_cast<double>(x.size(0) * (x.size(0) - 1) * x.size(1));
  switch (kind) {
    case Similarity::kDot: return (x.sum(0).square().sum() - x.square().sum()) / pairs;
    case Similarity::kCosine: return cosine_sum(x) / pairs;
    case Similarity::kExpCosine: return exp_cosine(x);
    case Similarity::kIou: return iou_sum(x) / pairs;
    case Similarity::kLogDet: return log_determinant(x);
  }
  DISSENT_FAIL(kInternal, "similarity: kind {}", static_cast<int>(kind));
}

Similarity similarity_kind(const std::string& name) {
  return checked_value_in(kNames, "similarity", name);
}
std::string to_string(Similarity kind) { return name_in(kNames, kind); }
const std::vector<std::string>& similarity_names() {
  static const auto names = name_list(kNames);
  return names;
}

}  // namespace dissent::losses
