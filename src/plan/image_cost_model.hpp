#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "comm/communicator.hpp"
#include "plan/cost_model.hpp"
#include "plan/image_sets.hpp"
#include "plan/settings.hpp"
#include "train/cost/image_cost.hpp"

namespace dissent::plan {

/// A training on images, by train/cost/image_cost.hpp.
class ImageCostModel final : public CostModel {
 public:
  /// Counts what a pass of one network saves. `world`, `config` and `sets` have to outlive the
  /// model. Collective.
  ImageCostModel(Communicator& world, const ImageTrainConfig& config, const ImageSets& sets,
                 const Settings& settings, int64_t config_bytes);

  const CommonTrainConfig& config() const override { return config_; }
  int64_t members() const override { return config_.ensemble.members; }
  int64_t batch_size() const override { return config_.data.batch_size; }
  Precision precision() const override { return config_.training.precision; }
  bool precision_needs_gpu() const override {
    return precision() == Precision::kF16 || precision() == Precision::kTf32;
  }
  bool validates() const override { return run_.validation_batch > 0; }
  std::string run_text() const override;
  void add_run_json(Json& json) const override;

  GridLimits limits() const override { return {runs(), run_.networks(), run_.batch}; }
  std::optional<GridShape> best_grid(int64_t ranks, int64_t threads_per_rank,
                                     const MessageCost& messages) override;
  /// If the configuration sets a grid: best_grid is a rougher estimate here than for heads.
  bool compares_own_grid() const override {
    return config_.grid.members || config_.grid.data.value_or(1) > 1;
  }

  GridCost cost(const Placement& placement, const GridShape& shape,
                const NodeResources& node) override;
  void measure(GridCost& grid, bool measures, double seconds, const MessageCost& messages) override;
  std::string split_batch_note() const override;

  TableText memory_table() const override;
  TableText message_table() const override;
  TableText time_table() const override;
  std::string step_text(const GridCost& first) const override;

 private:
  int64_t runs() const { return static_cast<int64_t>(config_.experiment.seeds.size()); }
  std::string passes_text() const;

  Communicator& world_;
  const ImageTrainConfig& config_;
  const ImageSets& sets_;
  ImageRunShape run_;
};

}  // namespace dissent::plan
