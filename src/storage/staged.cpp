#include "storage/staged.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <cstdlib>
#include <exception>
#include <filesystem>

#include "storage/atomic_file.hpp"

namespace dissent {

namespace fs = std::filesystem;

std::string staged_name(const std::string& folder, const std::string& path) {
  const auto whole = fs::canonical(path);
  const auto manifest = whole / "manifest.toml";

  // The contents are part of the name, so that the copy of an older cache at the same path is not
  // used: a manifest holds the checksums of its shards; a single file is identified by size and
  // time, since reading all of it would cost as much as copying it.
  const std::string version =
      fs::is_directory(whole) ? read_text(manifest.string())
                              : fmt::format("{} {}", fs::file_size(whole),
                                            fs::last_write_time(whole).time_since_epoch().count());

  const std::string identity = whole.string() + "\n" + version;
  return fmt::format("{}/dissent-{:016x}{}", folder, XXH3_64bits(identity.data(), identity.size()),
                     whole.extension().string());
}

std::string staged_path(const std::string& path) {
  const char* folder = std::getenv("DISSENT_STAGED");
  if (!folder || !*folder) return path;
  try {
    const auto copy = staged_name(folder, path);
    return path_exists(copy) ? copy : path;
  } catch (const std::exception&) {  // an invalid path is reported where it is opened
    return path;
  }
}

}  // namespace dissent
