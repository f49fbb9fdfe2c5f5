#include "comm/grid.hpp"

#include <algorithm>
#include <string>

#include <fmt/format.h>

namespace dissent {

Part part_of(int64_t total, int64_t parts, int64_t index) {
  // The first total mod parts parts are longer by one, so that each rank computes every other
  // rank's part without a message.
  const int64_t base = total / parts, longer = total % parts;
  return {index * base + std::min(index, longer), base + (index < longer ? 1 : 0)};
}

const TableSpec& grid_table() {
  // No key is part of a run's hash: a run resumes on another grid. On CPUs runs and members change
  // no bit of a result; a split of the data changes the order of sums and BatchNorm's local
  // statistics.
  static const TableSpec table =
      TableOf<GridOptions>("grid", "Process grid: world size = runs x members x data")
          .option("runs", &GridOptions::runs,
                  {.meaning = "runs (configuration x seed) trained at the same time",
                   .scope = Scope::kExecution,
                   .min = 1})
          .option("members", &GridOptions::members,
                  {.meaning = "parts into which the members of an ensemble are split",
                   .scope = Scope::kExecution,
                   .min = 1})
          .option("data", &GridOptions::data,
                  {.meaning = "parts into which a batch is split",
                   .scope = Scope::kExecution,
                   .min = 1});
  return table;
}

namespace {

// The split that uses the most ranks; among those the one with the most parts of members, then of
// data.
GridShape best_shape(int64_t world_size, int64_t runs, int64_t members, int64_t batch_size) {
  GridShape best;
  for (int64_t m = std::min(members, world_size); m >= 1; --m)
    for (int64_t d = std::min(batch_size, world_size / m); d >= 1; --d) {
      const int64_t r = std::min(runs, world_size / (m * d));
      if (r * m * d > best.runs * best.members * best.data) best = {r, m, d};
    }
  return best;
}

std::string what_works(int64_t world_size, int64_t runs, int64_t members, int64_t batch_size) {
  const auto best = best_shape(world_size, runs, members, batch_size);
  const int64_t ranks = best.runs * best.members * best.data;
  return fmt::format("{} work: grid.runs = {}, grid.members = {}, grid.data = {}",
                     ranks == world_size ? "all ranks" : fmt::format("{} ranks", ranks), best.runs,
                     best.members, best.data);
}

}  // namespace

GridShape resolve_grid(const GridOptions& options, int64_t world_size, int64_t runs,
                       int64_t members, int64_t batch_size) {
  const std::string works = what_works(world_size, runs, members, batch_size);

  // The fixed factors have to divide the number of ranks; the rest is distributed over those set to
  // auto.
  int64_t left = world_size;
  for (const auto& given : {options.runs, options.members, options.data}) {
    if (!given) continue;
    DISSENT_CHECK(left % *given == 0, kUsage,
                  "grid: expected runs x members x data = {} ranks, found runs = {}, "
                  "members = {}, data = {}; {}",
                  world_size, options.runs ? std::to_string(*options.runs) : "auto",
                  options.members ? std::to_string(*options.members) : "auto",
                  options.data ? std::to_string(*options.data) : "auto", works);
    left /= *given;
  }

  // Automatic factors: the largest divisor of the remaining ranks that has work for each part;
  // first members, then the batch, then runs.
  const auto largest = [&left](int64_t limit) {
    int64_t parts = std::min(limit, left);
    while (left % parts != 0) --parts;
    left /= parts;
    return parts;
  };

  GridShape shape;
  shape.members = options.members ? *options.members : largest(members);
  shape.data = options.data ? *options.data : largest(batch_size);
  shape.runs = options.runs ? *options.runs : largest(runs);

  // All messages end with a split that works, because the sizes depend on three tables of the
  // configuration.
  const std::string where = fmt::format("{} ranks, {} runs, {} members, batch size {}", world_size,
                                        runs, members, batch_size);
  DISSENT_CHECK(left == 1, kUsage,
                "more ranks than work: expected work for {} ranks, found it for {}: runs = {}, "
                "members = {}, data = {} ({}); {}",
                world_size, world_size / left, shape.runs, shape.members, shape.data, where, works);
  DISSENT_CHECK(shape.runs <= runs, kUsage,
                "more ranks than work: grid.runs: expected at most {} (runs), found {} ({}); {}",
                runs, shape.runs, where, works);
  DISSENT_CHECK(shape.members <= members, kUsage,
                "more ranks than work: grid.members: expected at most {} (members), found {} ({}); "
                "{}",
                members, shape.members, where, works);
  DISSENT_CHECK(shape.data <= batch_size, kUsage,
                "more ranks than work: grid.data: expected at most {} (rows of a batch), found {} "
                "({}); {}",
                batch_size, shape.data, where, works);
  return shape;
}

Grid::Grid(Communicator& world, const GridShape& grid_shape) : shape(grid_shape) {
  DISSENT_CHECK(shape.runs * shape.members * shape.data == world.size(), kInternal,
                "grid: expected {} ranks, found {} x {} x {}", world.size(), shape.runs,
                shape.members, shape.data);

  // Data ranks are innermost, so that ranks of a batch are neighbours on a node.
  const int64_t per_run = shape.members * shape.data;
  run_part = world.rank() / per_run;
  member_part = world.rank() % per_run / shape.data;
  data_part = world.rank() % shape.data;

  // Ranks of a group keep their order, so the rank in each group is the number of the part.
  run = world.split(static_cast<int>(run_part), world.rank());
  data = run->split(static_cast<int>(member_part), run->rank());
  members = run->split(static_cast<int>(data_part), run->rank());
}

}  // namespace dissent
