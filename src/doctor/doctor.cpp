#include "doctor/doctor.hpp"

#include <filesystem>
#include <functional>
#include <string>
#include <system_error>

#include <dissent/error.hpp>

#include "doctor/checks.hpp"
#include "doctor/report.hpp"

namespace dissent::doctor {
namespace {

constexpr const char* kSeeMessage = "see the message";

// The absolute path without a trailing slash. Where the working directory of this process was
// deleted there is no absolute path, and the path stays as given.
std::string absolute_path(const std::string& path) {
  std::error_code code;
  const auto absolute = std::filesystem::absolute(path, code);
  return code ? path : (absolute / "").lexically_normal().parent_path().string();
}

void check_communication(Report& report, Runtime& runtime) {
  // Results before speed: a wrong sum makes every later number meaningless.
  auto& world = runtime.world();
  report.check("versions", kSeeMessage, [&] { return check_versions(world); });
  report.check("launcher", kSeeMessage, [&] { return check_launcher(world); });
  report.check("messages", kSeeMessage, [&] { return check_messages(world); });
  report.check("speed", kSeeMessage, [&] { return check_speed(world); });
  report.check("timeout", kSeeMessage, [&] { return check_timeout(world); });
  report.check("signals", kSeeMessage, [] { return check_signals(); });
}

void check_machine(Report& report, Runtime& runtime) {
  auto& world = runtime.world();
  report.check("cores", kSeeMessage, [&] { return check_cores(runtime); });
  report.check("memory", kSeeMessage, [&] { return check_memory(world); });
  report.check("limits", kSeeMessage, [&] { return check_limits(world); });
  report.check("shared_memory", kSeeMessage, [&] { return check_shared_memory(world); });
}

void check_files(Report& report, Communicator& world, const std::string& parent) {
  constexpr const char* advice = "use another folder: --folder DIR";
  TrialFolder folder(world, parent);
  const bool usable = report.check("folder", advice, [&] { return check_folder(world, folder); }) !=
                      Verdict::kFailed;

  // Locks and HDF5 write into the folder: without it they would repeat its failure.
  const auto needs_folder = [&](const std::function<Finding()>& work) {
    return usable ? work() : skipped("the folder cannot be used", advice);
  };
  report.check("locks", advice,
               [&] { return needs_folder([&] { return check_locks(world, folder); }); });
  report.check("hdf5", advice,
               [&] { return needs_folder([&] { return check_hdf5(world, folder); }); });

  // Rank 0 deletes the folder when this function returns, so every rank must be done with it.
  world.barrier();
}

}  // namespace

bool run_checks(Runtime& runtime, const Options& options) {
  auto& world = runtime.world();
  agree(world, [&] {
    DISSENT_CHECK(options.timeout_s > 0, kUsage, "--timeout: expected a number above 0, found {}",
                  options.timeout_s);
  });
  world.wait_settings().timeout_s = options.timeout_s;

  // From what everything else needs (messages) to what needs most: where an early check fails, the
  // reason of later failures is already printed.
  Report report(world, options.json);
  check_communication(report, runtime);
  check_machine(report, runtime);
  check_files(report, world, absolute_path(options.folder));
  report.check("gpu", "inspect the devices with nvidia-smi", [&] { return check_gpu(world); });
  report.check("nccl", "run again with NCCL_DEBUG=INFO",
               [&] { return check_nccl(world, options.timeout_s); });
  if (options.configuration)
    report.check("config", "correct the file",
                 [&] { return check_config(world, options.configuration(), options.verbs); });
  report.finish();
  return !report.any_failed();
}

}  // namespace dissent::doctor
