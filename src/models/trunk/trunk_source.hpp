#pragma once
#include "data/feature_source.hpp"
#include "data/transforms/corruption.hpp"
#include "data/transforms/transform.hpp"
#include "models/trunk/options.hpp"

namespace dissent {

/// What makes the network's inputs of the images. Error::kUsage, before a file is opened: a set
/// without images, no transform or an unknown one. Not collective.
TransformOptions trunk_transform(const ImageDataOptions& data, const CorruptionOptions& corruption,
                                 const TrunkOptions& trunk);
/// Whether passes over the same images differ.
bool draws(const TransformOptions& options);

/// The images that [data] names, through its transform and the network that [trunk] names. Images
/// are decoded and transformed by data.workers threads ahead of the network, or without workers by
/// the threads of this process. On the CPU each thread runs batches of its own, on a GPU there is
/// one at a time.
///
/// Bits: row r of a pass always goes through the network at place r mod batch_size of a batch of
/// batch_size, whose other places hold their own rows or, where the caller has not asked for them
/// or there are none, zeros. So a feature depends on its image, its place and its weights: not on
/// ranks, threads, shards, workers, or where a stopped writer goes on.
/// Error::kUsage: a set without images, no transform, and as ImageTrunk. Error::kData as
/// open_image_source, and from features() the first damaged image, by name: rows are never left
/// out, since every pass of a cache has the same rows (docs/caching.md). Not collective.
FeatureSource open_trunk_source(const ImageDataOptions& data, const CorruptionOptions& corruption,
                                const TrunkOptions& trunk, at::Device device);

}  // namespace dissent
