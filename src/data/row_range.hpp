#pragma once
#include <memory>
#include <string>

#include "data/image_source.hpp"

namespace dissent {

/// Rows [first, last) of a set, written as a Python slice: "0:55000", ":55000", "-5000:". ""
/// selects all rows and returns the set itself. Error::kUsage: not of this form, or no row
/// selected.
std::unique_ptr<ImageSource> rows_of_source(std::unique_ptr<ImageSource> source,
                                            const std::string& range);

}  // namespace dissent
