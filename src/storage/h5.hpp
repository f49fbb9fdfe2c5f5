#pragma once
#include <ATen/core/Tensor.h>
#include <hdf5.h>

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "comm/communicator.hpp"
#include "storage/seal.hpp"

namespace dissent {

/// Initialises HDF5 so that it closes nothing by itself, neither at exit nor in MPI_Finalize (as it
/// would if it were initialised after MPI). Owners close what they open. Files left open by an
/// error are left to the operating system, since closing a file whose creation or last write has
/// failed crashes HDF5 1.10.8. Called once, before MPI_Init.
void h5_start_before_mpi();

/// Evaluates an HDF5 call and returns its value; a negative value throws Error::kData: "<place>:
/// <HDF5's innermost message> (<call>)". place: std::string, "file" or "file: dataset". HDF5 is not
/// thread-safe: the functions of this header must be called by one thread of the process.
#define DISSENT_H5(call, place) ::dissent::h5_checked((call), #call, (place), __FILE__, __LINE__)
/// The innermost message of the last failed call; the operating system's reason if it contains one.
std::string h5_message();
[[noreturn]] void raise_h5_error(const char* call, const std::string& place, const char* file,
                                 int line);
template <class T>
T h5_checked(T result, const char* call, const std::string& place, const char* file, int line) {
  if (result < 0) raise_h5_error(call, place, file, line);
  return result;
}

/// One HDF5 identifier, closed exactly once. H5Fclose of a file opened by all ranks waits for all
/// of them: such a handle is `collective`, has to be closed with close() on every rank, and its
/// destructor does not close it during stack unwinding.
class UniqueHandle {
 public:
  using Closer = herr_t (*)(hid_t);
  UniqueHandle() = default;
  UniqueHandle(hid_t id, Closer closer, bool collective = false)
      : id_(id), closer_(closer), collective_(collective) {}
  UniqueHandle(UniqueHandle&& other) noexcept;
  UniqueHandle& operator=(UniqueHandle&& other) noexcept;
  ~UniqueHandle();
  operator hid_t() const { return id_; }
  bool valid() const { return id_ >= 0; }
  /// Closes now; throws Error::kData if that fails (a full disk shows up here). Collective for a
  /// collective handle.
  void close(const std::string& place);

 private:
  void reset() noexcept;
  hid_t id_ = -1;
  Closer closer_ = nullptr;
  bool collective_ = false;
};

/// Opens a file for reading, by this process alone, without file locks (cluster file systems lack
/// them). HDF5 parses a file only after it has been found harmless: the metadata of a sealed file
/// is compared with its checksum, any other file is opened by a child process first (h5_check.hpp).
/// Values of a sealed file are checked when they are read. Error::kData: not an HDF5 file, damaged,
/// or one of our formats from version 2 on without its seal.
UniqueHandle h5_open(const std::string& path);
/// The seal of a file opened by h5_open; null if the file has none.
std::shared_ptr<const Seal> h5_seal(hid_t file);
/// Creates or replaces a file, by this process alone. `bytes`: upper bound of its final size (a few
/// KiB per dataset in addition to the values), so that a full disk is an error here and not later;
/// 0: not checked.
UniqueHandle h5_create(const std::string& path, int64_t bytes = 0);
/// Finishes a file written by one process: closes it and appends its seal.
void h5_close_sealed(UniqueHandle& file, const std::string& path);
/// Where the values of all datasets are stored, for write_seal. Called by every rank that opened
/// the file collectively.
std::vector<DataRange> h5_data_ranges(hid_t file, const std::string& path);
/// Opens an existing file for writing by all ranks: MPI-IO with collective metadata for an MPI
/// group, this process alone for the self group. Collective.
UniqueHandle h5_open_shared(const std::string& path, Communicator& comm);

/// HDF5 type of f32, f64, f16, bf16 (8 exponent, 7 mantissa bits; h5py reads it as float32), i32,
/// i64, u8, little-endian. Error::kInternal for others.
UniqueHandle h5_type(at::ScalarType dtype);
/// The dtype for the values of an HDF5 type of any byte order. Error::kData with the place if there
/// is none.
at::ScalarType h5_dtype(hid_t type, const std::string& place);

/// Description of a dataset, without its values. The values are known to exist: Error::kData with
/// file and dataset if it declares more than the file (or its stored chunks) can hold, if the
/// values are in other files (external storage, a virtual dataset), or need a filter that this HDF5
/// lacks.
struct DatasetInfo {
  std::vector<int64_t> shape;
  at::ScalarType dtype = at::kFloat;
  int64_t offset = -1;  ///< byte in the file where the values start, if they are stored as in
                        ///< memory (contiguous, little-endian, not linked from another file); else
                        ///< -1
};
/// Whether a link of this name exists; the groups on its way may be missing.
bool h5_has(hid_t file, const std::string& name);
/// The description of a dataset. Error::kData if it is missing, or as above.
DatasetInfo h5_info(hid_t file, const std::string& name, const std::string& path);

/// Adds a contiguous dataset whose space is allocated at once and not filled, and creates missing
/// parent groups. For one process.
void h5_add_dataset(hid_t file, const std::string& name, at::IntArrayRef shape,
                    at::ScalarType dtype, const std::string& path);
/// Writes rows [first, first + local.size(0)) of a dataset; local is contiguous, on the host, and
/// has the dataset's dtype and row shape. A rank without rows has to call it too. Collective over
/// the group that opened the file.
void h5_write_rows(hid_t file, const std::string& name, int64_t first, const at::Tensor& local,
                   Communicator& comm, const std::string& path);
/// Flushes all writes to the disk, so that every rank sees those of all ranks. Collective.
void h5_flush(hid_t file, const std::string& path);
/// Bytes that h5_check_rows reads at a time.
inline constexpr int64_t kReadBackBytes = int64_t{16} << 20;
/// Reads the same rows back after h5_flush: Error::kData if they differ. Needed because Open MPI
/// 4.1 does not report some failures of a collective write (its pwritev fails,
/// MPI_File_write_at_all returns success; seen with 3 ranks). Collective, but only this rank's rows
/// are read.
void h5_check_rows(hid_t file, const std::string& name, int64_t first, const at::Tensor& local,
                   const std::string& path);
/// Reads rows [first, first + count) into out, converting to dtype (exact, or rounded to nearest by
/// HDF5). Values of a sealed file are compared with their checksums. Error::kData: damaged or not
/// readable.
void h5_read_rows(hid_t file, const std::string& name, int64_t first, int64_t count, void* out,
                  at::ScalarType dtype, const std::string& path);
/// The whole dataset, or rows [first, first + count) of it, in its own dtype.
at::Tensor h5_read(hid_t file, const std::string& name, const std::string& path);
at::Tensor h5_read(hid_t file, const std::string& name, int64_t first, int64_t count,
                   const std::string& path);

/// Value of an attribute. Texts are written as UTF-8 of fixed length (at most 64,000 bytes; h5py
/// returns bytes for them); texts of variable length can be read too.
using H5Value = std::variant<int64_t, double, std::string>;
/// Attributes of an object, by its path in the file ("/" for the file's own).
void h5_write_attribute(hid_t file, const std::string& object, const std::string& name,
                        const H5Value& value, const std::string& path);
/// Integers of any width are read as i64, floats as f64. Error::kData: missing, an array, another
/// type.
H5Value h5_read_attribute(hid_t file, const std::string& object, const std::string& name,
                          const std::string& path);
/// The attributes "format" and "version" of all our HDF5 files.
struct H5Format {
  std::string name;      ///< "dissent-checkpoint"; "" if one is missing or this is not a text
  int64_t version = -1;  ///< -1 if one is missing or this is not an integer
};
void h5_write_format(hid_t file, const H5Format& format, const std::string& path);
/// Never an error for a file without them.
H5Format h5_read_format(hid_t file, const std::string& path);
/// Names of an object's attributes, in alphabetical order.
std::vector<std::string> h5_attribute_names(hid_t file, const std::string& object,
                                            const std::string& path);
/// A scalar dataset of text, of fixed length.
void h5_write_text(hid_t file, const std::string& name, const std::string& text,
                   const std::string& path);
/// Error::kData: missing, not one text, or damaged.
std::string h5_read_text(hid_t file, const std::string& name, const std::string& path);
/// Adds an empty group; its parent has to exist.
void h5_add_group(hid_t file, const std::string& name, const std::string& path);
/// Names of the datasets below a group, relative to it, in alphabetical order; empty if the group
/// does not exist.
std::vector<std::string> h5_dataset_names(hid_t file, const std::string& group,
                                          const std::string& path);

}  // namespace dissent
