#include "cli/doctor.hpp"

#include "cli/compute.hpp"

namespace dissent::cli {
namespace {

// Absolute, without a slash at its end; as given where this process has no folder to start from.
std::string whole_path(const std::string& path) {
  std::error_code code;
  const auto absolute = std::filesystem::absolute(path, code);
  return code ? path : (absolute / "").lexically_normal().parent_path().string();
}

void check_communication(Report& report, Runtime& runtime) {
  auto& world = runtime.world();
  constexpr const char* advice = "see the message";
  report.check("versions", advice, [&] { return check_versions(world); });
  report.check("launcher", advice, [&] { return check_launcher(world); });
  report.check("messages", advice, [&] { return check_messages(world); });
  report.check("speed", advice, [&] { return check_speed(world); });
  report.check("timeout", advice, [&] { return check_timeout(world); });
  report.check("signals", advice, [] { return check_signals(); });
}

void check_machine(Report& report, Runtime& runtime) {
  auto& world = runtime.world();
  constexpr const char* advice = "see the message";
  report.check("cores", advice, [&] { return check_cores(runtime); });
  report.check("memory", advice, [&] { return check_memory(world); });
  report.check("limits", advice, [&] { return check_limits(world); });
  report.check("shared_memory", advice, [&] { return check_shared_memory(world); });
}

void check_files(Report& report, Communicator& world, const std::string& parent) {
  constexpr const char* advice = "give another folder: --folder DIR";
  TrialFolder folder(world, parent);
  const bool usable = report.check("folder", advice, [&] { return check_folder(world, folder); }) !=
                      Verdict::kFailed;
  const auto needs_folder = [&](const std::function<Finding()>& work) {
    return usable ? work() : skipped("the folder cannot be used", advice);
  };
  report.check("locks", advice,
               [&] { return needs_folder([&] { return check_locks(world, folder); }); });
  report.check("hdf5", advice,
               [&] { return needs_folder([&] { return check_hdf5(world, folder); }); });
  world.barrier();  // the folder goes when the last rank is done
}

}  // namespace

int run_doctor(Runtime& runtime, const CommandLine& line) {
  auto& world = runtime.world();
  const auto timeout_s = line.get<double>("timeout");
  agree(world, [&] {
    DISSENT_CHECK(timeout_s > 0, kUsage, "--timeout: expected a number above 0, found {}",
                  timeout_s);
  });
  world.wait_settings().timeout_s = timeout_s;
  Report report(world, line.flag("json"));
  check_communication(report, runtime);
  check_machine(report, runtime);
  check_files(report, world, whole_path(line.get<std::string>("folder")));
  report.check("gpu", "look at the devices with nvidia-smi", [&] { return check_gpu(world); });
  report.check("nccl", "run again with NCCL_DEBUG=INFO",
               [&] { return check_nccl(world, timeout_s); });
  if (const auto path = line.get<std::string>("config"); !path.empty())
    report.check("config", "correct the file", [&] {
      return check_config(
          world, load_configuration(runtime, path, line.get<std::vector<std::string>>("set")));
    });
  report.finish();
  return report.any_failed() ? exit_code(ErrorKind::kCheck) : 0;
}

}  // namespace dissent::cli
