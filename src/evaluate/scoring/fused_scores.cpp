#include "evaluate/scoring/fused_scores.hpp"

#include <dissent/shared_constants.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"
#include "core/tensor_check.hpp"

// Compiled for several instruction sets, chosen when the program starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define DISSENT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define DISSENT_CLONES
#endif
#define DISSENT_INLINE static inline __attribute__((always_inline))

namespace dissent {
namespace {

constexpr int64_t kScoreRows = 32;

// Place of a score in the values of a row.
constexpr int64_t place_of(scores::FusedScore score) { return static_cast<int64_t>(score); }
constexpr int64_t kPlaces = place_of(scores::FusedScore::kCount);

// exp of x <= 0 to about 1e-7: 2^n times a polynomial of the rest (Cephes' expf); 0 below -87.
DISSENT_INLINE float exp_of(float x) {
  // A mask instead of a branch, so that loops are vectorised.
  const int32_t keep = -static_cast<int32_t>(x > -87.0F);
  const float limited = std::bit_cast<float>(std::bit_cast<int32_t>(x) & keep);

  // x = n log 2 + r. log 2 is given in two parts; n times the first one is exact.
  const float n = static_cast<float>(static_cast<int32_t>(limited * 1.44269504088896341F - 0.5F));
  const float r = (limited - n * 0.693359375F) + n * 2.12194440e-4F;

  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;

  // 2^n is made from its bits: the exponent of a float is biased by 127.
  const float value =
      (p * r * r + r + 1) * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
  return std::bit_cast<float>(std::bit_cast<int32_t>(value) & keep);
}

// log of a normal x > 0 to about 1e-7 (Cephes' logf).
DISSENT_INLINE float log_of(float x) {
  const auto bits = std::bit_cast<int32_t>(x);
  // Minus the bits of sqrt(1/2), so that the mantissa m lies in sqrt(1/2) .. sqrt(2).
  const int32_t shifted = bits - 0x3f3504f3;
  const auto exponent = static_cast<float>(shifted >> 23);
  const float m = std::bit_cast<float>((shifted & 0x7fffff) + 0x3f3504f3) - 1;

  // log x = exponent log 2 + log(1 + m), with a polynomial for the latter and log 2 in two parts.
  float p = 7.0376836292e-2F;
  p = p * m - 1.1514610310e-1F;
  p = p * m + 1.1676998740e-1F;
  p = p * m - 1.2420140846e-1F;
  p = p * m + 1.4249322787e-1F;
  p = p * m - 1.6668057665e-1F;
  p = p * m + 2.0000714765e-1F;
  p = p * m - 2.4999993993e-1F;
  p = p * m + 3.3333331174e-1F;
  const float square = m * m;
  return m + (p * m * square - 0.5F * square - 2.12194440e-4F * exponent) + 0.693359375F * exponent;
}

// Memory for one row, reused: p [M, C], sums over members [C].
struct RowSpace {
  std::vector<float> p, z_sum, p_sum, p_max;
  std::vector<float> largest, lse, entropy, confidence, top_z;
  std::vector<int64_t> top;
  RowSpace(int64_t members, int64_t classes)
      : p(members * classes),
        z_sum(classes),
        p_sum(classes),
        p_max(classes),
        largest(members),
        lse(members),
        entropy(members),
        confidence(members),
        top_z(members),
        top(members) {}
};

DISSENT_INLINE float largest_of(const float* x, int64_t n) {
  float most = x[0];
#pragma omp simd reduction(max : most)
  for (int64_t c = 0; c < n; ++c) most = x[c] > most ? x[c] : most;
  return most;
}

DISSENT_INLINE int64_t index_of(const float* x, int64_t n, float value) {
  int64_t c = 0;
  while (c < n - 1 && x[c] != value) ++c;
  return c;
}

// Softmax of one member, and the values that follow from this member alone.
DISSENT_INLINE void member_row(const float* z, float inverse, int64_t m, int64_t classes,
                               RowSpace& space) {
  // Softmax without its normalisation; the sum of e * log e gives the entropy below.
  const float most = largest_of(z, classes) * inverse;
  float* p = space.p.data() + m * classes;
  float sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
  for (int64_t c = 0; c < classes; ++c) {
    const float below = z[c] * inverse - most, e = exp_of(below);
    p[c] = e;
    sum += e;
    product += e * below;
  }

  // Normalises, and adds this member to the sums and largest probabilities over members.
  const float share = 1 / sum;
  float *z_sum = space.z_sum.data(), *p_sum = space.p_sum.data(), *p_max = space.p_max.data();
  const bool first = m == 0;
#pragma omp simd
  for (int64_t c = 0; c < classes; ++c) {
    p[c] *= share;
    z_sum[c] = (first ? 0 : z_sum[c]) + z[c] * inverse;
    p_sum[c] = (first ? 0 : p_sum[c]) + p[c];
    p_max[c] = first || p[c] > p_max[c] ? p[c] : p_max[c];
  }

  // With e_c = exp(z_c - max z): the entropy is log(sum e) - sum(e log e) / sum e, and the
  // largest probability 1 / sum e.
  const float log_sum = std::log(sum);
  space.largest[m] = most;
  space.lse[m] = most + log_sum;
  space.entropy[m] = log_sum - product * share;
  space.confidence[m] = share;
  space.top[m] = index_of(z, classes, largest_of(z, classes));
}

double mean_of(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double deviation_of(const std::vector<float>& values) {
  // With the divisor n - 1, as torch.std.
  const double mean = mean_of(values);
  double sum = 0;
  for (const float value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

double a2d_of(const RowSpace& space, int64_t members, int64_t classes) {
  double sum = 0;
  for (int64_t i = 0; i < members; ++i)
    for (int64_t m = 0; m < members; ++m) {
      if (m == i) continue;

      // Probabilities of member i and member m for the class that i predicts.
      const float own = space.p[i * classes + space.top[i]],
                  other = space.p[m * classes + space.top[i]];
      sum += std::log(own * (1 - other) + other * (1 - own) + static_cast<float>(kA2dEps));
    }
  return sum / static_cast<double>(members * (members - 1));
}

DISSENT_INLINE double similarity_of(const RowSpace& space, int64_t members, int64_t classes) {
  double sum = 0;
  for (int64_t i = 0; i < members; ++i)
    for (int64_t m = i + 1; m < members; ++m) {
      // Each unordered pair counts twice in the mean over the M x M matrix.
      const float *a = space.p.data() + i * classes, *b = space.p.data() + m * classes;
      float square = 0;
#pragma omp simd reduction(+ : square)
      for (int64_t c = 0; c < classes; ++c) square += (a[c] - b[c]) * (a[c] - b[c]);
      sum += std::sqrt(square);
    }
  return 2 * sum / static_cast<double>(members * members);
}

DISSENT_INLINE float largest_deviation(const float* const* z, float inverse, int64_t members,
                                       int64_t classes, const float* mean) {
  float most = 0;
#pragma omp simd reduction(max : most)
  for (int64_t c = 0; c < classes; ++c) {
    float sum = 0;
    for (int64_t m = 0; m < members; ++m)
      sum += (z[m][c] * inverse - mean[c]) * (z[m][c] * inverse - mean[c]);
    most = sum > most ? sum : most;
  }

  // The root of the largest variance is the largest deviation: one root instead of one per class.
  return std::sqrt(most / static_cast<float>(members - 1));
}

// All scores of one row into values[kPlaces]; scores that need their own loop only if `requested`.
DISSENT_CLONES void score_row(const float* const* z, float inverse, int64_t members,
                              int64_t classes, const bool* requested, RowSpace& space,
                              double* values) {
  using scores::FusedScore;
  for (int64_t m = 0; m < members; ++m) member_row(z[m], inverse, m, classes, space);

  // Means over members: of logits and of probabilities, whose entropy is the total entropy.
  // log_of() needs a normal number, and a smaller probability does not change the sum.
  const auto count = static_cast<float>(members);
  float *z_mean = space.z_sum.data(), *p_mean = space.p_sum.data();
  float pds = 0, mean_entropy = 0;
#pragma omp simd reduction(+ : pds, mean_entropy)
  for (int64_t c = 0; c < classes; ++c) {
    z_mean[c] /= count;
    p_mean[c] /= count;
    pds += space.p_max[c];
    mean_entropy -= p_mean[c] * log_of(p_mean[c] > 1.2e-38F ? p_mean[c] : 1.2e-38F);
  }

  // Confidence of the ensemble: 1 / sum is the largest probability of the mean logits.
  const float most = largest_of(z_mean, classes);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < classes; ++c) sum += exp_of(z_mean[c] - most);

  // Predicted classes of the members, and their logits for the class that the ensemble predicts.
  auto order = space.top;
  std::sort(order.begin(), order.end());
  const int64_t top = index_of(z_mean, classes, most);
  for (int64_t m = 0; m < members; ++m) space.top_z[m] = z[m][top] * inverse;
  const auto smallest = [](const std::vector<float>& of) {
    return static_cast<double>(*std::min_element(of.begin(), of.end()));
  };

  const auto value = [values](FusedScore score) -> double& { return values[place_of(score)]; };
  value(FusedScore::kPds) = pds;
  value(FusedScore::kDifferentPredictions) =
      static_cast<double>(std::unique(order.begin(), order.end()) - order.begin());
  value(FusedScore::kEnsembleEntropy) = mean_entropy;
  value(FusedScore::kAverageEntropy) = mean_of(space.entropy);
  value(FusedScore::kMutualInformation) = mean_entropy - value(FusedScore::kAverageEntropy);

  value(FusedScore::kMemberEnergy) = mean_of(space.lse);
  value(FusedScore::kAverageEnergy) = -value(FusedScore::kMemberEnergy);
  value(FusedScore::kAverageMaxLogit) = -mean_of(space.largest);
  value(FusedScore::kMsp) = value(FusedScore::kAverage) = 1 / sum;
  value(FusedScore::kMeanMemberConfidence) = mean_of(space.confidence);
  value(FusedScore::kProbAverage) = largest_of(p_mean, classes);
  value(FusedScore::kProbMinmax) = smallest(space.confidence);
  value(FusedScore::kLogitAverage) = most;
  value(FusedScore::kMinmax) = smallest(space.largest);
  value(FusedScore::kAverageMinmax) = smallest(space.top_z);

  // Scores with their own loops over members or pairs of members.
  const auto is_requested = [requested](FusedScore score) { return requested[place_of(score)]; };
  if (is_requested(FusedScore::kA2d)) value(FusedScore::kA2d) = a2d_of(space, members, classes);
  if (is_requested(FusedScore::kSimilarity))
    value(FusedScore::kSimilarity) = similarity_of(space, members, classes);
  if (is_requested(FusedScore::kProbMaxstd))
    value(FusedScore::kProbMaxstd) = -deviation_of(space.confidence);
  if (is_requested(FusedScore::kMaxstd)) value(FusedScore::kMaxstd) = -deviation_of(space.largest);
  if (is_requested(FusedScore::kStdmax))
    value(FusedScore::kStdmax) =
        -static_cast<double>(largest_deviation(z, inverse, members, classes, z_mean));

  // Polynomials of exp and log do not propagate NaN and infinities, so these are checked here.
  bool finite = std::isfinite(most) && std::isfinite(mean_entropy);
  for (int64_t m = 0; m < members; ++m)
    finite = finite && std::isfinite(space.lse[m]) && std::isfinite(space.entropy[m]);
  if (!finite) std::fill(values, values + kPlaces, std::numeric_limits<double>::quiet_NaN());
}

}  // namespace

bool is_fused(const scores::ScoreInfo& score) { return score.fused != scores::FusedScore::kNone; }

at::Tensor fused_scores(const at::Tensor& logits,
                        const std::vector<const scores::ScoreInfo*>& scores, double divisor) {
  check_outputs("fused_scores", "logits", logits, 1, 0);
  DISSENT_CHECK(logits.scalar_type() == at::kFloat && logits.device().is_cpu(), kUsage,
                "fused_scores: logits: expected f32 on the host, found {}", describe(logits));

  // Rows have to be contiguous; a view of neighbouring members of a larger stack is taken without
  // a copy.
  const auto rows_first =
      logits.stride(2) == 1 && logits.stride(1) == logits.size(2) ? logits : logits.contiguous();
  const int64_t members = logits.size(0), rows = logits.size(1), classes = logits.size(2);

  bool requested[kPlaces] = {};
  for (const auto* score : scores) {
    DISSENT_CHECK(is_fused(*score), kUsage,
                  "fused_scores: expected scores that are computed in one pass, found '{}'",
                  score->name);
    DISSENT_CHECK(members >= score->min_members, kUsage,
                  "{}: expected {} members or more, found {}", score->name, score->min_members,
                  members);
    requested[place_of(score->fused)] = true;
  }

  // A task has a fixed number of rows, so bits do not depend on the number of threads.
  auto values = at::empty({static_cast<int64_t>(scores.size()), rows}, at::kDouble);
  auto* out = values.data_ptr<double>();

  const auto* first = rows_first.const_data_ptr<float>();
  parallel_tasks(divide_up(rows, kScoreRows), [&](int64_t task) {
    RowSpace space(members, classes);
    std::vector<const float*> z(members);
    double row_values[kPlaces] = {};
    for (int64_t b = task * kScoreRows; b < std::min(rows, (task + 1) * kScoreRows); ++b) {
      // The rows of one sample in the outputs of all members.
      for (int64_t m = 0; m < members; ++m) z[m] = first + m * rows_first.stride(0) + b * classes;
      score_row(z.data(), static_cast<float>(1 / divisor), members, classes, requested, space,
                row_values);
      for (size_t s = 0; s < scores.size(); ++s)
        out[static_cast<int64_t>(s) * rows + b] = row_values[place_of(scores[s]->fused)];
    }
  });
  return values;
}

}  // namespace dissent
