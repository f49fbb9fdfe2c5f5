// A disk that fails: preloaded (LD_PRELOAD) into a program, it makes what the program writes under
// one folder slow, or fail from some operation on.
//
//   CHAOS_DISK_FOLDER  the folder; files elsewhere are left alone
//   CHAOS_DISK_FAULT   "slow": each operation sleeps first; "full": the disk is full; "broken":
//   errors of the device (EIO) CHAOS_DISK_AFTER   full, broken: so many operations of a process go
//   well first, and none after these CHAOS_DISK_DELAY_US  slow: microseconds an operation
//   CHAOS_DISK_HIT     full, broken: a file that is made when the first operation fails
//
// The first write that fails on a full disk writes its first half, as a real one does. Operations
// are calls that take space or wait for the device: writes, reservations, growing, flushing, making
// of files, links and folders. Not seen: what is written through mmap.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace {

enum class Fault { kNone, kSlow, kFull, kBroken };

struct Plan {
  const char* folder = nullptr;
  size_t folder_length = 0;
  Fault fault = Fault::kNone;
  long after = 0;
  long delay_us = 0;
  const char* hit = nullptr;
};

std::atomic<long> operations{0};

const Plan& plan() {
  static const Plan made = [] {
    Plan plan;
    const char* fault = std::getenv("CHAOS_DISK_FAULT");
    plan.folder = std::getenv("CHAOS_DISK_FOLDER");
    if (fault == nullptr || plan.folder == nullptr) return plan;
    plan.folder_length = std::strlen(plan.folder);
    if (std::strcmp(fault, "slow") == 0) plan.fault = Fault::kSlow;
    if (std::strcmp(fault, "full") == 0) plan.fault = Fault::kFull;
    if (std::strcmp(fault, "broken") == 0) plan.fault = Fault::kBroken;
    if (const char* after = std::getenv("CHAOS_DISK_AFTER")) plan.after = std::atol(after);
    if (const char* delay = std::getenv("CHAOS_DISK_DELAY_US")) plan.delay_us = std::atol(delay);
    plan.hit = std::getenv("CHAOS_DISK_HIT");
    return plan;
  }();
  return made;
}

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

bool under_folder(const char* path) {
  const Plan& to = plan();
  return std::strncmp(path, to.folder, to.folder_length) == 0 &&
         (path[to.folder_length] == '/' || path[to.folder_length] == 0);
}

bool path_concerns(const char* path) {
  if (plan().fault == Fault::kNone || path == nullptr) return false;
  if (path[0] == '/') return under_folder(path);
  char full[2 * PATH_MAX];
  if (getcwd(full, PATH_MAX) == nullptr) return false;
  std::strcat(full, "/");
  std::strncat(full, path, PATH_MAX - 1);
  return under_folder(full);
}

bool file_concerns(int file) {
  if (plan().fault == Fault::kNone) return false;
  char link[64];
  char path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return false;
  path[length] = 0;
  return under_folder(path);
}

// 0: the operation may go on. Else the error it has to end with; `first` says whether it is the
// first one.
int error_of_operation(bool* first = nullptr) {
  const Plan& to = plan();
  if (to.fault == Fault::kSlow) {
    const timespec delay{to.delay_us / 1000000, to.delay_us % 1000000 * 1000};
    nanosleep(&delay, nullptr);
    return 0;
  }
  const long number = operations.fetch_add(1);
  if (number < to.after) return 0;
  if (first != nullptr) *first = number == to.after;
  if (number == to.after && to.hit != nullptr) {
    const int file = next<int(const char*, int, ...)>("open")(to.hit, O_CREAT | O_WRONLY, 0644);
    if (file >= 0) close(file);
  }
  return to.fault == Fault::kFull ? ENOSPC : EIO;
}

// What a write of `count` bytes does: `half` writes so many of them, `whole` all.
template <class Whole, class Half>
ssize_t written(int file, size_t count, Whole whole, Half half) {
  if (!file_concerns(file)) return whole();
  bool first = false;
  const int error = error_of_operation(&first);
  if (error == 0) return whole();
  if (first && error == ENOSPC && count > 1) return half(count / 2);
  errno = error;
  return -1;
}

// For calls that return 0 or -1 and set errno.
template <class Call>
int done(bool concerns, Call call) {
  if (const int error = concerns ? error_of_operation() : 0; error != 0) {
    errno = error;
    return -1;
  }
  return call();
}

size_t bytes_of(const iovec* parts, int count) {
  size_t sum = 0;
  for (int i = 0; i < count; ++i) sum += parts[i].iov_len;
  return sum;
}

}  // namespace

extern "C" {

ssize_t write(int file, const void* data, size_t count) {
  static const auto real = next<ssize_t(int, const void*, size_t)>("write");
  return written(
      file, count, [&] { return real(file, data, count); },
      [&](size_t part) { return real(file, data, part); });
}

#define DISSENT_PWRITE(NAME, OFFSET)                                                 \
  ssize_t NAME(int file, const void* data, size_t count, OFFSET offset) {            \
    static const auto real = next<ssize_t(int, const void*, size_t, OFFSET)>(#NAME); \
    return written(                                                                  \
        file, count, [&] { return real(file, data, count, offset); },                \
        [&](size_t part) { return real(file, data, part, offset); });                \
  }
DISSENT_PWRITE(pwrite, off_t)
DISSENT_PWRITE(pwrite64, off64_t)

// Half of a write of several parts is half of the parts; of one part, the whole.
ssize_t writev(int file, const iovec* parts, int count) {
  static const auto real = next<ssize_t(int, const iovec*, int)>("writev");
  return written(
      file, bytes_of(parts, count), [&] { return real(file, parts, count); },
      [&](size_t) { return real(file, parts, count > 1 ? count / 2 : 1); });
}

#define DISSENT_PWRITEV(NAME, OFFSET)                                                   \
  ssize_t NAME(int file, const iovec* parts, int count, OFFSET offset) {                \
    static const auto real = next<ssize_t(int, const iovec*, int, OFFSET)>(#NAME);      \
    return written(                                                                     \
        file, bytes_of(parts, count), [&] { return real(file, parts, count, offset); }, \
        [&](size_t) { return real(file, parts, count > 1 ? count / 2 : 1, offset); });  \
  }
DISSENT_PWRITEV(pwritev, off_t)
DISSENT_PWRITEV(pwritev64, off64_t)

#define DISSENT_ON_FILE(NAME, PARAMETERS, ARGUMENTS)                  \
  int NAME PARAMETERS {                                               \
    static const auto real = next<int PARAMETERS>(#NAME);             \
    return done(file_concerns(file), [&] { return real ARGUMENTS; }); \
  }
DISSENT_ON_FILE(fsync, (int file), (file))
DISSENT_ON_FILE(fdatasync, (int file), (file))
DISSENT_ON_FILE(ftruncate, (int file, off_t length), (file, length))
DISSENT_ON_FILE(ftruncate64, (int file, off64_t length), (file, length))
DISSENT_ON_FILE(fallocate, (int file, int mode, off_t offset, off_t length),
                (file, mode, offset, length))

// These return the error instead of setting errno.
int posix_fallocate(int file, off_t offset, off_t length) {
  static const auto real = next<int(int, off_t, off_t)>("posix_fallocate");
  const int error = file_concerns(file) ? error_of_operation() : 0;
  return error != 0 ? error : real(file, offset, length);
}
int posix_fallocate64(int file, off64_t offset, off64_t length) {
  static const auto real = next<int(int, off64_t, off64_t)>("posix_fallocate64");
  const int error = file_concerns(file) ? error_of_operation() : 0;
  return error != 0 ? error : real(file, offset, length);
}

#define DISSENT_OPEN(NAME)                                                              \
  int NAME(const char* path, int flags, ...) {                                          \
    static const auto real = next<int(const char*, int, ...)>(#NAME);                   \
    mode_t mode = 0;                                                                    \
    if ((flags & (O_CREAT | O_TMPFILE)) != 0) {                                         \
      va_list more;                                                                     \
      va_start(more, flags);                                                            \
      mode = va_arg(more, mode_t);                                                      \
      va_end(more);                                                                     \
    }                                                                                   \
    const bool makes = (flags & O_CREAT) != 0 && access(path, F_OK) != 0;               \
    return done(makes && path_concerns(path), [&] { return real(path, flags, mode); }); \
  }
DISSENT_OPEN(open)
DISSENT_OPEN(open64)

int mkdir(const char* path, mode_t mode) {
  static const auto real = next<int(const char*, mode_t)>("mkdir");
  return done(access(path, F_OK) != 0 && path_concerns(path), [&] { return real(path, mode); });
}
int link(const char* from, const char* to) {
  static const auto real = next<int(const char*, const char*)>("link");
  return done(path_concerns(to), [&] { return real(from, to); });
}
int rename(const char* from, const char* to) {
  static const auto real = next<int(const char*, const char*)>("rename");
  return done(path_concerns(to), [&] { return real(from, to); });
}

}  // extern "C"
