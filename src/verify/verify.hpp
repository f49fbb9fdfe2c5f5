#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace dissent::verify {

/// Numbers of reference cases that passed, failed, or have an output that no handler computes.
struct VerifyCounts {
  int64_t held = 0;
  int64_t failed = 0;
  int64_t not_covered = 0;
  int64_t on_device = 0;  ///< cases computed on the device rather than on the host
};

/// Where cases are computed.
struct VerifyOptions {
  at::Device device = at::kCPU;
  std::string device_name = {};  ///< for the report; empty: all cases are computed on the host
};

/// Computes every case of the files in f64 on the CPU and compares it with the reference. Prints a
/// table by kind and name, the worst difference of each failed case, the missing outputs of cases
/// that are not covered, and last `N passed, N failed, N not covered`.
///
/// A file has one group per case with attributes kind, name, params, rtol, atol and the groups in/,
/// out/ and grad/. A value x passes if abs(x - ref) <= atol + rtol * abs(ref), or if both are NaN.
/// A case passes if all its outputs and gradients were compared and pass. Error::kData for a file
/// that is missing or has another form.
///
/// With a device name, cases with a rule (device.hpp) are computed on the device instead, once per
/// rule, and the rule's tolerance is added; such a case passes if it does so under all of its
/// rules. The report then starts with the device and the rules, and has a line for each computation
/// with its largest difference from the reference. The CPU may be that device: it then computes the
/// way a GPU would (stacks of members, f32).
VerifyCounts verify_cases(const std::vector<std::string>& files, std::ostream& out,
                          const VerifyOptions& options = {});

/// verify_cases() with an exit code: ErrorKind::kCheck's if a case failed or, with require_all, is
/// not covered; else 0.
int run_verify(const std::vector<std::string>& files, bool require_all, std::ostream& out,
               const VerifyOptions& options = {});

}  // namespace dissent::verify
