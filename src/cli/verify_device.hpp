#pragma once
#include <string>
#include <vector>

#include "cli/verify_case.hpp"

namespace dissent::cli {

/// One computation of a case with `dissent verify --device cuda`.
struct DeviceRule {
  std::string kind;
  std::string name;           ///< of the cases, or the key of one; empty: all others of this kind
  at::ScalarType arithmetic;  ///< f64 or f32
  double of_largest;   ///< Tolerance::of_largest, beside the case's own relative and absolute one
  std::string reason;  ///< of of_largest
};

/// The one table of what is computed on a device, and of the tolerances there.
const std::vector<DeviceRule>& device_rules();

/// How a case is computed on a device, once a rule. None: it stays on the host, since it is one
/// of integers and strings, or what it calls has no code for a device.
std::vector<const DeviceRule*> rules_of(const Case& reference);

/// The tolerance of a case under a rule.
Tolerance device_tolerance(const Case& reference, const DeviceRule& rule);

/// The case with its inputs on the device, floating-point ones in this arithmetic; outputs and
/// gradients stay as they are.
Case on_device(const Case& reference, at::Device device, at::ScalarType arithmetic);

}  // namespace dissent::cli
