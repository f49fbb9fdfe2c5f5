#include "storage/h5.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <map>
#include <mutex>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "comm/mpi.hpp"
#include "core/regular_file.hpp"
#include "storage/atomic_file.hpp"
#include "storage/h5_check.hpp"

namespace dissent {
namespace {

constexpr int64_t kFirstSealedVersion = 2;  // the same for all our formats

// HDF5 would print its error stack; errors are reported as exceptions instead.
void silence() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

UniqueHandle access_list(const std::string& path) {
  silence();
  UniqueHandle list(DISSENT_H5(H5Pcreate(H5P_FILE_ACCESS), path), H5Pclose);
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && H5_VERSION_LE(1, 10, 99))
  DISSENT_H5(H5Pset_file_locking(list, false, true), path);
#endif
  return list;
}

// The seals of all open files, by HDF5's identifier of the file.
std::mutex sealed_mutex;
std::map<hid_t, std::shared_ptr<const Seal>>& sealed_files() {
  static std::map<hid_t, std::shared_ptr<const Seal>> files;
  return files;
}

herr_t close_sealed_file(hid_t file) {
  {
    const std::lock_guard lock(sealed_mutex);
    sealed_files().erase(file);
  }
  return H5Fclose(file);
}

// HDF5's signature is at byte 0, 512, 1024, 2048, ...
bool has_signature(const std::string& path) {
  constexpr char signature[] = "\x89HDF\r\n\x1a\n";
  constexpr int64_t bytes = 8;
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path));
  for (int64_t at = 0; at + bytes <= size; at = at == 0 ? 512 : 2 * at) {
    char found[bytes];
    read_file_bytes(path, at, bytes, found);
    if (std::memcmp(found, signature, bytes) == 0) return true;
  }
  return false;
}

// Raises for a file of ours without its seal: it was truncated. Version 1 of our formats had no
// seals yet; every later file has to end in one.
void expect_no_seal(hid_t file, const std::string& path) {
  const auto format = h5_read_format(file, path);
  DISSENT_CHECK(
      !format.name.starts_with("dissent-") || format.version < kFirstSealedVersion, kData,
      "{}: damaged: expected the checksums of a {} of version {} at its end, found none: it "
      "was truncated or changed; copy it again, or recreate it",
      path, format.name, format.version);
}

}  // namespace

void h5_start_before_mpi() {
  // H5open before MPI_Init: otherwise HDF5 registers a callback that closes files in MPI_Finalize.
  H5dont_atexit();
  H5open();
  silence();
}

std::string h5_message() {
  // Upward: from the innermost function, whose description names the cause.
  std::string message;
  const auto take_first = [](unsigned, const H5E_error2_t* entry, void* out) -> herr_t {
    auto& text = *static_cast<std::string*>(out);
    if (text.empty() && entry->desc) text = entry->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, &message);

  if (message.empty()) return "HDF5 reports no reason";

  // System errors are a long list of values with the reason in the middle: errno = 28, error
  // message = 'No space left on device', buf = ...
  constexpr std::string_view key = "error message = '";
  if (const auto at = message.find(key); at != std::string::npos) {
    const auto end = message.find('\'', at + key.size());
    return message.substr(at + key.size(), end - at - key.size());
  }
  return message;
}

void raise_h5_error(const char* call, const std::string& place, const char* file, int line) {
  const std::string name = std::string(call).substr(0, std::strcspn(call, "("));
  throw Error(ErrorKind::kData, fmt::format("{}: {} ({})", place, h5_message(), name), file, line);
}

UniqueHandle::UniqueHandle(UniqueHandle&& other) noexcept
    : id_(std::exchange(other.id_, -1)), closer_(other.closer_), collective_(other.collective_) {}

UniqueHandle& UniqueHandle::operator=(UniqueHandle&& other) noexcept {
  if (this != &other) {
    reset();
    id_ = std::exchange(other.id_, -1);
    closer_ = other.closer_;
    collective_ = other.collective_;
  }
  return *this;
}

UniqueHandle::~UniqueHandle() { reset(); }

void UniqueHandle::reset() noexcept {
  if (id_ >= 0 && !(collective_ && std::uncaught_exceptions() > 0)) closer_(id_);
  id_ = -1;
}

void UniqueHandle::close(const std::string& place) {
  if (id_ < 0) return;
  const auto closed = closer_(std::exchange(id_, -1));
  h5_checked(closed, "close", place, __FILE__, __LINE__);
}

std::shared_ptr<const Seal> h5_seal(hid_t file) {
  const std::lock_guard lock(sealed_mutex);
  const auto found = sealed_files().find(file);
  return found == sealed_files().end() ? nullptr : found->second;
}

UniqueHandle h5_open(const std::string& path) {
  // HDF5 has to parse nothing that could crash it. Seal::of has compared the metadata of a sealed
  // file with its checksum; any other file is tried out in a child process.
  const auto seal = Seal::of(path);
  if (!seal) {
    DISSENT_CHECK(has_signature(path), kData, "{}: expected an HDF5 file, found another format",
                  path);

    check_h5_in_child(path);
  }

  // From here on HDF5 parses the file.
  const auto access = access_list(path);
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access);
  DISSENT_CHECK(file >= 0 || h5_message() != "file signature not found", kData,
                "{}: expected an HDF5 file, found another format", path);
  UniqueHandle handle(h5_checked(file, "H5Fopen", path, __FILE__, __LINE__), close_sealed_file);

  // Readers of values look the seal up by the file's handle (h5_seal).
  if (seal) {
    const std::lock_guard lock(sealed_mutex);
    sealed_files()[file] = seal;
  } else {
    expect_no_seal(handle, path);
  }
  return handle;
}

UniqueHandle h5_create(const std::string& path, int64_t bytes) {
  if (bytes > 0) probe_space(path, bytes);
  const auto access = access_list(path);
  return {DISSENT_H5(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access), path), H5Fclose};
}

UniqueHandle h5_open_shared(const std::string& path, Communicator& comm) {
  const auto access = access_list(path);

  // With MPI-IO all ranks open the file together. Metadata is read once and sent to all ranks,
  // instead of once per rank from the file system.
  const bool shared = comm.backend() == Backend::kMpi;
  if (shared) {
    DISSENT_H5(H5Pset_fapl_mpio(access, mpi_handle(comm), MPI_INFO_NULL), path);
    DISSENT_H5(H5Pset_all_coll_metadata_ops(access, true), path);
    DISSENT_H5(H5Pset_coll_metadata_write(access, true), path);
  }
  return {DISSENT_H5(H5Fopen(path.c_str(), H5F_ACC_RDWR, access), path), H5Fclose, shared};
}

UniqueHandle h5_type(at::ScalarType dtype) {
  const std::string place = "HDF5 type";
  silence();

  // HDF5 predefines all types but the 16-bit floats; these are narrowed copies of f32: the mantissa
  // from bit 0, then the exponent, the sign in bit 15.
  const auto copy = [&](hid_t type) {
    return UniqueHandle(DISSENT_H5(H5Tcopy(type), place), H5Tclose);
  };
  const auto half = [&](size_t exponent_bits, size_t bias) {
    auto type = copy(H5T_IEEE_F32LE);
    const size_t mantissa_bits = 15 - exponent_bits;
    DISSENT_H5(H5Tset_fields(type, 15, mantissa_bits, exponent_bits, 0, mantissa_bits), place);
    DISSENT_H5(H5Tset_size(type, 2), place);
    DISSENT_H5(H5Tset_ebias(type, bias), place);
    return type;
  };

  switch (dtype) {
    case at::kFloat: return copy(H5T_IEEE_F32LE);
    case at::kDouble: return copy(H5T_IEEE_F64LE);
    case at::kHalf: return half(5, 15);
    case at::kBFloat16: return half(8, 127);
    case at::kInt: return copy(H5T_STD_I32LE);
    case at::kLong: return copy(H5T_STD_I64LE);
    case at::kByte: return copy(H5T_STD_U8LE);
    default: DISSENT_FAIL(kInternal, "no HDF5 type for tensors of {}", at::toString(dtype));
  }
}

at::ScalarType h5_dtype(hid_t type, const std::string& place) {
  // Integers widen to i32 or i64, since only u8 of the unsigned types has a tensor dtype.
  const size_t size = H5Tget_size(type);  // 0 on failure
  const H5T_class_t kind = H5Tget_class(type);
  if (kind == H5T_INTEGER) {
    if (H5Tget_sign(type) == H5T_SGN_NONE)
      return size == 1 ? at::kByte : size == 2 ? at::kInt : at::kLong;
    return size <= 4 ? at::kInt : at::kLong;
  }

  // The two 16-bit floats differ by their exponent: 5 bits in f16, 8 in bf16.
  if (kind == H5T_FLOAT && size == 4) return at::kFloat;
  if (kind == H5T_FLOAT && size == 8) return at::kDouble;
  if (kind == H5T_FLOAT && size == 2) {
    size_t sign = 0, exponent = 0, exponent_bits = 0, mantissa = 0, mantissa_bits = 0;
    DISSENT_H5(H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits),
               place);
    if (exponent_bits == 5) return at::kHalf;
    if (exponent_bits == 8) return at::kBFloat16;
  }
  DISSENT_FAIL(kData,
               "{}: expected a float of 16, 32 or 64 bits or an integer, found HDF5 class {} of {} "
               "bytes per value",
               place, static_cast<int>(kind), size);
}

}  // namespace dissent
