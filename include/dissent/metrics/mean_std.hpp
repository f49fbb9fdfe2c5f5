#pragma once
#include <vector>

namespace dissent::metrics {

struct MeanStd {
  double mean = 0;
  double std = 0;
};

/// Mean and POPULATION deviation (divided by n) of one value over several ensembles or seeds; NaN
/// if there is none.
/// Ref: SED tables; case sed_scores.h5 aggregate_mean_std.
MeanStd mean_std(const std::vector<double>& values);

}  // namespace dissent::metrics
