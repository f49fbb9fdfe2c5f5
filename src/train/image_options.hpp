#pragma once
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/grid.hpp"
#include "config/document.hpp"
#include "config/schema.hpp"
#include "core/options.hpp"
#include "data/image_source.hpp"
#include "data/options.hpp"
#include "data/transforms/transform.hpp"
#include "models/networks/registry.hpp"
#include "train/image_plan.hpp"
#include "train/image_stepper.hpp"
#include "train/options.hpp"

namespace dissent {

/// What names an image set in a configuration: [data], [validation], [unlabelled] of training.
struct ImageSetOptions {
  std::string dataset;
  std::string root;
  std::string split;
  std::string list;
  std::string rows;
  std::string transform;
};

/// [data] of training on images.
struct ImageTrainDataOptions {
  std::string kind = "images";
  std::string dataset;
  std::string root;
  std::string split = "train";
  std::string list;
  std::string rows;
  std::optional<int64_t> classes;
  std::optional<int64_t> ignore_label;
  bool allow_empty = false;
  std::string background = "none";
  std::string transform = "mnist_train";
  int64_t batch_size = 128;
  bool same_batch = false;
  bool drop_last = false;
  std::string sampler = "shuffled";
  int64_t samples_per_class = 16;
  int64_t workers = 0;
  int64_t prefetch = 2;
  std::string on_damaged = "error";
};
/// [validation]
struct ImageValidationOptions {
  std::string dataset;
  std::string root;
  std::string split = "test";
  std::string list;
  std::string rows;
  std::string transform = "auto";
  int64_t batch_size = 200;
};
/// [unlabelled]
struct ImageUnlabelledOptions {
  std::string dataset;
  std::string root;
  std::string split = "train";
  std::string list;
  std::string rows;
  std::string transform = "auto";
  int64_t batch_size = 128;
};

/// [ensemble] of images.
struct ImageEnsembleOptions {
  int64_t members = 5;
  std::string model = "lenet";
  std::string weights;
  std::string prefix;
};

/// [training] of images.
struct ImageTrainingOptions {
  int64_t epochs = 1;
  std::string on_nan = "error";
  double clip_norm = 0;
  int64_t accumulation = 1;
  std::string precision = "f32";
  double ema_decay = 0;
  std::string batch_norm = "local";
};

/// Everything that `dissent train CONFIG` is told where data.kind = "images".
struct ImageTrainConfig {
  ExperimentOptions experiment;
  GridOptions grid;
  ImageTrainDataOptions data;
  ImageValidationOptions validation;
  bool with_validation = false;
  ImageUnlabelledOptions unlabelled;
  bool with_unlabelled = false;
  RandAugmentOptions rand_augment;
  bool with_rand_augment = false;
  AugMixOptions aug_mix;
  bool with_aug_mix = false;
  CorruptionOptions corruption;
  ImageEnsembleOptions ensemble;
  std::vector<LossTable> losses = default_losses();
  DiscriminatorOptions discriminator;
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  ImageTrainingOptions training;
  CheckpointOptions checkpoint;
  RuntimeOptions runtime;

  bool multihead() const { return ensemble.model.ends_with("_multihead"); }
};

/// The tables, bound to a configuration that has to outlive the schema.
config::Schema image_train_schema(ImageTrainConfig& config);
/// Reads and checks the document, conflicts included. Error::kUsage with a line for each thing that
/// is wrong. Not collective.
ImageTrainConfig read_image_train_config(const config::Document& document);
/// True if the document asks for training on images (data.kind = "images").
bool trains_images(const config::Document& document);

ImageObjective image_objective(const ImageTrainConfig& config);
/// The network of the configuration for images of the training transform's size.
std::shared_ptr<const ImageNetwork> image_network(const ImageTrainConfig& config, int64_t classes);

/// A set and the transform that its images go through.
struct TransformedSet {
  std::unique_ptr<ImageSource> source;
  TransformOptions transform;
};
/// The sets of a configuration, opened: labels and lists in memory, images perhaps not.
struct ImageTrainData {
  TransformedSet train;
  std::optional<TransformedSet> validation, unlabelled;
  int64_t classes = 0;
  std::string identity;  ///< what the sets hold, wherever they lie
};
/// The sets as they are opened, by table: data, validation, unlabelled, those that there are.
std::vector<std::pair<std::string, ImageDataOptions>> image_sets(const ImageTrainConfig& config);
/// Error::kUsage, kData: see open_image_source; labels that are unknown or beyond the training
/// set's classes. Not collective.
ImageTrainData open_image_train_data(const ImageTrainConfig& config);

}  // namespace dissent
