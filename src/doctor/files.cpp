#include <fcntl.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <dissent/error.hpp>

#include "core/timing.hpp"
#include "doctor/checks.hpp"
#include "storage/atomic_file.hpp"
#include "storage/h5.hpp"

namespace dissent::doctor {
namespace {

namespace fs = std::filesystem;

// The name of the file system by the magic number of statfs; the ones that clusters use.
std::string file_system(const std::string& path) {
  struct statfs status;
  if (statfs(path.c_str(), &status) != 0) return "unknown file system";
  const std::pair<uint32_t, const char*> names[] = {
      {0x6969, "nfs"},        {0x0bd00bd0, "lustre"}, {0x47504653, "gpfs"}, {0x19830326, "beegfs"},
      {0x00c36400, "ceph"},   {0x65735546, "fuse"},   {0xff534d42, "cifs"}, {0x01021997, "9p"},
      {0x01021994, "tmpfs"},  {0xef53, "ext4"},       {0x58465342, "xfs"},  {0x9123683e, "btrfs"},
      {0x794c7630, "overlay"}};
  for (const auto& [magic, name] : names)
    if (static_cast<uint32_t>(status.f_type) == magic) return name;
  return fmt::format("file system 0x{:x}", static_cast<uint32_t>(status.f_type));
}

enum class LockKind { kFlock, kFcntl };

// Tries to lock a file. 0, or the errno of the refusal.
int lock_error(const std::string& path, LockKind kind) {
  // Without waiting (LOCK_NB, F_SETLK): a lock that hangs is as useless as one that is refused.
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) return errno;
  int result = 0;
  if (kind == LockKind::kFlock) {
    result = ::flock(file, LOCK_EX | LOCK_NB);
  } else {
    struct flock whole_file{};
    whole_file.l_type = F_WRLCK;
    whole_file.l_whence = SEEK_SET;
    result = ::fcntl(file, F_SETLK, &whole_file);
  }
  const int code = result == 0 ? 0 : errno;
  ::close(file);
  return code;
}

// Whether the file system can reserve blocks; where it cannot, the C library writes zeros instead.
bool reserves_blocks(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) return false;

  // Not posix_fallocate, which would write the zeros and succeed.
  const bool works = ::fallocate(file, 0, 0, 1 << 16) == 0;
  ::close(file);
  return works;
}

// Rows first, first + 1, ... of a column of numbers.
at::Tensor column(int64_t first, int64_t count) {
  return at::arange(first, first + count, at::kLong).mul_(3).add_(1);
}

// Whether the HDF5 of this program locks the files that it opens.
bool hdf5_locks_files(const char* variable) {
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && H5_VERSION_LE(1, 10, 99))
  // The program turns locks off (H5Pset_file_locking); the variable overrides that.
  return variable && (std::strcmp(variable, "TRUE") == 0 || std::strcmp(variable, "1") == 0);
#else
  // This HDF5 has no such property: the variable alone decides.
  return !variable || std::strcmp(variable, "FALSE") != 0;
#endif
}

}  // namespace

TrialFolder::TrialFolder(Communicator& world, const std::string& parent)
    : parent_(broadcast_text(world, parent, 0)),
      path_(broadcast_text(
          world, fmt::format("{}/dissent-doctor.{}.{}", parent, host_name(), ::getpid()), 0)) {}

void TrialFolder::make() {
  std::error_code code;
  DISSENT_CHECK(fs::is_directory(parent_, code), kData, "{}: no such folder", parent_);
  made_ = true;
  make_folder(path_);
}

TrialFolder::~TrialFolder() {
  std::error_code ignored;
  if (made_) fs::remove_all(path_, ignored);
}

Finding check_folder(Communicator& world, TrialFolder& folder) {
  const auto file = [&](int rank) { return folder / fmt::format("rank-{}", rank); };
  const auto text = [&](int rank, const char* state) {
    return fmt::format("{} text of rank {}", state, rank);
  };
  const int next = (world.rank() + 1) % world.size();
  int64_t free = 0;
  bool reserves = false;

  // Written twice: the second rename replaces a file, as a new checkpoint does.
  Steps steps(world);
  steps.run([&] {
    if (world.rank() == 0) folder.make();
  });
  steps.run([&] { atomic_write_text(file(world.rank()), text(world.rank(), "first")); });
  steps.run([&] { atomic_write_text(file(world.rank()), text(world.rank(), "second")); });

  // Reading another rank's file shows whether all nodes see the same folder, and see it at once.
  steps.run([&] {
    DISSENT_CHECK(path_exists(file(next)), kData,
                  "{}: expected the file written by rank {}, found none", folder.parent(), next);
    const std::string found = read_text(file(next));
    DISSENT_CHECK(found == text(next, "second"), kData,
                  "{}: expected '{}' (written by rank {}), found '{}'", file(next),
                  text(next, "second"), next, found);
    DISSENT_CHECK(!path_exists(temporary_name(file(next))), kData,
                  "{}: expected no file after its rename, found one", temporary_name(file(next)));
    reserves = reserves_blocks(file(world.rank()) + ".blocks");
    free = free_bytes(folder.parent());
  });

  // Rank 0 reports for all; a failure is reported by the rank that has it.
  constexpr const char* advice =
      "use a folder with free space on a file system that all nodes share and may write: "
      "--folder DIR";
  return steps.finding(advice, [&] {
    if (world.rank() != 0) return ok("");
    const std::string found =
        fmt::format("{} ({}) has {} free, files are flushed and renamed{}{}", folder.parent(),
                    file_system(folder.parent()), byte_text(free),
                    world.size() > 1 ? ", and visible to every rank" : "",
                    reserves ? "" : "; it cannot reserve blocks, so large files are written twice");
    return free < 1 << 30
               ? warning(found,
                         "caches and checkpoints need space: free some, or use another folder")
               : ok(found);
  });
}

Finding check_locks(Communicator& world, const TrialFolder& folder) {
  const std::string path = folder / fmt::format("lock-{}", world.rank());

  // Each rank locks a file of its own: the question is whether the file system has locks at all.
  const int flock_error = lock_error(path, LockKind::kFlock);
  const int fcntl_error = lock_error(path, LockKind::kFcntl);
  const char* variable = std::getenv("HDF5_USE_FILE_LOCKING");
  const bool hdf5_locks = hdf5_locks_files(variable);

  const auto result_text = [](int code) {
    return code == 0 ? std::string("works")
                     : fmt::format("is refused ({})", std::generic_category().message(code));
  };
  const std::string text =
      fmt::format("flock {}, fcntl {}, HDF5_USE_FILE_LOCKING is {}: HDF5 {}",
                  result_text(flock_error), result_text(fcntl_error),
                  variable ? variable : "not set", hdf5_locks ? "locks files" : "locks no files");

  // HDF5 locks with flock, MPI-IO with fcntl, and the latter only on some file systems.
  if (flock_error != 0 && hdf5_locks)
    return failed(text, "export HDF5_USE_FILE_LOCKING=FALSE on every node");
  if (fcntl_error != 0)
    return warning(
        text,
        "MPI-IO takes fcntl locks on some file systems: if writing files fails, mount with "
        "locks (flock), or use another folder");
  return ok(text);
}

Finding check_hdf5(Communicator& world, const TrialFolder& folder) {
  constexpr int64_t rows = 8192;  // per rank
  const std::string path = folder / "trial.h5";
  const int64_t all = rows * world.size(), first = rows * world.rank();
  const auto start = Clock::now();

  // One process makes the file and reserves its space, then all ranks write their rows: the way a
  // cache is written.
  Steps steps(world);
  steps.run([&] {
    if (world.rank() != 0) return;
    auto file = h5_create(path, all * 8 + 16384);
    h5_add_dataset(file, "numbers", {all}, at::kLong, path);
    file.close(path);
    reserve_space(path);
  });
  UniqueHandle file;
  steps.run([&] { file = h5_open_shared(path, world); });
  steps.run([&] { h5_write_rows(file, "numbers", first, column(first, rows), world, path); });
  steps.run([&] { h5_flush(file, path); });
  steps.run([&] { h5_check_rows(file, "numbers", first, column(first, rows), path); });

  // Closing is collective, so all ranks close even where an earlier step failed.
  Steps closing(world);
  closing.run([&] { file.close(path); });

  // Each rank reads what all have written: a write that MPI-IO lost is found on every node.
  steps.run([&] {
    const auto found = h5_read(h5_open(path), "numbers", path);
    DISSENT_CHECK(at::equal(found, column(0, all)), kData,
                  "{}: data read back differ from the data written", path);
  });

  const double seconds = seconds_since(start);
  constexpr const char* advice =
      "HDF5 may be built for another MPI, or MPI-IO may not support the file system: try "
      "OMPI_MCA_io=romio321 or another --folder";

  if (closing.failed()) return closing.finding(advice, [] { return ok(""); });
  return steps.finding(advice, [&] {
    if (world.rank() != 0) return ok("");
    const bool mpi_io = world.backend() == Backend::kMpi;
    return ok(fmt::format("{} written by {} through {} and read back by each, in {:.2f} s",
                          byte_text(all * 8), count_text(world.size(), "rank"),
                          mpi_io ? "MPI-IO" : "HDF5's own driver (MPI-IO needs ranks of MPI)",
                          seconds));
  });
}

}  // namespace dissent::doctor
