#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "config/document.hpp"
#include "config/schema.hpp"
#include "data/options.hpp"
#include "data/transforms/transform.hpp"
#include "models/networks/registry.hpp"
#include "train/config/common_config.hpp"
#include "train/images/discriminator.hpp"
#include "train/images/image_objective.hpp"

namespace dissent {

/// Order of the training images.
enum class Sampler { kShuffled, kClassBalanced };
/// What happens to a damaged image.
enum class OnDamaged { kError, kSkip };
/// Statistics that BatchNorm uses where data ranks share a batch.
enum class BatchNormMode { kLocal, kSynchronised };

/// The keys that name an image set: [data], [validation] and [unlabelled] have them.
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
  std::string background = kNoneSelected;
  std::string transform = "mnist_train";
  int64_t batch_size = 128;
  bool same_batch = false;
  bool drop_last = false;
  Sampler sampler = Sampler::kShuffled;
  int64_t samples_per_class = 16;
  int64_t workers = 0;
  int64_t prefetch = 2;
  OnDamaged on_damaged = OnDamaged::kError;
};
/// [validation]
struct ImageValidationOptions {
  std::string dataset;
  std::string root;
  std::string split = "test";
  std::string list;
  std::string rows;
  std::string transform = kAutoTransform;
  int64_t batch_size = 200;
};
/// [unlabelled]
struct ImageUnlabelledOptions {
  std::string dataset;
  std::string root;
  std::string split = "train";
  std::string list;
  std::string rows;
  std::string transform = kAutoTransform;
  int64_t batch_size = 128;
};

/// [ensemble] of training on images.
struct ImageEnsembleOptions {
  int64_t members = 5;
  std::string model = "lenet";
  std::string weights;
  std::string prefix;
};

/// [training] of training on images.
struct ImageTrainingOptions {
  int64_t epochs = 1;
  OnNan on_nan = OnNan::kError;
  double clip_norm = 0;
  int64_t accumulation = 1;
  Precision precision = Precision::kF32;
  double ema_decay = 0;
  BatchNormMode batch_norm = BatchNormMode::kLocal;
};

/// A configuration of `dissent train` with data.kind = "images".
struct ImageTrainConfig : CommonTrainConfig {
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
  DiscriminatorOptions discriminator;
  ImageTrainingOptions training;

  bool multihead() const { return ensemble.model.ends_with("_multihead"); }
};

/// The tables of the configuration, bound to it; it has to outlive the schema.
config::Schema image_train_schema(ImageTrainConfig& config);
/// Reads and checks the document. Error::kUsage with one line per error, conflicts included. Not
/// collective.
ImageTrainConfig read_image_train_config(const config::Document& document);
/// True if the document trains on images (data.kind = "images").
bool trains_images(const config::Document& document);

/// The objective that the loss tables describe.
ImageObjective image_objective(const ImageTrainConfig& config);
/// The network of the configuration for images of the training transform's size.
std::shared_ptr<const ImageNetwork> image_network(const ImageTrainConfig& config, int64_t classes);

}  // namespace dissent
