#pragma once
#include <memory>
#include <string>

#include "data/options.hpp"
#include "data/transforms/transform.hpp"
#include "evaluate/subjects/evaluation_set.hpp"

namespace dissent {

/// Images of a set or list after a deterministic transform. range: part of the set
/// (data/row_range.hpp). Error::kUsage, kData: see open_image_source; Error::kUsage for a random
/// transform. Random numbers of a corruption depend only on the row: every evaluation sees the same
/// images.
std::unique_ptr<EvaluationSet> open_picture_set(const ImageDataOptions& options,
                                                const std::string& range,
                                                const std::string& transform,
                                                CorruptionOptions corruption);

}  // namespace dissent
