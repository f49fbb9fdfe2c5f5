#pragma once
#include <string>
#include <vector>

namespace dissent::jobs {

/// words: FOLDER CACHE...: copies caches into a folder of this node, where `dissent train` finds
/// them with DISSENT_STAGED=FOLDER. A copy that is there is used; of several processes that copy
/// the same, the first to finish wins. Error::kData: not enough room, not readable. Returns 0.
int stage(const std::vector<std::string>& words);

}  // namespace dissent::jobs
