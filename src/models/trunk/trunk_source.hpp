#pragma once
#include "data/feature_source.hpp"
#include "data/transforms/corruption.hpp"
#include "data/transforms/transform.hpp"
#include "models/trunk/options.hpp"

namespace dissent {

/// The transform from images to the network's inputs. Error::kUsage, before a file is opened: a set
/// without images, no transform or an unknown one. Not collective.
TransformOptions trunk_transform(const ImageDataOptions& data, const CorruptionOptions& corruption,
                                 const TrunkOptions& trunk);
/// Whether passes over the same images differ.
bool draws(const TransformOptions& options);

/// The features of the images selected by [data], after its transform, computed by the network of
/// [trunk]. Images are decoded and transformed by data.workers threads ahead of the network, or
/// without workers by the threads of this process. On the CPU each thread runs its own batches; on
/// a GPU there is one batch at a time.
///
/// Reproducibility: row r of a pass is always at position r mod batch_size of a batch of batch_size
/// rows, whose other positions hold their own rows or, if those were not requested or do not exist,
/// zeros. A feature therefore depends only on its image, its position and the weights: not on
/// ranks, threads, shards, workers, or the row from which a stopped writer resumes. Error::kUsage:
/// a set without images, no transform, and as ImageTrunk. Error::kData as open_image_source, and
/// from features() for the first damaged image, by name: rows are never skipped, since every pass
/// of a cache has the same rows (docs/caching.md). Not collective.
FeatureSource open_trunk_source(const ImageDataOptions& data, const CorruptionOptions& corruption,
                                const TrunkOptions& trunk, at::Device device);

}  // namespace dissent
