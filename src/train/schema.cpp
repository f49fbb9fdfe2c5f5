#include "train/schema.hpp"

#include "config/read.hpp"

namespace dissent {

config::Schema train_schema(TrainConfig& c) {
  config::Schema schema;
  schema.table(experiment_table(), c.experiment)
      .table(grid_table(), c.grid)
      .table(cache_data_table(), c.data)
      .table(ensemble_table(), c.ensemble)
      .optional_table(cross_entropy_table(), c.cross_entropy, c.has_cross_entropy)
      .optional_table(a2d_table(), c.a2d, c.has_a2d)
      .optional_table(divdis_table(), c.divdis, c.has_divdis)
      .optional_table(kl_backward_table(), c.kl_backward, c.has_kl_backward)
      .table(disagreement_table(), c.disagreement)
      .table(optimizer_table(), c.optimizer)
      .table(schedule_table(), c.schedule)
      .table(training_table(), c.training)
      .table(checkpoint_table(), c.checkpoint)
      .table(runtime_table(), c.runtime);
  return schema;
}

TrainConfig read_train_config(const config::Document& document) {
  TrainConfig config;
  auto schema = train_schema(config);
  config::ConfigErrors errors(document);
  config::read(document, schema, errors);
  for (const auto& conflict : conflicts(config)) errors.add(conflict.key, conflict.message);
  errors.raise();
  return config;
}

}  // namespace dissent
