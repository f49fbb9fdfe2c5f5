#pragma once
#include <string>
#include <vector>

#include "verify/case.hpp"

namespace dissent::verify {

/// One way to compute a case with `dissent verify --device cuda`.
struct DeviceRule {
  std::string kind;
  std::string name;           ///< name of the cases, or key of one; empty: all others of this kind
  at::ScalarType arithmetic;  ///< f64 or f32
  double of_largest;          ///< Tolerance::of_largest, added to the tolerances of the case
  std::string reason;         ///< why of_largest is needed
};

/// The cases that are computed on a device, and their tolerances there.
const std::vector<DeviceRule>& device_rules();

/// The rules of a case, which is computed once per rule. None: it is computed on the host, because
/// its inputs are integers and strings or its functions have no code for a device.
std::vector<const DeviceRule*> rules_of(const Case& reference);

/// The tolerance of a case under a rule.
Tolerance device_tolerance(const Case& reference, const DeviceRule& rule);

/// The case with its inputs moved to the device, floating-point ones in this arithmetic; outputs
/// and gradients are unchanged.
Case on_device(const Case& reference, at::Device device, at::ScalarType arithmetic);

}  // namespace dissent::verify
