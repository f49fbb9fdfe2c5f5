#pragma once
#include "core/random.hpp"

namespace dissent {

/// Each function makes one draw from the counters of `random`. The number of counters used depends
/// on the values drawn, never on threads or ranks.

/// Uniform in [low, high).
double draw_uniform(Random& random, double low, double high);
/// Normal with mean 0 and deviation 1. Ref: Box and Muller 1958
double draw_normal(Random& random);
/// Gamma with scale 1, shape > 0. Ref: Marsaglia and Tsang 2000
double draw_gamma(Random& random, double shape);
/// Poisson with this mean, >= 0. Ref: products of uniforms for means below 10, else Hormann 1993
/// (PTRS)
double draw_poisson(Random& random, double mean);

}  // namespace dissent
