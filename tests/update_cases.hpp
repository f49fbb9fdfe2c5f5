#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "kernels/update_members.hpp"

namespace dissent::testing {

/// Updates of a stack by every rule.
struct UpdateRuleCase {
  const char* name;
  kernels::UpdateOptions options;
};

inline std::vector<UpdateRuleCase> update_rules() {
  using Rule = kernels::UpdateRule;
  const auto options = [](Rule rule, double weight_decay) {
    return kernels::UpdateOptions{rule, weight_decay, 0.9, 0.9, 0.999, 1e-8};
  };
  return {{"adamw", options(Rule::kAdamW, 0.01)},
          {"adam", options(Rule::kAdam, 0.1)},
          {"momentum", options(Rule::kMomentum, 0.1)},
          {"nesterov", options(Rule::kNesterov, 0.1)},
          {"plain", options(Rule::kPlain, 0.1)},
          {"plain, no weight decay", options(Rule::kPlain, 0)}};
}

/// A stack of 6 members and an update of four of them, not in the order of the stack: slots 4, 0,
/// 5, 2, with 7, 1, 1000 and 2 steps taken. The one in slot 0 has a negative scale and a gradient
/// that is not finite; the one in slot 2 is scaled. Each stack has a row more at either end, which
/// nobody may touch.
struct UpdateCase {
  static constexpr int64_t kMembers = 6;
  at::Tensor values_all, first_all, second_all;  ///< [kMembers + 2, P] f32; undefined: not there
  at::Tensor steps, slots, gradient, rates, scales;

  static at::Tensor inner(const at::Tensor& all) {
    return all.defined() ? all.narrow(0, 1, kMembers) : all;
  }
  at::Tensor values() const { return inner(values_all); }
  at::Tensor first() const { return inner(first_all); }
  at::Tensor second() const { return inner(second_all); }

  UpdateCase(int64_t size, bool with_first, bool with_second) {
    const auto draws = [&](int64_t rows, double low, double high, uint64_t key) {
      auto drawn = at::empty({rows, size}, at::kDouble);
      fill_uniform(drawn, low, high, Random(7, Purpose::kNoise, key));
      return drawn.to(at::kFloat);
    };
    values_all = draws(kMembers + 2, -1, 1, 1);
    if (with_first) first_all = draws(kMembers + 2, -0.1, 0.1, 2);
    if (with_second) second_all = draws(kMembers + 2, 1e-4, 0.1, 3);
    steps = at::tensor({1.f, 3.f, 2.f, 4.f, 7.f, 1000.f});
    slots = at::tensor({4, 0, 5, 2}, at::kLong);
    gradient = draws(4, -0.5, 0.5, 4);
    gradient[1].fill_(std::numeric_limits<float>::quiet_NaN());
    rates = at::tensor({0.1, 0.2, 1.0 / 3, 1e-3}, at::kDouble);
    scales = at::tensor({1.0, -1.0, 1.0, 0.3}, at::kDouble);
  }

  /// All of it once more, on a device.
  UpdateCase copy(at::Device device = at::kCPU) const {
    UpdateCase other = *this;
    for (auto* tensor : {&other.values_all, &other.first_all, &other.second_all, &other.steps,
                         &other.slots, &other.gradient, &other.rates, &other.scales})
      if (tensor->defined()) *tensor = tensor->clone().to(device);
    return other;
  }

  void update(const kernels::UpdateOptions& options) const {
    kernels::update_members(options, values(), first(), second(), steps, slots, gradient, rates,
                            scales);
  }
};

/// What an update of the rule has of moments.
inline UpdateCase update_case(const kernels::UpdateOptions& options, int64_t size) {
  using Rule = kernels::UpdateRule;
  return {size, options.rule != Rule::kPlain,
          options.rule == Rule::kAdamW || options.rule == Rule::kAdam};
}

}  // namespace dissent::testing
