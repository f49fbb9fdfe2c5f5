#pragma once
#include <string>
#include <vector>

namespace dissent::jobs {

/// words: FOLDER CACHE...: copies caches into a folder of this node, where `dissent train` finds
/// them with DISSENT_STAGED=FOLDER. An existing copy is used; if several processes copy the same
/// cache, the first to finish wins. Error::kData: not enough space, not readable. Returns 0.
int stage(const std::vector<std::string>& words);

}  // namespace dissent::jobs
