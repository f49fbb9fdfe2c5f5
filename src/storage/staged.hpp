#pragma once
#include <string>

namespace dissent {

/// A cache may have been copied to a faster place, this node's own disk: DISSENT_STAGED names the
/// folder. Then its copy's path, if it is there, else the path itself. A copy is known by the
/// absolute path of the cache and its manifest (or a file's size and time), so that one of an older
/// cache is not taken.
std::string staged_path(const std::string& path);
/// Where in the folder a copy of the cache belongs.
std::string staged_name(const std::string& folder, const std::string& path);

}  // namespace dissent
