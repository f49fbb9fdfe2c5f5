#pragma once
#include <cstdint>
#include <string>

namespace dissent {

// Files that exist completely or not at all, also after a crash. Every function throws Error::kData
// with the path and the system's reason ("No space left on device"). None is collective: one rank
// writes a file.

/// Writes the text to a temporary file next to the path, flushes it to the disk and renames it. The
/// folder has to exist.
void atomic_write_text(const std::string& path, const std::string& text);
/// The whole file, which has to be a regular one: no FIFO, no device (core/regular_file.hpp).
std::string read_text(const std::string& path);

/// Name of the temporary file, path + ".tmp". A crash may leave it behind; nothing reads it.
std::string temporary_name(const std::string& path);
/// Flushes a closed file to the disk, renames it to path (replacing), and flushes the folder.
void sync_and_rename(const std::string& temporary, const std::string& path);
/// Allocates the disk blocks of a file up to its present size, so that later writes into it cannot
/// run out of space.
void reserve_space(const std::string& path);
/// Creates or replaces a file of this size and allocates its blocks. Called before HDF5 creates the
/// file: a full disk has to be detected outside of HDF5, since HDF5 1.10 crashes in MPI_Finalize
/// once an H5Fclose has failed.
void probe_space(const std::string& path, int64_t bytes);
/// Whether the path exists and this user can see it; never throws.
bool path_exists(const std::string& path);
/// Deletes a file if it exists.
void remove_file(const std::string& path);
/// Creates the folder and its parents.
void make_folder(const std::string& path);

/// Where a result is recomputed while the old one stays in place: "results/x/.again/seed-1" for
/// "results/x/seed-1". On the same file system; file name patterns (seed-*) do not match it.
std::string again_path(const std::string& path);
/// Renames the file or folder `fresh` to `path` and deletes the previous one. Where the file system
/// can exchange two names (renameat2) a reader never finds the path missing; elsewhere the previous
/// one is renamed to <fresh>.old in between. Removes the folder of again_path when it is empty.
void replace_path(const std::string& fresh, const std::string& path);

/// Bytes that this user may still write on the file system of an existing path.
int64_t free_bytes(const std::string& path);
/// Error::kData "<what> needs 3.2 GiB, <path> has 1.0 GiB free" unless `bytes` fit.
void check_free_space(const std::string& path, int64_t bytes, const std::string& what);
/// "3.2 GiB", "12 B".
std::string byte_text(int64_t bytes);

}  // namespace dissent
