#include "core/regular_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <dissent/error.hpp>

#include <cerrno>
#include <system_error>

namespace dissent {
namespace {

const char* kind_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return "";
    case S_IFDIR: return "a folder";
    case S_IFIFO: return "a FIFO";
    case S_IFCHR: return "a character device";
    case S_IFBLK: return "a block device";
    case S_IFSOCK: return "a socket";
    default: return "something else";
  }
}

}  // namespace

std::string other_than_a_file(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? kind_of(status.st_mode) : "";
}

void expect_regular_file(const std::string& path) {
  const auto found = other_than_a_file(path);
  DISSENT_CHECK(found.empty(), kData, "{}: expected a file, found {}", path, found);
}

int open_regular_file(const std::string& path) {
  expect_regular_file(path);  // before opening: opening a device may have side effects
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  DISSENT_CHECK(file >= 0, kData, "{}: cannot open: {}", path,
                std::generic_category().message(errno));

  // Check again after opening: the path may have been replaced in between.
  struct stat status{};
  const std::string found = ::fstat(file, &status) == 0 ? kind_of(status.st_mode) : "";
  if (!found.empty()) ::close(file);
  DISSENT_CHECK(found.empty(), kData, "{}: expected a file, found {}", path, found);
  return file;
}

}  // namespace dissent
