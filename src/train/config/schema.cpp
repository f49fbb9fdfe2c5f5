#include "train/config/schema.hpp"

#include "config/read.hpp"

namespace dissent {

config::Schema train_schema(TrainConfig& c) {
  config::Schema schema;
  schema.table(experiment_table(), c.experiment)
      .table(grid_table(), c.grid)
      .table(cache_data_table(), c.data)
      .table(ensemble_table(), c.ensemble);
  for (size_t i = 0; i < c.losses.size(); ++i)
    schema.optional_table(loss_option_tables()[i], c.losses[i], c.losses[i].present);
  schema.table(disagreement_table(), c.disagreement)
      .table(optimizer_table(), c.optimizer)
      .table(schedule_table(), c.schedule)
      .table(training_table(), c.training)
      .table(checkpoint_table(), c.checkpoint)
      .table(train_runtime_table(), c.runtime);
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
