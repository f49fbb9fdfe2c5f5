#include "cli/compute.hpp"

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <utility>
#include <variant>

#include <spdlog/spdlog.h>

#include "cli/lock.hpp"
#include "comm/device.hpp"
#include "core/parallel.hpp"
#include "storage/atomic_file.hpp"

namespace dissent::cli {

config::Document load_configuration(Runtime& runtime, const std::string& path,
                                    const std::vector<std::string>& overrides) {
  // Rank 0 alone reads the files, so that all ranks have the same configuration even while someone
  // edits it.
  auto& world = runtime.world();
  const std::string sources =
      broadcast_text(world, world.rank() == 0 ? config::read_sources(path) : "", 0);
  return config::load_document(sources, overrides);
}

void prepare_device(Runtime& runtime, const config::Document& document) {
  const auto* device = document.find("runtime.device");
  const auto* text = device ? std::get_if<std::string>(&device->data) : nullptr;

  // Before the configuration is checked as a whole: LibTorch's CUDA library has to be loaded before
  // LibTorch looks for it. A word that is not a choice is an error of that check.
  const auto choice = value_in(kDeviceChoices, text ? *text : "auto").value_or(DeviceChoice::kAuto);
  agree(runtime.world(), [&] { dissent::prepare_device(choice); });
}

void apply_runtime(Runtime& runtime, std::optional<int64_t> threads, double timeout_s) {
  runtime.world().wait_settings().timeout_s = timeout_s;
  set_threads(static_cast<int>(threads.value_or(runtime.default_threads())));

  spdlog::info("event=start ranks={} threads_per_rank={} host={}", runtime.world().size(),
               dissent::threads(), host_name());
}

std::unique_ptr<jobs::FolderLock> lock_folder(Communicator& comm, const std::string& place,
                                              const std::string& what, const std::string& other) {
  // Rank 0 may wait for another process that is about to release the lock, longer than a timeout
  // of collectives allows.
  const TimeoutScope no_timeout(comm, kNoTimeout);
  std::unique_ptr<jobs::FolderLock> lock;
  agree(comm, [&] {
    if (comm.rank() != 0) return;
    const auto folder = std::filesystem::path(place).parent_path().string();
    if (!folder.empty()) make_folder(folder);

    jobs::FolderLock::Options options;
    options.say = [](const std::string& message) {
      spdlog::warn("event=lock reason=\"{}\"", message);
    };
    lock = std::make_unique<jobs::FolderLock>(place, what, other, options);
  });
  return lock;
}

}  // namespace dissent::cli
