#include "data/transforms/distributions.hpp"

#include <cmath>
#include <numbers>

namespace dissent {
namespace {

// In (0, 1]: its logarithm is finite.
double positive(Random& random) { return 1 - random.uniform(); }

// Transformed rejection with squeeze (PTRS), for means >= 10.
double draw_large_poisson(Random& random, double mean) {
  // Constants of Hörmann 1993, "The transformed rejection method for generating Poisson random
  // variables". The first test accepts most draws without a logarithm.
  const double slope = 0.931 + 2.53 * std::sqrt(mean), a = -0.059 + 0.02483 * slope,
               inverse = 1.1239 + 1.1328 / (slope - 3.4), squeeze = 0.9277 - 3.6224 / (slope - 2);
  for (;;) {
    const double u = random.uniform() - 0.5, v = positive(random), distance = 0.5 - std::abs(u);
    const double k = std::floor((2 * a / distance + slope) * u + mean + 0.43);
    if (distance >= 0.07 && v <= squeeze) return k;
    if (k < 0 || (distance < 0.013 && v > distance)) continue;

    // The exact test: the density of the proposal against log(mean^k exp(-mean) / k!).
    if (std::log(v * inverse / (a / (distance * distance) + slope)) <=
        k * std::log(mean) - mean - std::lgamma(k + 1))
      return k;
  }
}

}  // namespace

double draw_uniform(Random& random, double low, double high) {
  return low + (high - low) * random.uniform();
}

double draw_normal(Random& random) {
  // Box and Muller. The second value of the pair is not used, so that every
  // call takes the same number of draws.
  const double radius = std::sqrt(-2 * std::log(positive(random)));
  return radius * std::cos(2 * std::numbers::pi * random.uniform());
}

double draw_gamma(Random& random, double shape) {
  if (shape < 1) {
    // X ~ Gamma(a + 1) and u uniform: X u^(1/a) ~ Gamma(a).
    const double grown = draw_gamma(random, shape + 1);
    return grown * std::pow(positive(random), 1 / shape);
  }

  // Marsaglia and Tsang: x normal, v = (1 + c x)^3, accepted with the right probability.
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = draw_normal(random), root = 1 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    if (std::log(positive(random)) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

double draw_poisson(Random& random, double mean) {
  if (mean >= 10) return draw_large_poisson(random, mean);

  // The number of uniform draws whose product stays above exp(-mean).
  const double bound = std::exp(-mean);
  double k = 0;
  for (double product = positive(random); product > bound; product *= positive(random)) ++k;
  return k;
}

}  // namespace dissent
