#pragma once
#include <ATen/core/Tensor.h>

#include <dissent/scores/temperature.hpp>

namespace dissent::scores {

/// The mean negative log-likelihood of logits / T.
class TemperatureNll {
 public:
  /// Checks the arguments of `function`.
  TemperatureNll(const char* function, const at::Tensor& logits, const at::Tensor& labels);

  struct Point {
    double value = 0;
    double slope = 0;      ///< d NLL / d beta, beta = 1 / T: mean of E_p[z] - z_y
    double curvature = 0;  ///< mean of Var_p(z)
  };
  Point at_beta(double beta) const;
  double at_temperature(double temperature) const { return at_beta(1 / temperature).value; }

 private:
  at::Tensor logits_, labels_;
};

/// 0 < lowest < highest < infinity, or Error::kUsage.
void check_bounds(const char* function, TemperatureBounds bounds);

}  // namespace dissent::scores
