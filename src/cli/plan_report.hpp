#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "train/calibration.hpp"

namespace dissent::cli {

/// What a training costs on one grid.
struct GridCost {
  int64_t ranks = 1, ranks_per_node = 1, threads = 1;
  std::string problem;  ///< why there is no such grid; the rest is not filled in then
  GridShape shape;
  StepCost step;
  double mean_width = 0;     ///< steps a wave
  double wave_speed_up = 0;  ///< WaveSimulation::speed_up
  MemoryCost memory;
  DataCost data;
  StorageCost storage;
  std::optional<TimeCost> time;  ///< nothing without calibration
  double bound_s = 0;            ///< of a step
  MachineRates rates;            ///< of a rank
  std::vector<std::string> notes;
  int64_t node_bytes() const { return ranks_per_node * memory.rank() + data.node_bytes; }
};

struct CostReport {
  std::string title, model, data_text;
  RunShape run;
  int64_t runs = 1;
  int64_t available_bytes = 0, shm_bytes = 0, disk_bytes = 0;  ///< free on this node
  int64_t cores = 1;
  bool calibrated = false;
  bool messages_measured = false;
  MessageCost messages;
  std::vector<GridCost> grids;
};

/// Where the ranks of a grid are, or the problem why there is none: what the JSON of all kinds of
/// training begins with.
template <class Grid>
nlohmann::ordered_json place_json(const Grid& grid) {
  nlohmann::ordered_json json{{"ranks", grid.ranks}};
  if (!grid.problem.empty()) {
    json["problem"] = grid.problem;
    return json;
  }
  json["grid"] = {
      {"runs", grid.shape.runs}, {"members", grid.shape.members}, {"data", grid.shape.data}};
  json["ranks_per_node"] = grid.ranks_per_node;
  json["threads_per_rank"] = grid.threads;
  return json;
}

/// Says on stderr what is measured now, on rank 0 unless --quiet: a plan takes seconds a grid.
void say_planning(bool quiet, int rank, const std::string& what);

/// "3.2 GiB".
std::string bytes(double count);
/// "3.2 ms", "12.0 min".
std::string duration(double seconds);
/// Cells to a table, the first `left` columns to the left; the first line is the header.
std::string text_table(const std::vector<std::vector<std::string>>& lines, size_t left);
/// Rank 0's numbers on every rank, so that all decide alike. Collective.
std::vector<double> of_first(Communicator& world, const std::vector<double>& values);

/// For people: sizes of a step and of storage, then a line a grid in three tables (memory,
/// messages, time), notes, and the model.
std::string report_text(const CostReport& report);
/// The same as JSON; bytes, seconds.
std::string report_json(const CostReport& report);

}  // namespace dissent::cli
