#include "cli/plan_report.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "storage/atomic_file.hpp"

namespace dissent::cli {

void say_planning(bool quiet, int rank, const std::string& what) {
  if (quiet || rank != 0) return;
  fmt::print(stderr, "plan: {}\n", what);
  std::fflush(stderr);
}

std::string bytes(double count) { return byte_text(static_cast<int64_t>(count)); }

namespace {

std::string shape_text(const GridShape& shape) {
  return fmt::format("{} x {} x {}", shape.runs, shape.members, shape.data);
}

const GridCost* one_rank(const CostReport& report) {
  for (const auto& grid : report.grids)
    if (grid.ranks == 1 && grid.time) return &grid;
  return nullptr;
}

std::vector<std::string> place(const GridCost& grid) {
  return {std::to_string(grid.ranks), shape_text(grid.shape)};
}

std::string memory_table(const CostReport& report) {
  std::vector<std::vector<std::string>> lines{{"ranks", "grid", "parameters", "optimiser",
                                               "activations", "gradients", "logits", "plan", "then",
                                               "a rank", "data a node", "a node", "of free"}};
  for (const auto& grid : report.grids) {
    if (!grid.problem.empty()) continue;
    const auto& m = grid.memory;
    auto line = place(grid);
    for (const int64_t part :
         {m.parameters, m.optimizer, m.activations, m.gradients, m.logits, m.plan,
          std::max(m.validation, m.checkpoint), m.rank(), grid.data.node_bytes, grid.node_bytes()})
      line.push_back(byte_text(part));
    line.back() += fmt::format(" ({} ranks)", grid.ranks_per_node);
    line.push_back(fmt::format("{:.0f} %", 100.0 * static_cast<double>(grid.node_bytes()) /
                                               static_cast<double>(report.available_bytes)));
    lines.push_back(line);
  }
  return text_table(lines, 2);
}

std::string message_table(const CostReport& report) {
  std::vector<std::vector<std::string>> lines{{"ranks", "grid", "logits received", "gradients sent",
                                               "weights and states", "steps a wave",
                                               "simulated speed-up"}};
  for (const auto& grid : report.grids) {
    if (!grid.problem.empty()) continue;
    auto line = place(grid);
    for (auto&& cell : {bytes(grid.step.gather_bytes), bytes(grid.step.reduce_bytes),
                        bytes(grid.step.weight_bytes), fmt::format("{:.2f}", grid.mean_width),
                        fmt::format("{:.2f}", grid.wave_speed_up)})
      line.push_back(cell);
    lines.push_back(line);
  }
  return text_table(lines, 2);
}

std::string time_table(const CostReport& report) {
  std::vector<std::vector<std::string>> lines{
      {"ranks", "grid", "threads", "a step", "of it messages", "busy", "bound", "times bound",
       "validation", "an epoch", "a run", "all runs", "faster"}};
  const auto* one = one_rank(report);
  for (const auto& grid : report.grids) {
    if (!grid.time) continue;
    const auto& t = *grid.time;
    auto line = place(grid);
    for (auto&& cell : {std::to_string(grid.threads), duration(t.step_s), duration(t.exchange_s),
                        fmt::format("{:.0f} %", 100 * t.busy), duration(grid.bound_s),
                        fmt::format("{:.2f}", t.step_s / grid.bound_s), duration(t.validation_s),
                        duration(t.epoch_s), duration(t.run_s), duration(t.total_s),
                        one ? fmt::format("{:.2f}", one->time->total_s / t.total_s) : "-"})
      line.push_back(cell);
    lines.push_back(line);
  }
  return text_table(lines, 2);
}

std::string notes_text(const CostReport& report) {
  std::string text;
  for (const auto& grid : report.grids) {
    if (!grid.problem.empty()) text += fmt::format("  {} ranks: {}\n", grid.ranks, grid.problem);
    for (const auto& note : grid.notes) text += fmt::format("  {} ranks: {}\n", grid.ranks, note);
  }
  return text;
}

nlohmann::ordered_json grid_json(const CostReport& report, const GridCost& grid) {
  auto json = place_json(grid);
  if (!grid.problem.empty()) return json;
  const auto& m = grid.memory;
  json["memory"] = {{"base", m.base},
                    {"parameters", m.parameters},
                    {"optimizer", m.optimizer},
                    {"activations", m.activations},
                    {"gradients", m.gradients},
                    {"logits", m.logits},
                    {"plan", m.plan},
                    {"validation", m.validation},
                    {"checkpoint", m.checkpoint},
                    {"rank", m.rank()},
                    {"data_node", grid.data.node_bytes},
                    {"residency", grid.data.stream ? "stream" : "host"},
                    {"resident_rank", m.rank() + grid.data.node_bytes},
                    {"node", grid.node_bytes()},
                    {"available", report.available_bytes}};
  json["step"] = {{"flops", grid.step.flops},
                  {"weight_bytes", grid.step.weight_bytes},
                  {"logits_bytes", grid.step.logits_bytes},
                  {"gather_bytes", grid.step.gather_bytes},
                  {"reduce_bytes", grid.step.reduce_bytes},
                  {"bound_s", grid.bound_s}};
  json["waves"] = {{"mean_width", grid.mean_width}, {"speed_up", grid.wave_speed_up}};
  json["storage"] = {{"checkpoint", grid.storage.checkpoint},
                     {"peak", grid.storage.peak},
                     {"logs", grid.storage.logs}};
  json["rates"] = {{"flops_per_second", grid.rates.flops_per_second},
                   {"bytes_per_second", grid.rates.bytes_per_second}};
  if (grid.time) {
    const auto& t = *grid.time;
    json["time"] = {{"step_s", t.step_s},   {"exchange_s", t.exchange_s},
                    {"busy", t.busy},       {"validation_s", t.validation_s},
                    {"epoch_s", t.epoch_s}, {"run_s", t.run_s},
                    {"total_s", t.total_s}};
  }
  json["notes"] = grid.notes;
  return json;
}

}  // namespace

std::string duration(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.0f} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.3g} ms", seconds * 1e3);
  if (seconds < 120) return fmt::format("{:.3g} s", seconds);
  if (seconds < 7200) return fmt::format("{:.1f} min", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{:.1f} h", seconds / 3600);
  return fmt::format("{:.1f} d", seconds / 86400);
}

std::string text_table(const std::vector<std::vector<std::string>>& lines, size_t left) {
  std::vector<size_t> widths(lines[0].size(), 0);
  for (const auto& line : lines)
    for (size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], line[c].size());
  std::string text;
  for (const auto& line : lines) {
    text += " ";
    for (size_t c = 0; c < line.size(); ++c)
      text += c < left ? fmt::format(" {:<{}}", line[c], widths[c])
                       : fmt::format("  {:>{}}", line[c], widths[c]);
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

std::vector<double> of_first(Communicator& world, const std::vector<double>& values) {
  auto tensor = at::tensor(values, at::kDouble);
  world.broadcast(tensor, 0);
  return {tensor.const_data_ptr<double>(), tensor.const_data_ptr<double>() + tensor.numel()};
}

std::string report_text(const CostReport& report) {
  const auto& run = report.run;
  std::string text = fmt::format("{}: {}\n", report.title, report.model);
  text += fmt::format("  steps an epoch {}, epochs {}{}, runs {}\n", steps_per_epoch(run.plan),
                      run.epochs, run.frozen_first_epoch ? " (the first without updates)" : "",
                      report.runs);
  text += report.data_text;
  const GridCost* first = nullptr;
  for (const auto& grid : report.grids)
    if (!first && grid.problem.empty()) first = &grid;
  if (!first) return text + "\n" + notes_text(report);
  text += fmt::format("  a step: {:.4g} GFLOP of products, {} of logits\n",
                      first->step.flops * 1e-9, byte_text(first->step.logits_bytes));
  text += fmt::format(
      "  on disk: checkpoint {}; {} at most while one is written ({}), logs {}; {} free; all runs "
      "{}\n",
      byte_text(first->storage.checkpoint), byte_text(first->storage.peak),
      run.validation ? "last, best, temporary" : "last, temporary", byte_text(first->storage.logs),
      byte_text(report.disk_bytes), byte_text(report.runs * first->storage.peak));
  text += fmt::format(
      "\nMemory at the peak; each rank {} of libraries besides; `then`: the larger of validation "
      "and checkpoint; free now on this node {}, /dev/shm {}\n",
      byte_text(kBaseBytes), byte_text(report.available_bytes), byte_text(report.shm_bytes));
  text += memory_table(report);
  text += fmt::format(
      "\nA step: messages of a rank (mean), memory traffic of a data part (bound), waves of steps "
      "without a common member (look-ahead {})\n",
      run.look_ahead);
  text += message_table(report);
  if (report.calibrated) {
    text += "\nTime on CPUs; grid = runs x members x data; `faster` than the line of 1 rank\n" +
            time_table(report);
    text += fmt::format(
        "  model: a wave takes what its busiest member group takes, as measured here, and its "
        "messages ({:.3g} us each and {:.3g} GB/s, {}); not in it: loading data,\n"
        "  writing checkpoints, ranks that wait for each other because of noise. Ranks that are "
        "not on this machine count as cores of the same kind.\n",
        report.messages.latency_s * 1e6, report.messages.bytes_per_second * 1e-9,
        report.messages_measured ? "measured" : "assumed");
    text += fmt::format(
        "  bound: products at {:.3g} GFLOP/s and memory at {:.3g} GB/s a rank (first line; "
        "measured), shared evenly by the ranks\n",
        first->rates.flops_per_second * 1e-9, first->rates.bytes_per_second * 1e-9);
  }
  const auto notes = notes_text(report);
  return notes.empty() ? text : text + "\n" + notes;
}

std::string report_json(const CostReport& report) {
  const auto& run = report.run;
  nlohmann::ordered_json json{{"format", "dissent-plan"},
                              {"version", 1},
                              {"experiment", report.title},
                              {"model", report.model}};
  json["members"] = run.plan.members;
  json["active"] = run.plan.active;
  json["batch_size"] = run.plan.batch_size;
  json["parameters_per_member"] = run.head->layout().parameter_count();
  json["steps_per_epoch"] = steps_per_epoch(run.plan);
  json["epochs"] = run.epochs;
  json["runs"] = report.runs;
  json["train"] = {{"rows_per_pass", run.train.rows_per_pass},
                   {"passes", run.train.passes},
                   {"dim", run.train.dim},
                   {"classes", run.train.classes},
                   {"cache_bytes", cache_bytes(run.train)}};
  json["messages"] = {{"latency_s", report.messages.latency_s},
                      {"bytes_per_second", report.messages.bytes_per_second},
                      {"measured", report.messages_measured}};
  for (const auto& grid : report.grids) json["grids"].push_back(grid_json(report, grid));
  return json.dump(2) + "\n";
}

}  // namespace dissent::cli
