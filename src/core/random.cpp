#include "core/random.hpp"

#include <algorithm>
#include <cmath>

#include <dissent/error.hpp>

namespace dissent {
namespace {

// splitmix64 finaliser: spreads the key over the 64 bits of Philox' subsequence.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

uint64_t key(Purpose purpose, uint64_t a, uint64_t b) {
  return mix(mix(mix(static_cast<uint64_t>(purpose)) ^ a) ^ b);
}

template <class Draw>
void fill(const at::Tensor& values, Draw draw) {
  DISSENT_CHECK(values.is_contiguous() && values.device().is_cpu(), kInternal,
                "random fill: expected a contiguous tensor on the CPU, found another");
  AT_DISPATCH_FLOATING_TYPES(values.scalar_type(), "fill", [&] {
    auto* out = values.data_ptr<scalar_t>();
    for (int64_t i = 0; i < values.numel(); ++i) out[i] = static_cast<scalar_t>(draw());
  });
}

}  // namespace

Random::Random(uint64_t seed, Purpose purpose, uint64_t a, uint64_t b)
    : engine_(seed, key(purpose, a, b), 0) {}

uint32_t Random::next() { return engine_(); }

uint32_t Random::below(uint32_t bound) {
  // Lemire's multiply-and-reject.
  uint64_t product = uint64_t{next()} * bound;
  if (static_cast<uint32_t>(product) < bound) {
    const uint32_t threshold = (0u - bound) % bound;
    while (static_cast<uint32_t>(product) < threshold) product = uint64_t{next()} * bound;
  }
  return static_cast<uint32_t>(product >> 32);
}

std::vector<int64_t> Random::permutation(int64_t n) {
  DISSENT_CHECK(n >= 0 && n <= UINT32_MAX, kUsage,
                "random order: expected at most {1} rows, found {0}", n, UINT32_MAX);
  std::vector<int64_t> order(n);
  for (int64_t i = 0; i < n; ++i) order[i] = i;
  for (int64_t i = n - 1; i > 0; --i)
    std::swap(order[i], order[below(static_cast<uint32_t>(i + 1))]);
  return order;
}

std::vector<int64_t> Random::choose(int64_t n, int64_t k) {
  DISSENT_CHECK(k >= 0 && k <= n, kUsage, "random choice: expected 0 .. {1} numbers, found {0}", k,
                n);

  // The first k steps of a shuffle; sorted, since the result is a set.
  std::vector<int64_t> pool(n);
  for (int64_t i = 0; i < n; ++i) pool[i] = i;
  for (int64_t i = 0; i < k; ++i) std::swap(pool[i], pool[i + below(static_cast<uint32_t>(n - i))]);
  pool.resize(k);
  std::sort(pool.begin(), pool.end());
  return pool;
}

void fill_truncated_normal(at::Tensor values, double deviation, Random random) {
  fill(values, [&] { return 2.0 * (random.uniform() + 0x1p-33) - 1.0; });
  // In f32 the outermost draws (3 in 10^8) round to +-1, where erfinv is infinite: a weight of +-2.
  if (values.scalar_type() == at::kFloat) values.clamp_(-0x1.fffffep-1, 0x1.fffffep-1);
  values.erfinv_().mul_(deviation * std::sqrt(2.0)).clamp_(-2.0, 2.0);
}

void fill_uniform(at::Tensor values, double low, double high, Random random) {
  fill(values, [&] { return low + (high - low) * random.uniform(); });
}

}  // namespace dissent
