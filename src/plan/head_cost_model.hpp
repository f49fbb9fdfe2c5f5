#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "comm/communicator.hpp"
#include "plan/cost_model.hpp"
#include "plan/head_shapes.hpp"
#include "plan/settings.hpp"
#include "train/cost/head_cost.hpp"

namespace dissent::plan {

/// A training of heads on feature caches, by train/cost/head_cost.hpp.
class HeadCostModel final : public CostModel {
 public:
  /// `world`, `config` and `settings` have to outlive the model.
  HeadCostModel(Communicator& world, const TrainConfig& config, const HeadShapes& shapes,
                const Settings& settings, int64_t config_bytes);

  const CommonTrainConfig& config() const override { return config_; }
  int64_t members() const override { return config_.ensemble.members; }
  int64_t batch_size() const override { return config_.data.batch_size; }
  Precision precision() const override { return config_.training.precision; }
  bool precision_needs_gpu() const override {
    return precision() == Precision::kBf16 || precision() == Precision::kTf32;
  }
  bool validates() const override { return run_.validation.has_value(); }
  std::string run_text() const override;
  void add_run_json(Json& json) const override;

  GridLimits limits() const override;
  std::optional<GridShape> best_grid(int64_t ranks, int64_t threads_per_rank,
                                     const MessageCost& messages) override;

  GridCost cost(const Placement& placement, const GridShape& shape,
                const NodeResources& node) override;
  void measure(GridCost& grid, bool measures, double seconds, const MessageCost& messages) override;

  TableText memory_table() const override;
  TableText message_table() const override;
  TableText time_table() const override;
  std::string step_text(const GridCost& first) const override;

 private:
  int64_t runs() const { return static_cast<int64_t>(config_.experiment.seeds.size()); }
  std::string model_text() const;
  /// Measured once per number of threads, assumed without calibration. Collective.
  const MachineRates& rates(int64_t threads);
  const WaveSimulation& waves(int64_t parts);

  Communicator& world_;
  const TrainConfig& config_;
  const Settings& settings_;
  HeadRunShape run_;
  std::string data_text_;
  std::map<int64_t, MachineRates> rates_;
  std::map<int64_t, WaveSimulation> waves_;
  std::optional<MachineRates> first_rates_;  ///< those of the report's first grid
};

}  // namespace dissent::plan
