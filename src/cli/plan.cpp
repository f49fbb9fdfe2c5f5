#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "cli/compute.hpp"
#include "config/resolved.hpp"
#include "plan/head_cost_model.hpp"
#include "plan/image_cost_model.hpp"
#include "plan/planner.hpp"
#include "plan/report.hpp"
#include "train/config/head_config.hpp"
#include "train/config/image_config.hpp"

namespace dissent::cli {
namespace {

std::vector<int64_t> rank_counts(const std::string& text) {
  // An empty text gives no numbers; an empty part ("1,,2") is an error.
  std::vector<int64_t> counts;
  for (size_t start = 0; start <= text.size() && !text.empty();) {
    const size_t end = std::min(text.find(',', start), text.size());
    int64_t count = 0;
    const auto [stop, code] = std::from_chars(text.data() + start, text.data() + end, count);
    DISSENT_CHECK(code == std::errc() && stop == text.data() + end && count >= 1, kUsage,
                  "--ranks: expected numbers of ranks, such as 1,2,8; found '{}'", text);

    counts.push_back(count);
    start = end + 1;
  }
  return counts;
}

// The option, or nothing where it is not given.
template <class T>
std::optional<T> given(const CommandLine& line, const std::string& option) {
  if (!line.has(option)) return std::nullopt;
  return line.get<T>(option);
}

plan::Settings read_settings(const CommandLine& line, int ranks) {
  const auto seconds = line.get<double>("seconds"), latency_us = line.get<double>("latency-us"),
             bandwidth_gbs = line.get<double>("bandwidth-gbs");
  DISSENT_CHECK(
      seconds > 0 && latency_us >= 0 && bandwidth_gbs > 0 &&
          line.get<int64_t>("ranks-per-node") >= 1,
      kUsage,
      "--seconds, --latency-us, --bandwidth-gbs, --ranks-per-node: expected positive numbers");

  plan::Settings settings;
  settings.rank_counts = rank_counts(line.get<std::string>("ranks"));
  settings.own_grid = line.flag("own-grid");
  settings.ranks_per_node = given<int64_t>(line, "ranks-per-node");
  settings.calibrate = !line.flag("no-calibration");
  settings.seconds = seconds;
  settings.quiet = line.flag("quiet");

  // Messages between several ranks are measured unless an option gives them.
  if (ranks == 1 || line.has("latency-us") || line.has("bandwidth-gbs"))
    settings.messages = MessageCost{latency_us * 1e-6, bandwidth_gbs * 1e9};
  return settings;
}

plan::AssumedSizes assumed_sizes(const CommandLine& line) {
  return {.rows = given<int64_t>(line, "rows"),
          .dim = given<int64_t>(line, "dim"),
          .classes = given<int64_t>(line, "classes"),
          .passes = given<int64_t>(line, "passes"),
          .validation_rows = given<int64_t>(line, "validation-rows"),
          .unlabelled_rows = given<int64_t>(line, "unlabelled-rows"),
          .dtype = given<std::string>(line, "dtype")};
}

// The cost model is that of training on CPUs.
void check_device(const RuntimeOptions& runtime) {
  DISSENT_CHECK(
      runtime.device != DeviceChoice::kCuda, kUsage,
      "runtime.device: expected \"cpu\" or \"auto\", found \"cuda\": costs are modelled for "
      "CPUs only; use --set runtime.device=cpu");
}

int64_t config_bytes(const config::Schema& schema) {
  return static_cast<int64_t>(config::result_toml(schema).size());
}

void report(Communicator& world, plan::CostModel& model, const plan::Settings& settings,
            bool json) {
  // Collective, since all ranks measure at the same time; rank 0 prints.
  const auto grids = plan::Planner(world, model, settings).plan();
  if (world.rank() != 0) return;
  fmt::print("{}", json ? plan::report_json(model, grids) : plan::report_text(model, grids));
}

}  // namespace

int run_plan(Runtime& runtime, const CommandLine& line) {
  const auto document =
      load_configuration(runtime, line.positional()[0], line.get<std::vector<std::string>>("set"));
  auto& world = runtime.world();
  plan::Settings settings;
  agree(world, [&] { settings = read_settings(line, world.size()); });
  const auto sizes = assumed_sizes(line);
  const bool json = line.flag("json");

  // Each kind of training reads its data as far as they exist, and has its own cost model. What
  // depends on files is agreed on, since nodes may see different ones.
  if (trains_images(document)) {
    auto config = read_image_train_config(document);
    apply_runtime(runtime, config.runtime.threads, config.runtime.timeout_s);
    plan::ImageSets sets;
    agree(world, [&] {
      check_device(config.runtime);
      sets = plan::find_image_sets(config, sizes);
    });
    plan::ImageCostModel model(world, config, sets, settings,
                               config_bytes(image_train_schema(config)));
    report(world, model, settings, json);
    return 0;
  }

  auto config = read_train_config(document);
  apply_runtime(runtime, config.runtime.threads, config.runtime.timeout_s);
  plan::HeadShapes shapes;
  agree(world, [&] {
    check_device(config.runtime);
    shapes = plan::read_head_shapes(config.data, sizes);
  });
  plan::HeadCostModel model(world, config, shapes, settings, config_bytes(train_schema(config)));
  report(world, model, settings, json);
  return 0;
}

}  // namespace dissent::cli
