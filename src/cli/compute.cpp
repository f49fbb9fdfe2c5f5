#include "cli/compute.hpp"

#include "comm/device.hpp"
#include "core/parallel.hpp"

namespace dissent::cli {

config::Document load_configuration(Runtime& runtime, const std::string& path,
                                    const std::vector<std::string>& overrides) {
  auto& world = runtime.world();
  const std::string sources =
      broadcast_text(world, world.rank() == 0 ? config::read_sources(path) : "", 0);
  return config::load_document(sources, overrides);
}

void prepare_device(Runtime& runtime, const config::Document& document) {
  const auto* device = document.find("runtime.device");
  const auto* text = device ? std::get_if<std::string>(&device->data) : nullptr;
  agree(runtime.world(), [&] { dissent::prepare_device(text ? *text : "auto"); });
}

void apply_runtime(Runtime& runtime, std::optional<int64_t> threads, double timeout_s) {
  runtime.world().wait_settings().timeout_s = timeout_s;
  set_threads(static_cast<int>(threads.value_or(runtime.default_threads())));
  spdlog::info("event=start ranks={} threads_a_rank={} host={}", runtime.world().size(),
               dissent::threads(), host_name());
}

}  // namespace dissent::cli
