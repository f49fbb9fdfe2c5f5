#pragma once
#include <memory>
#include <string>

#include "data/options.hpp"
#include "data/transforms/transform.hpp"
#include "evaluate/evaluation_set.hpp"

namespace dissent {

/// Pictures of a set or list through a transform that draws nothing. range: part of the set
/// (data/row_range.hpp). Error::kUsage, kData: see open_image_source; the name of a transform that
/// draws. The draws of a corruption are keyed by the row alone: every evaluation sees the same
/// pictures.
std::unique_ptr<EvaluationSet> open_picture_set(const ImageDataOptions& options,
                                                const std::string& range,
                                                const std::string& transform,
                                                CorruptionOptions corruption);

}  // namespace dissent
