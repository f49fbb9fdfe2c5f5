#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace dissent::cli {

/// How many reference cases held, failed, or have an output that no handler computes.
struct VerifyCounts {
  int64_t held = 0;
  int64_t failed = 0;
  int64_t not_covered = 0;
  int64_t on_device = 0;  ///< of all: computed on the device, not on the host
};

/// Where cases are computed.
struct VerifyOptions {
  at::Device device = at::kCPU;
  std::string device_name = {};  ///< for the report; empty: everything on the host, as before
};

/// Runs every case of the files (FORMAT: one group a case, attributes kind, name, params, rtol,
/// atol; in/, out/, grad/) in f64 on the CPU and prints a table by kind and name, the worst
/// difference of each failure, the missing outputs of cases not covered, last `N held, N failed, N
/// not covered`. A value holds if abs(x - ref) <= atol + rtol * abs(ref), NaN only where the
/// reference is NaN; tolerances come from the file alone. A case is held only if all its outputs
/// and gradients were compared. Throws Error::kData for a file that is missing or not of this form.
///
/// With a device name, cases with a rule (verify_device.hpp) are computed on the device instead,
/// once a rule, and the larger of the case's and the rule's tolerance counts; a case is held only
/// if it is held by all of its rules. The report then starts with the device and the rules, and has
/// a line for each computation with its largest difference (in tolerances) from the reference.
/// A device that is the CPU computes the same way there: stacks of members, f32.
VerifyCounts verify_cases(const std::vector<std::string>& files, std::ostream& out,
                          const VerifyOptions& options = {});

/// The same with an exit code: 5 on a failure, or, if require_all, on a case not covered; else 0.
int run_verify(const std::vector<std::string>& files, bool require_all, std::ostream& out,
               const VerifyOptions& options = {});

}  // namespace dissent::cli
