#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/document.hpp"
#include "config/schema.hpp"
#include "ensemble/objective.hpp"
#include "train/config/common_config.hpp"

namespace dissent {

/// Where the training rows are stored while they are trained on.
enum class Residency { kAuto, kDevice, kHost, kStream };

/// [data] of training on a feature cache.
struct CacheDataOptions {
  std::string kind = "cache";
  std::string train;
  std::string validation;
  std::string unlabelled;
  std::string subset;
  bool subset_complement = false;
  Residency residency = Residency::kAuto;
  int64_t chunk_rows = 0;
  double memory_gib = 8;
  int64_t batch_size = 32;
};
const TableSpec& cache_data_table();

/// Which members train in a step.
enum class Selection { kRandom, kRoundRobin };

/// [ensemble]
struct EnsembleOptions {
  int64_t members = 5;
  std::optional<int64_t> active;
  Selection selection = Selection::kRandom;
  std::string model = "block_head";
  std::optional<int64_t> hidden;
};
const TableSpec& ensemble_table();

/// [disagreement]: on which samples members are trained to disagree.
struct DisagreementOptions {
  ObjectiveOptions::RepulsionOn on = ObjectiveOptions::RepulsionOn::kLabelled;
  std::optional<double> below_threshold;
};
const TableSpec& disagreement_table();

/// [training]
struct TrainingOptions {
  int64_t epochs = 1;
  bool frozen_first_epoch = false;
  OnNan on_nan = OnNan::kError;
  double clip_norm = 0;
  int64_t look_ahead = 64;
  int64_t gradient_samples = 4;
  Precision precision = Precision::kF32;
};
const TableSpec& training_table();

/// A configuration of `dissent train` with data.kind = "cache".
struct TrainConfig : CommonTrainConfig {
  CacheDataOptions data;
  EnsembleOptions ensemble;
  DisagreementOptions disagreement;
  TrainingOptions training;

  /// A, members that train in one step.
  int64_t active_members() const {
    const bool round_robin = ensemble.selection == Selection::kRoundRobin;
    return round_robin ? 1 : ensemble.active.value_or(ensemble.members);
  }
};

/// The tables of the configuration, bound to it; it has to outlive the schema.
config::Schema train_schema(TrainConfig& config);
/// Reads and checks the document. Error::kUsage with one line per error, conflicts included. Not
/// collective.
TrainConfig read_train_config(const config::Document& document);

/// The objective that the loss tables describe.
ObjectiveOptions objective_options(const TrainConfig& config);

}  // namespace dissent
