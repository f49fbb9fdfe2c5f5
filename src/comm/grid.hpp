#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "comm/communicator.hpp"
#include "core/options.hpp"

namespace dissent {

/// Part `index` of a range of `total` split into `parts` contiguous, nearly equal parts (the first
/// ones are longer; parts may be empty).
struct Part {
  int64_t first = 0;
  int64_t count = 0;
};
Part part_of(int64_t total, int64_t parts, int64_t index);

/// [grid]: how the ranks of the job are split; world size = runs x members x data, data ranks
/// innermost, then members, then runs.
struct GridOptions {
  std::optional<int64_t> runs = 1;
  std::optional<int64_t> members;
  std::optional<int64_t> data = 1;
};
const TableSpec& grid_table();

struct GridShape {
  int64_t runs = 1;
  int64_t members = 1;
  int64_t data = 1;
};

/// Resolves "auto": members first (the largest number of parts up to `members` that divides the
/// remaining ranks), then data, then runs.
/// Error::kUsage if the product is not the world size, or if there are more ranks than work (more
/// parts than runs or members, more data parts than rows of a batch); it names a split that works.
GridShape resolve_grid(const GridOptions& options, int64_t world_size, int64_t runs,
                       int64_t members, int64_t batch_size);

/// This rank's position in the grid, and its groups. Collective over `world`.
class Grid {
 public:
  /// Error::kInternal unless runs x members x data is the size of `world`.
  Grid(Communicator& world, const GridShape& shape);
  GridShape shape;
  int64_t run_part = 0;     ///< which part of the runs this rank works on
  int64_t member_part = 0;  ///< which part of the members
  int64_t data_part = 0;    ///< which part of a batch
  std::unique_ptr<Communicator>
      run;  ///< all ranks of this run; rank = member_part * shape.data + data_part
  std::unique_ptr<Communicator> data;  ///< ranks with the same members, rank = data_part
  std::unique_ptr<Communicator>
      members;  ///< ranks with the same part of the batch, rank = member_part
};

}  // namespace dissent
