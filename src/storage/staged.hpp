#pragma once
#include <string>

namespace dissent {

/// A cache may have been copied to this node's local disk, in the folder DISSENT_STAGED. Returns
/// the path of that copy if it exists, else the path itself. A copy is identified by the absolute
/// path of the cache and its manifest (or a file's size and time), so a copy of an older cache is
/// not used.
std::string staged_path(const std::string& path);
/// Path in the folder for the copy of a cache. Throws std::filesystem::filesystem_error or
/// Error::kData if the cache cannot be read.
std::string staged_name(const std::string& folder, const std::string& path);

}  // namespace dissent
