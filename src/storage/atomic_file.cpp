#include "storage/atomic_file.hpp"

#include <dissent/error.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/regular_file.hpp"

namespace dissent {
namespace {

[[noreturn]] void fail(const std::string& path, const char* action, int code) {
  DISSENT_FAIL(kData, "{}: cannot {}: {}", path, action, std::generic_category().message(code));
}

// An open file descriptor, closed at the end of the scope.
struct Descriptor {
  Descriptor(const std::string& path, int flags, const char* action)
      : value(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (value < 0) fail(path, action, errno);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
  int release() { return std::exchange(value, -1); }
  int value;
};

void write_all(int file, const std::string& text, const std::string& path) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = ::write(file, text.data() + done, text.size() - done);
    if (written < 0 && errno != EINTR) fail(path, "write", errno);
    if (written > 0) done += static_cast<size_t>(written);
  }
}

void allocate(int file, int64_t bytes, const std::string& path) {
  // posix_fallocate returns its error instead of setting errno, and refuses a size of 0.
  if (bytes == 0) return;
  int code;
  do code = ::posix_fallocate(file, 0, bytes);
  while (code == EINTR);

  // File systems that cannot reserve space report a full disk at the write instead.
  if (code != 0 && code != EOPNOTSUPP && code != EINVAL && code != ENOSYS)
    fail(path, fmt::format("reserve {} on the disk", byte_text(bytes)).c_str(), code);
}

}  // namespace

std::string temporary_name(const std::string& path) { return path + ".tmp"; }

void atomic_write_text(const std::string& path, const std::string& text) {
  const std::string temporary = temporary_name(path);
  try {
    // A reader finds the old text or the new one, never a part, even if the machine stops in
    // between.
    Descriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC, "create");
    write_all(file.value, text, temporary);

    // File systems of networks report some errors of a write only when the file is closed.
    if (::close(file.release()) != 0) fail(temporary, "close", errno);
    sync_and_rename(temporary, path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

std::string read_text(const std::string& path) {
  // A FIFO would block and a device need not end, so only regular files are read.
  expect_regular_file(path);
  Descriptor file(path, O_RDONLY, "open");

  std::string text;
  char buffer[1 << 16];
  while (true) {
    const ssize_t count = ::read(file.value, buffer, sizeof buffer);
    if (count < 0 && errno != EINTR) fail(path, "read", errno);
    if (count == 0) return text;
    if (count > 0) text.append(buffer, static_cast<size_t>(count));
  }
}

void sync_and_rename(const std::string& temporary, const std::string& path) {
  // The contents have to be on the disk before the name points to them: otherwise a power failure
  // could leave an empty file under the final name.
  {
    Descriptor file(temporary, O_RDWR, "open");
    if (::fsync(file.value) != 0) fail(temporary, "flush to the disk", errno);
  }

  if (::rename(temporary.c_str(), path.c_str()) != 0)
    fail(path, "rename the temporary file to this name", errno);

  // The new name is an entry of the folder, which is flushed too. Some file systems cannot do that;
  // the rename is done either way.
  const auto folder = std::filesystem::path(path).parent_path().string();
  Descriptor parent(folder.empty() ? "." : folder, O_RDONLY | O_DIRECTORY, "open");
  ::fsync(parent.value);
}

void reserve_space(const std::string& path) {
  Descriptor file(path, O_RDWR, "open");
  struct stat status;
  if (::fstat(file.value, &status) != 0) fail(path, "read its status", errno);
  allocate(file.value, status.st_size, path);
}

void probe_space(const std::string& path, int64_t bytes) {
  Descriptor file(path, O_RDWR | O_CREAT | O_TRUNC, "create");
  allocate(file.value, bytes, path);
}

bool path_exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

void remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) fail(path, "delete", errno);
}

void make_folder(const std::string& path) {
  std::error_code code;
  std::filesystem::create_directories(path, code);
  if (code) fail(path, "create the folder", code.value());
}

std::string again_path(const std::string& path) {
  auto full = std::filesystem::path(path).lexically_normal();
  if (!full.has_filename()) full = full.parent_path();  // "x/seed-1/"
  return (full.parent_path() / ".again" / full.filename()).string();
}

void replace_path(const std::string& fresh, const std::string& path) {
  std::error_code code;
  const auto remove = [&](const std::string& what) {
    std::filesystem::remove_all(what, code);
    if (code) fail(what, "delete", code.value());
  };

  // A call that was killed may have left its copy of the old result.
  const std::string old = fresh + ".old";
  remove(old);

  // Three cases: nothing to replace; an atomic exchange of both names, so that a reader never finds
  // the path empty; and, on file systems without an exchange, two renames.
  if (!path_exists(path)) {
    if (::rename(fresh.c_str(), path.c_str()) != 0)
      fail(path, "rename the new result to this name", errno);
  } else if (::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) {
    remove(fresh);
  } else {
    if (::rename(path.c_str(), old.c_str()) != 0) fail(path, "rename the previous result", errno);
    if (::rename(fresh.c_str(), path.c_str()) != 0)
      fail(path, "rename the new result to this name", errno);
    remove(old);
  }

  // The folder of again_path is removed with its last entry.
  const auto folder = std::filesystem::path(fresh).parent_path();
  if (folder.filename() == ".again")
    std::filesystem::remove(folder, code);  // fails, rightly, unless it is empty
}

int64_t free_bytes(const std::string& path) {
  struct statvfs status;
  if (::statvfs(path.c_str(), &status) != 0)
    fail(path, "read the status of its file system", errno);
  return static_cast<int64_t>(status.f_bavail) * static_cast<int64_t>(status.f_frsize);
}

void check_free_space(const std::string& path, int64_t bytes, const std::string& what) {
  const int64_t available = free_bytes(path);
  DISSENT_CHECK(bytes <= available, kData, "{} needs {}, {} has {} free", what, byte_text(bytes),
                path, byte_text(available));
}

std::string byte_text(int64_t bytes) {
  constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) value /= 1024, ++unit;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

}  // namespace dissent
