#include "plan/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/text_table.hpp"
#include "storage/atomic_file.hpp"

namespace dissent::plan {
namespace {

constexpr size_t kLeftColumns = 2;  // ranks and grid

// The first line holds the headings. Names are aligned to the left, numbers to the right.
std::string table_text(const std::vector<Cells>& lines) {
  constexpr size_t kIndent = 2;
  return plain_table(lines, left_then_right(kLeftColumns, lines[0].size() - kLeftColumns), kIndent);
}

// A line: the grid, then cells of the model and of all models.
Cells line_of(const GridCost& grid, std::initializer_list<Cells> parts) {
  Cells line{std::to_string(grid.placement.ranks), shape_text(grid.shape)};
  for (const auto& part : parts) line.insert(line.end(), part.begin(), part.end());
  return line;
}
Cells headings_of(std::initializer_list<Cells> parts) {
  Cells line{"ranks", "grid"};
  for (const auto& part : parts) line.insert(line.end(), part.begin(), part.end());
  return line;
}

std::vector<const GridCost*> possible_grids(const Plan& plan) {
  std::vector<const GridCost*> grids;
  for (const auto& grid : plan.grids)
    if (grid.problem.empty()) grids.push_back(&grid);
  return grids;
}

bool shares_data(const Plan& plan) {
  return std::any_of(plan.grids.begin(), plan.grids.end(),
                     [](const auto& grid) { return grid.node_data_bytes > 0; });
}

std::string storage_text(const CostModel& model, const Plan& plan, const StorageCost& storage) {
  // A checkpoint is written next to the last one and then renamed, so both exist at the peak.
  return fmt::format(
      "  on disk: checkpoint {}; {} at most while one is written ({}), logs {}; {} free; all runs "
      "{}\n",
      byte_text(storage.checkpoint), byte_text(storage.peak),
      model.validates() ? "last, best, temporary" : "last, temporary", byte_text(storage.logs),
      byte_text(plan.node.disk_bytes), byte_text(plan.runs * storage.peak));
}

std::string memory_text(const CostModel& model, const Plan& plan) {
  // What a rank holds comes first, then what a node needs for all its ranks. Trainings that share
  // no data between ranks have no column for it.
  const auto table = model.memory_table();
  const bool shared = shares_data(plan);
  std::vector<Cells> lines{headings_of({table.headings,
                                        shared ? Cells{"data per node"} : Cells{},
                                        {"per rank", "per node", "of free"}})};
  for (const auto* grid : possible_grids(plan)) {
    const double share = 100.0 * static_cast<double>(grid->node_bytes()) /
                         static_cast<double>(plan.node.memory_bytes);
    lines.push_back(line_of(*grid, {grid->memory_cells,
                                    shared ? Cells{byte_text(grid->node_data_bytes)} : Cells{},
                                    {byte_text(grid->rank_bytes),
                                     fmt::format("{} ({} ranks)", byte_text(grid->node_bytes()),
                                                 grid->placement.ranks_per_node),
                                     fmt::format("{:.0f} %", share)}}));
  }

  return fmt::format(
             "\nMemory at the peak; `per rank` includes {} of libraries; {}; free on this node now "
             "{}, /dev/shm {}\n",
             byte_text(kBaseBytes), table.caption, byte_text(plan.node.memory_bytes),
             byte_text(plan.node.shm_bytes)) +
         table_text(lines) + table.explanation;
}

std::string message_text(const CostModel& model, const Plan& plan) {
  const auto table = model.message_table();
  std::vector<Cells> lines{headings_of({table.headings})};
  for (const auto* grid : possible_grids(plan))
    lines.push_back(line_of(*grid, {grid->message_cells}));
  return fmt::format("\nPer step: {}\n", table.caption) + table_text(lines) + table.explanation;
}

std::string maybe_seconds(const std::optional<double>& seconds) {
  return seconds ? seconds_text(*seconds) : "-";
}

// Seconds of all runs on one rank, if such a grid was measured.
std::optional<double> one_rank_seconds(const Plan& plan) {
  for (const auto& grid : plan.grids)
    if (grid.placement.ranks == 1 && grid.time) return grid.time->total_s;
  return std::nullopt;
}

std::string time_text(const CostModel& model, const Plan& plan) {
  // From a step to all runs. The model's own columns follow the time of a step.
  const auto table = model.time_table();

  // The speed-up is that over one rank, if --ranks names it.
  const auto one_rank = one_rank_seconds(plan);
  std::vector<Cells> lines{
      headings_of({{"threads", "per step", "messages"},
                   table.headings,
                   {"validation", "per epoch", "per run", "all runs", "speed-up"}})};
  for (const auto* grid : possible_grids(plan)) {
    if (!grid->time) continue;
    const auto& time = *grid->time;
    const std::string speed_up =
        one_rank && time.total_s ? fmt::format("{:.2f}", *one_rank / *time.total_s) : "-";
    lines.push_back(
        line_of(*grid, {{std::to_string(grid->placement.threads_per_rank),
                         seconds_text(time.step_s), seconds_text(time.exchange_s)},
                        grid->time_cells,
                        {seconds_text(time.validation_s), maybe_seconds(time.epoch_s),
                         maybe_seconds(time.run_s), maybe_seconds(time.total_s), speed_up}}));
  }

  // Nothing was measured: without calibration, or where no grid fits the memory.
  if (lines.size() == 1) return "";
  return "\nTime on CPUs; grid = runs x members x data; `messages` is part of a step; `speed-up` "
         "over 1 rank\n" +
         table_text(lines) + table.explanation +
         fmt::format("  messages: {:.3g} us each and {:.3g} GB/s, {}\n",
                     plan.messages.latency_s * 1e6, plan.messages.bytes_per_second * 1e-9,
                     plan.messages_measured ? "measured" : "assumed");
}

std::string notes_text(const Plan& plan) {
  // Grids that are not possible appear only here; the tables leave them out.
  std::string text;
  for (const auto& grid : plan.grids) {
    const int64_t ranks = grid.placement.ranks;
    if (!grid.problem.empty()) text += fmt::format("  {} ranks: {}\n", ranks, grid.problem);
    for (const auto& note : grid.notes) text += fmt::format("  {} ranks: {}\n", ranks, note);
  }
  return text.empty() ? "" : "\n" + text;
}

Json memory_json(const Plan& plan, const GridCost& grid) {
  Json json{{"base", kBaseBytes}};
  json.update(grid.memory);
  json["rank"] = grid.rank_bytes;
  json["data_node"] = grid.node_data_bytes;
  json["resident_rank"] = grid.rank_bytes + grid.node_data_bytes;
  json["node"] = grid.node_bytes();
  json["available"] = plan.node.memory_bytes;
  return json;
}

Json time_json(const GridCost& grid) {
  const auto& time = *grid.time;
  Json json{{"step_s", time.step_s}, {"exchange_s", time.exchange_s}};
  json.update(grid.times);
  json["validation_s"] = time.validation_s;

  // Without the number of images there are no values per epoch.
  if (!time.epoch_s) return json;
  json["epoch_s"] = *time.epoch_s;
  json["run_s"] = *time.run_s;
  json["total_s"] = *time.total_s;
  return json;
}

Json grid_json(const Plan& plan, const GridCost& grid) {
  Json json{{"ranks", grid.placement.ranks}};

  // A grid that is not possible has no cost: only its reason is written.
  if (!grid.problem.empty()) {
    json["problem"] = grid.problem;
    return json;
  }

  json["grid"] = {
      {"runs", grid.shape.runs}, {"members", grid.shape.members}, {"data", grid.shape.data}};

  json["ranks_per_node"] = grid.placement.ranks_per_node;
  json["threads_per_rank"] = grid.placement.threads_per_rank;
  json["memory"] = memory_json(plan, grid);
  json.update(grid.sections);

  json["storage"] = {{"checkpoint", grid.storage.checkpoint},
                     {"peak", grid.storage.peak},
                     {"logs", grid.storage.logs}};
  if (grid.time) json["time"] = time_json(grid);
  json["notes"] = grid.notes;
  return json;
}

}  // namespace

std::string report_text(const CostModel& model, const Plan& plan) {
  // Sizes of a step and of the files hardly depend on the grid, so they are shown once, for the
  // first one.
  std::string text = model.run_text();
  const auto grids = possible_grids(plan);
  if (!grids.empty()) {
    const auto& first = *grids.front();
    text += model.step_text(first);
    text += storage_text(model, plan, first.storage);
    text += memory_text(model, plan);
    text += message_text(model, plan);
    text += time_text(model, plan);
  }
  return text + notes_text(plan);
}

std::string report_json(const CostModel& model, const Plan& plan) {
  Json json{{"format", "dissent-plan"},
            {"version", 1},
            {"experiment", model.config().experiment.experiment}};
  model.add_run_json(json);
  json["messages"] = {{"latency_s", plan.messages.latency_s},
                      {"bytes_per_second", plan.messages.bytes_per_second},
                      {"measured", plan.messages_measured}};
  for (const auto& grid : plan.grids) json["grids"].push_back(grid_json(plan, grid));
  return json.dump(2) + "\n";
}

}  // namespace dissent::plan
