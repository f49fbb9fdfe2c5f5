#pragma once
#include <memory>
#include <string>

#include "data/image_source.hpp"

namespace dissent {

/// Rows [first, last) of a set, written as Python's slices: "0:55000", ":55000", "-5000:"; "" is
/// all. The set itself for all.
/// Error::kUsage: not of this form, or no row in it.
std::unique_ptr<ImageSource> rows_of_source(std::unique_ptr<ImageSource> source,
                                            const std::string& range);

}  // namespace dissent
