#include <fcntl.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cli/doctor.hpp"
#include "storage/atomic_file.hpp"
#include "storage/h5.hpp"

namespace dissent::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// As statfs has it; these are what clusters use.
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

// 0, or why this kind of lock is refused.
int lock_error(const std::string& path, bool with_flock) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) return errno;
  struct flock whole{};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  const int code =
      (with_flock ? ::flock(file, LOCK_EX | LOCK_NB) : ::fcntl(file, F_SETLK, &whole)) == 0 ? 0
                                                                                            : errno;
  ::close(file);
  return code;
}

// Whether the file system can claim blocks ahead; where it cannot, the C library writes zeros.
bool reserves_blocks(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) return false;
  const bool works = ::fallocate(file, 0, 0, 1 << 16) == 0;
  ::close(file);
  return works;
}

// Rows first, first + 1, ... of a column of numbers.
at::Tensor column(int64_t first, int64_t count) {
  return at::arange(first, first + count, at::kLong).mul_(3).add_(1);
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
  Steps steps(world);
  steps.run([&] {
    if (world.rank() == 0) folder.make();
  });
  steps.run([&] { atomic_write_text(file(world.rank()), text(world.rank(), "first")); });
  steps.run([&] { atomic_write_text(file(world.rank()), text(world.rank(), "second")); });
  steps.run([&] {
    DISSENT_CHECK(path_exists(file(next)), kData,
                  "{}: the file that rank {} wrote is not to be seen", folder.parent(), next);
    const std::string found = read_text(file(next));
    DISSENT_CHECK(found == text(next, "second"), kData, "{}: rank {} wrote '{}', read was '{}'",
                  file(next), next, text(next, "second"), found);
    DISSENT_CHECK(!path_exists(temporary_name(file(next))), kData,
                  "{}: is still there after it was renamed", temporary_name(file(next)));
    reserves = reserves_blocks(file(world.rank()) + ".blocks");
    free = free_bytes(folder.parent());
  });
  return steps.finding(
      "give a folder on a file system that all nodes share, may be written, and has space: "
      "--folder DIR",
      [&] {
        if (world.rank() != 0) return ok("");
        const std::string found = fmt::format(
            "{} ({}) has {} free, files are flushed and renamed{}{}", folder.parent(),
            file_system(folder.parent()), byte_text(free),
            world.size() > 1 ? ", and seen by every rank" : "",
            reserves ? "" : "; it claims no blocks ahead, so large files are written twice");
        return free < 1 << 30
                   ? warning(found,
                             "caches and checkpoints need space: free some, or give another folder")
                   : ok(found);
      });
}

Finding check_locks(Communicator& world, const TrialFolder& folder) {
  const std::string path = folder / fmt::format("lock-{}", world.rank());
  const int with_flock = lock_error(path, true), with_fcntl = lock_error(path, false);
  const char* variable = std::getenv("HDF5_USE_FILE_LOCKING");
  const auto said = [](int code) {
    return code == 0 ? std::string("works")
                     : fmt::format("is refused ({})", std::generic_category().message(code));
  };
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && H5_VERSION_LE(1, 10, 99))
  const bool hdf5_locks =
      variable && (std::strcmp(variable, "TRUE") == 0 ||
                   std::strcmp(variable, "1") == 0);  // outweighs what the program asks for
#else
  const bool hdf5_locks = !variable || std::strcmp(variable, "FALSE") != 0;  // too old to be asked
#endif
  const std::string text =
      fmt::format("flock {}, fcntl {}, HDF5_USE_FILE_LOCKING is {}: HDF5 {}", said(with_flock),
                  said(with_fcntl), variable ? variable : "not set",
                  hdf5_locks ? "locks files" : "locks no files");
  if (with_flock != 0 && hdf5_locks)
    return failed(text, "export HDF5_USE_FILE_LOCKING=FALSE, on every node");
  if (with_fcntl != 0)
    return warning(text,
                   "MPI-IO takes fcntl locks on some file systems: if files fail, mount with locks "
                   "(flock), or use another folder");
  return ok(text);
}

Finding check_hdf5(Communicator& world, const TrialFolder& folder) {
  constexpr int64_t rows = 8192;  // a rank
  const std::string path = folder / "trial.h5";
  const int64_t all = rows * world.size(), first = rows * world.rank();
  const auto start = Clock::now();
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
  Steps closing(world);  // by all ranks, whatever came before
  closing.run([&] { file.close(path); });
  steps.run([&] {
    const auto found = h5_read(h5_open(path), "numbers", path);
    DISSENT_CHECK(at::equal(found, column(0, all)), kData,
                  "{}: read by one process, it holds other numbers than the ranks wrote", path);
  });
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  constexpr const char* advice =
      "an HDF5 built for another MPI, or a file system that MPI-IO does not serve: try "
      "OMPI_MCA_io=romio321 or another --folder";
  if (closing.failed()) return closing.finding(advice, [] { return ok(""); });
  return steps.finding(advice, [&] {
    return ok(world.rank() == 0
                  ? fmt::format("{} written by {} through {} and read back by each, in {:.2f} s",
                                byte_text(all * 8), count_text(world.size(), "rank"),
                                world.backend() == Backend::kMpi
                                    ? "MPI-IO"
                                    : "HDF5's own driver (MPI-IO is for ranks of MPI)",
                                seconds)
                  : "");
  });
}

}  // namespace dissent::cli
