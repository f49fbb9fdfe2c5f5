// Datasets and attributes.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "storage/atomic_file.hpp"
#include "storage/h5.hpp"

namespace dissent {
namespace {

// MPI-IO uses 32-bit counts in many places; each rank writes at most this many bytes per call.
constexpr int64_t kCallBytes = int64_t{1} << 30;
constexpr const char* kFormatAttribute = "format";
constexpr const char* kVersionAttribute = "version";

// An object header message has at most 65,535 bytes, including the type.
constexpr size_t kMostAttributeText = 64000;

std::string place_of(const std::string& path, const std::string& name) {
  return path + ": " + name;
}

UniqueHandle open_dataset(hid_t file, const std::string& name, const std::string& path) {
  return {DISSENT_H5(H5Dopen2(file, name.c_str(), H5P_DEFAULT), place_of(path, name)), H5Dclose};
}

std::vector<hsize_t> extent(hid_t space, const std::string& place) {
  std::vector<hsize_t> sizes(DISSENT_H5(H5Sget_simple_extent_ndims(space), place));
  DISSENT_H5(H5Sget_simple_extent_dims(space, sizes.data(), nullptr), place);
  return sizes;
}

UniqueHandle simple_space(const std::vector<hsize_t>& sizes, const std::string& place) {
  return {
      DISSENT_H5(H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr), place),
      H5Sclose};
}

// Selects rows [first, first + count) of the file's space; returns the memory space for them.
UniqueHandle select_rows(hid_t space, int64_t first, int64_t count, const std::string& place) {
  auto sizes = extent(space, place);
  DISSENT_CHECK(!sizes.empty(), kData, "{}: expected rows, found a single value", place);
  DISSENT_CHECK(first >= 0 && count >= 0 && first + count <= static_cast<int64_t>(sizes[0]),
                kInternal, "{}: expected rows inside 0 .. {}, found {} .. {}", place, sizes[0] - 1,
                first, first + count - 1);

  std::vector<hsize_t> start(sizes.size(), 0);
  start[0] = first;
  sizes[0] = std::max<int64_t>(count, 1);
  auto memory = simple_space(sizes, place);

  // A collective call needs a selection from every rank, also an empty one.
  if (count == 0) {
    DISSENT_H5(H5Sselect_none(space), place);
    DISSENT_H5(H5Sselect_none(memory), place);
  } else {
    DISSENT_H5(
        H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, sizes.data(), nullptr),
        place);
  }
  return memory;
}

// Names of filters that are not part of HDF5, from the registry of The HDF Group.
std::string filter_name(H5Z_filter_t filter, const std::string& registered) {
  static const std::map<H5Z_filter_t, const char*> known{{H5Z_FILTER_DEFLATE, "gzip"},
                                                         {H5Z_FILTER_SZIP, "szip"},
                                                         {307, "bzip2"},
                                                         {32000, "lzf"},
                                                         {32001, "blosc"},
                                                         {32004, "lz4"},
                                                         {32008, "bitshuffle"},
                                                         {32013, "zfp"},
                                                         {32015, "zstd"},
                                                         {32026, "blosc2"}};
  const auto found = known.find(filter);
  if (found != known.end()) return found->second;
  return registered.empty() ? "unknown name" : registered;
}

void expect_filters(hid_t creation, const std::string& place) {
  // Checked before any values are read, so that the message can name the filter and the remedy.
  const int count = DISSENT_H5(H5Pget_nfilters(creation), place);
  for (int i = 0; i < count; ++i) {
    char registered[64] = {};
    unsigned flags = 0, config = 0;
    size_t values = 0;
    const auto filter =
        DISSENT_H5(H5Pget_filter2(creation, static_cast<unsigned>(i), &flags, &values, nullptr,
                                  sizeof registered - 1, registered, &config),
                   place);
    DISSENT_CHECK(
        H5Zfilter_avail(filter) > 0, kData,
        "{}: expected values that this HDF5 can read, found filter {} ({}), which it does "
        "not have; rewrite the file without it (h5repack -f NONE, or h5py without "
        "compression), or set HDF5_PLUGIN_PATH to a folder with the filter",
        place, static_cast<int>(filter), filter_name(filter, registered));
  }
}

// Whether the dataset is in this file, and not linked from another one.
bool in_file(hid_t file, hid_t dataset, const std::string& place) {
  const auto name_of = [&](hid_t object) {
    std::string name(static_cast<size_t>(DISSENT_H5(H5Fget_name(object, nullptr, 0), place)), '\0');
    DISSENT_H5(H5Fget_name(object, name.data(), name.size() + 1), place);
    return name;
  };
  return name_of(file) == name_of(dataset);
}

std::string size_text(const std::vector<hsize_t>& sizes) {
  return fmt::format("[{}]", fmt::join(sizes, ", "));
}

constexpr int64_t kMostBytes = int64_t{1} << 56;  // of a dataset: products of extents fit into i64

// The handles of a dataset that is being checked.
struct DatasetHandles {
  hid_t file, dataset, space, type, creation;
};

// Raises for values that are in other files.
void expect_values_in_file(const DatasetHandles& handles, const std::string& place) {
  const bool is_virtual = H5Pget_layout(handles.creation) == H5D_VIRTUAL;
  DISSENT_CHECK(!is_virtual && H5Pget_external_count(handles.creation) <= 0, kData,
                "{}: expected values in the file itself, found {}; copy them into one file", place,
                is_virtual ? "a virtual dataset, whose values are in other files"
                           : "external storage, whose values are in other files");
  DISSENT_CHECK(H5Sget_simple_extent_type(handles.space) != H5S_NULL, kData,
                "{}: expected values, found an empty dataset", place);
}

// Raises unless a chunked dataset has all of its chunks, and this HDF5 all of its filters.
void expect_chunks(const DatasetHandles& handles, const std::vector<hsize_t>& sizes,
                   const std::string& place) {
  // A chunk of size 0 in a damaged header would be a division by zero below.
  expect_filters(handles.creation, place);
  std::vector<hsize_t> chunk(sizes.size());
  DISSENT_H5(H5Pget_chunk(handles.creation, static_cast<int>(chunk.size()), chunk.data()), place);
  DISSENT_CHECK(std::find(chunk.begin(), chunk.end(), hsize_t{0}) == chunk.end(), kData,
                "{}: damaged: expected chunks of at least 1 value, found {}", place,
                size_text(chunk));

  // The product over dimensions of ceil(size / chunk), with ~0 for more than 2^56.
  constexpr hsize_t kTooMany = ~hsize_t{0};
  hsize_t needed = 1;
  for (size_t d = 0; d < sizes.size(); ++d) {
    const auto along = (sizes[d] - 1) / chunk[d] + 1;
    needed = needed > static_cast<hsize_t>(kMostBytes) / along ? kTooMany : needed * along;
  }

  // Missing chunks would be read as the fill value, silently. HDF5 before 1.10.5 cannot count them:
  // there only a dataset without any chunk is found.
#if H5_VERSION_GE(1, 10, 5)
  hsize_t found = 0;
  DISSENT_H5(H5Dget_num_chunks(handles.dataset, handles.space, &found), place);
#else
  const hsize_t found = H5Dget_storage_size(handles.dataset) > 0 ? needed : 0;
#endif
  DISSENT_CHECK(found >= needed, kData,
                "{}: damaged: expected {} chunks ({} in chunks of {}), found {}", place,
                needed == kTooMany ? "more than 2^56" : std::to_string(needed), size_text(sizes),
                size_text(chunk), found);
}

// Raises unless the `bytes` of a contiguous dataset lie inside the file; nothing: more than 2^56.
void expect_contiguous(const DatasetHandles& handles, const std::vector<hsize_t>& sizes,
                       std::optional<int64_t> bytes, const std::string& place) {
  // The file of the dataset itself, which is another one if the name is an external link.
  const UniqueHandle own(DISSENT_H5(H5Iget_file_id(handles.dataset), place), H5Fclose);
  hsize_t file_bytes = 0;
  DISSENT_H5(H5Fget_filesize(own.valid() ? static_cast<hid_t>(own) : handles.file, &file_bytes),
             place);

  const auto offset = H5Dget_offset(handles.dataset);
  const bool fits = bytes && offset != HADDR_UNDEF && offset <= file_bytes &&
                    static_cast<hsize_t>(*bytes) <= file_bytes - offset;
  DISSENT_CHECK(
      fits, kData,
      "{}: damaged: expected {} values of {} bytes in the file, found {} in a file of {} bytes",
      place, size_text(sizes), H5Tget_size(handles.type),
      offset == HADDR_UNDEF ? std::string("none") : fmt::format("them at byte {}", offset),
      file_bytes);
}

// Raises unless every value that a dataset declares is stored. Returns their size in bytes.
int64_t expect_stored(const DatasetHandles& handles, const std::string& place) {
  const auto sizes = extent(handles.space, place);
  expect_values_in_file(handles, place);

  constexpr size_t kMostValueBytes = 1 << 20;
  const size_t value_bytes = H5Tget_size(handles.type);
  DISSENT_CHECK(value_bytes >= 1 && value_bytes <= kMostValueBytes, kData,
                "{}: damaged: expected values of 1 .. {} bytes, found {}", place, kMostValueBytes,
                value_bytes);

  // The declared size in bytes. A damaged header may declare any extents, so products are bounded.
  if (std::find(sizes.begin(), sizes.end(), hsize_t{0}) != sizes.end()) return 0;
  std::optional<int64_t> bytes = static_cast<int64_t>(value_bytes);
  for (const auto size : sizes) {
    if (!bytes) break;
    if (size <= static_cast<hsize_t>(kMostBytes / *bytes))
      *bytes *= static_cast<int64_t>(size);
    else
      bytes.reset();
  }

  // Compact values are in the header, which HDF5 checks.
  switch (H5Pget_layout(handles.creation)) {
    case H5D_CHUNKED: expect_chunks(handles, sizes, place); break;
    case H5D_CONTIGUOUS: expect_contiguous(handles, sizes, bytes, place); break;
    default: break;
  }
  DISSENT_CHECK(bytes, kData, "{}: damaged: expected at most 2^56 bytes, found {}", place,
                size_text(sizes));
  return *bytes;
}

UniqueHandle text_type(size_t size, const std::string& place) {
  UniqueHandle type(DISSENT_H5(H5Tcopy(H5T_C_S1), place), H5Tclose);
  DISSENT_H5(H5Tset_size(type, size), place);
  DISSENT_H5(H5Tset_cset(type, H5T_CSET_UTF8), place);
  return type;
}

constexpr size_t kMostTextBytes = size_t{1} << 30;

// Reads one text through `read(memory type, buffer)`; `type` is the one in the file.
std::string read_one_text(hid_t type, const std::function<herr_t(hid_t, void*)>& read,
                          const std::string& place) {
  // A text of variable length is allocated by HDF5, which has to free it; h5py writes texts so.
  if (DISSENT_H5(H5Tis_variable_str(type), place) > 0) {
    char* text = nullptr;
    DISSENT_H5(read(type, &text), place);
    std::string value = text ? text : "";
    H5free_memory(text);
    return value;
  }

  // A text of fixed length is padded with zero bytes.
  const auto bytes = H5Tget_size(type);
  DISSENT_CHECK(bytes > 0 && bytes <= kMostTextBytes, kData,
                "{}: expected a text of at most {} bytes, found {}", place, kMostTextBytes, bytes);
  std::string value(bytes, '\0');
  DISSENT_H5(read(type, value.data()), place);
  return value.substr(0, value.find('\0'));
}

}  // namespace

bool h5_has(hid_t file, const std::string& name) {
  // H5Lexists needs every group of the path to exist.
  for (size_t end = name.find('/', 1);; end = name.find('/', end + 1)) {
    if (H5Lexists(file, name.substr(0, end).c_str(), H5P_DEFAULT) <= 0) return false;
    if (end == std::string::npos) return true;
  }
}

DatasetInfo h5_info(hid_t file, const std::string& name, const std::string& path) {
  const std::string place = place_of(path, name);
  DISSENT_CHECK(h5_has(file, name), kData, "{}: expected a dataset '{}', found none", path, name);
  const auto dataset = open_dataset(file, name, path);
  const UniqueHandle space(DISSENT_H5(H5Dget_space(dataset), place), H5Sclose);
  const UniqueHandle type(DISSENT_H5(H5Dget_type(dataset), place), H5Tclose);
  const UniqueHandle creation(DISSENT_H5(H5Dget_create_plist(dataset), place), H5Pclose);

  DatasetInfo info;
  for (const hsize_t size : extent(space, place)) info.shape.push_back(static_cast<int64_t>(size));
  info.dtype = h5_dtype(type, place);
  const auto bytes = expect_stored({file, dataset, space, type, creation}, place);

  // An offset is given only where the bytes in the file are the tensor's bytes; all else is read
  // through HDF5.
  const bool plain = H5Pget_layout(creation) == H5D_CONTIGUOUS &&
                     H5Tequal(type, h5_type(info.dtype)) > 0 && in_file(file, dataset, place);
  if (const haddr_t offset = H5Dget_offset(dataset); plain && offset != HADDR_UNDEF)
    info.offset = static_cast<int64_t>(offset);

  // Every dataset of a sealed file has checksums; one that has none at this place is damaged.
  if (const auto seal = h5_seal(file); seal && info.offset >= 0)
    DISSENT_CHECK(seal->find(info.offset, bytes) >= 0, kData,
                  "{}: damaged: expected checksums of its values, found none", place);
  return info;
}

void h5_add_dataset(hid_t file, const std::string& name, at::IntArrayRef shape,
                    at::ScalarType dtype, const std::string& path) {
  const std::string place = place_of(path, name);
  const UniqueHandle links(DISSENT_H5(H5Pcreate(H5P_LINK_CREATE), place), H5Pclose);
  DISSENT_H5(H5Pset_create_intermediate_group(links, 1), place);

  // Space now, values later: readers need one contiguous piece, and a fill would write everything
  // twice.
  const UniqueHandle creation(DISSENT_H5(H5Pcreate(H5P_DATASET_CREATE), place), H5Pclose);
  DISSENT_H5(H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY), place);
  DISSENT_H5(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), place);
  DISSENT_H5(H5Pset_obj_track_times(creation, false), place);  // equal contents, equal bytes

  const auto type = h5_type(dtype);
  const auto space = simple_space({shape.begin(), shape.end()}, place);
  UniqueHandle(
      DISSENT_H5(H5Dcreate2(file, name.c_str(), type, space, links, creation, H5P_DEFAULT), place),
      H5Dclose)
      .close(place);
}

void h5_write_rows(hid_t file, const std::string& name, int64_t first, const at::Tensor& local,
                   Communicator& comm, const std::string& path) {
  const std::string place = place_of(path, name);
  const auto dataset = open_dataset(file, name, path);
  const auto type = h5_type(local.scalar_type());

  const UniqueHandle transfer(DISSENT_H5(H5Pcreate(H5P_DATASET_XFER), place), H5Pclose);
  if (comm.backend() == Backend::kMpi)
    DISSENT_H5(H5Pset_dxpl_mpio(transfer, H5FD_MPIO_COLLECTIVE), place);

  UniqueHandle space(DISSENT_H5(H5Dget_space(dataset), place), H5Sclose);
  const auto sizes = extent(space, place);

  // Split into calls of at most kCallBytes.
  int64_t row_bytes = local.element_size();
  for (size_t d = 1; d < sizes.size(); ++d) row_bytes *= static_cast<int64_t>(sizes[d]);
  const int64_t call_rows = std::max<int64_t>(1, kCallBytes / std::max<int64_t>(1, row_bytes));

  // Every rank makes as many calls as a rank with the whole dataset would, and continues after an
  // error, since the other ranks wait in their calls.
  std::string message;
  for (int64_t done = 0; done == 0 || done < static_cast<int64_t>(sizes[0]); done += call_rows) {
    const int64_t rows = std::clamp<int64_t>(local.size(0) - done, 0, call_rows);
    const auto memory = select_rows(space, rows > 0 ? first + done : 0, rows, place);
    const auto* data =
        static_cast<const char*>(local.const_data_ptr()) + (rows > 0 ? done * row_bytes : 0);
    if (H5Dwrite(dataset, type, memory, space, transfer, data) < 0 && message.empty())
      message = h5_message();
  }
  DISSENT_CHECK(message.empty(), kData, "{}: {}", place, message);
}

void h5_flush(hid_t file, const std::string& path) {
  DISSENT_H5(H5Fflush(file, H5F_SCOPE_GLOBAL), path);
}

void h5_check_rows(hid_t file, const std::string& name, int64_t first, const at::Tensor& local,
                   const std::string& path) {
  const std::string place = place_of(path, name);
  const auto dataset =
      open_dataset(file, name, path);  // collective: also where this rank has no rows
  const auto type = h5_type(local.scalar_type());
  const UniqueHandle space(DISSENT_H5(H5Dget_space(dataset), place), H5Sclose);

  // Compare piece by piece, in bounded memory.
  const int64_t rows = local.size(0),
                row_bytes = rows > 0 ? static_cast<int64_t>(local.nbytes()) / rows : 1;
  const int64_t piece = std::max<int64_t>(1, kReadBackBytes / std::max<int64_t>(1, row_bytes));
  std::vector<char> buffer(std::min(piece, rows) * row_bytes);
  const auto* data = static_cast<const char*>(local.const_data_ptr());
  for (int64_t row = 0; row < rows; row += piece) {
    const int64_t count = std::min(piece, rows - row);
    const auto memory = select_rows(space, first + row, count, place);
    DISSENT_H5(H5Dread(dataset, type, memory, space, H5P_DEFAULT, buffer.data()), place);
    DISSENT_CHECK(
        std::memcmp(buffer.data(), data + row * row_bytes, count * row_bytes) == 0, kData,
        "{}: expected rows {} .. {} as written, found other values when reading them back: "
        "the MPI library or the file system lost a write ({} free on the file system)",
        place, first + row, first + row + count - 1, byte_text(free_bytes(path)));
  }
}

void h5_read_rows(hid_t file, const std::string& name, int64_t first, int64_t count, void* out,
                  at::ScalarType dtype, const std::string& path) {
  if (count == 0) return;
  const std::string place = place_of(path, name);
  const auto dataset = open_dataset(file, name, path);
  const UniqueHandle space(DISSENT_H5(H5Dget_space(dataset), place), H5Sclose);
  const auto memory = select_rows(space, first, count, place);

  // Values of sealed files are compared with their checksums: read through the seal where the dtype
  // is the file's own, else checked first and converted by HDF5.
  if (const auto seal = h5_seal(file)) {
    const auto info = h5_info(file, name, path);
    int64_t row_bytes = static_cast<int64_t>(c10::elementSize(info.dtype));
    for (size_t d = 1; d < info.shape.size(); ++d) row_bytes *= info.shape[d];
    const int64_t number =
        info.offset < 0 ? -1 : seal->find(info.offset, info.shape[0] * row_bytes);
    if (number >= 0 && info.dtype == dtype)
      return seal->read(number, first * row_bytes, count * row_bytes, out);
    if (number >= 0) seal->check(number, first * row_bytes, count * row_bytes);
  }
  DISSENT_H5(H5Dread(dataset, h5_type(dtype), memory, space, H5P_DEFAULT, out), place);
}

at::Tensor h5_read(hid_t file, const std::string& name, int64_t first, int64_t count,
                   const std::string& path) {
  auto info = h5_info(file, name, path);
  DISSENT_CHECK(!info.shape.empty(), kData, "{}: {}: expected rows, found a single value", path,
                name);
  info.shape[0] = count;
  auto values = at::empty(info.shape, info.dtype);
  h5_read_rows(file, name, first, count, values.data_ptr(), info.dtype, path);
  return values;
}

at::Tensor h5_read(hid_t file, const std::string& name, const std::string& path) {
  const auto info = h5_info(file, name, path);
  return h5_read(file, name, 0, info.shape.empty() ? 0 : info.shape[0], path);
}

void h5_write_attribute(hid_t file, const std::string& object, const std::string& name,
                        const H5Value& value, const std::string& path) {
  const std::string place = fmt::format("{}: attribute {} of {}", path, name, object);
  const UniqueHandle space(DISSENT_H5(H5Screate(H5S_SCALAR), place), H5Sclose);
  const auto* text = std::get_if<std::string>(&value);
  DISSENT_CHECK(!text || text->size() <= kMostAttributeText, kInternal,
                "{0}: expected a text of at most {2} bytes, found {1}", place,
                text ? text->size() : 0, kMostAttributeText);

  const auto type = text ? text_type(std::max<size_t>(1, text->size()), place)
                         : h5_type(std::holds_alternative<double>(value) ? at::kDouble : at::kLong);
  const UniqueHandle attribute(
      DISSENT_H5(H5Acreate_by_name(file, object.c_str(), name.c_str(), type, space, H5P_DEFAULT,
                                   H5P_DEFAULT, H5P_DEFAULT),
                 place),
      H5Aclose);

  const void* data = text
                         ? static_cast<const void*>(text->c_str())
                         : std::visit([](const auto& held) -> const void* { return &held; }, value);
  DISSENT_H5(H5Awrite(attribute, type, data), place);
}

H5Value h5_read_attribute(hid_t file, const std::string& object, const std::string& name,
                          const std::string& path) {
  const std::string place = fmt::format("{}: attribute {} of {}", path, name, object);
  const UniqueHandle attribute(
      DISSENT_H5(H5Aopen_by_name(file, object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT),
                 place),
      H5Aclose);
  const UniqueHandle type(DISSENT_H5(H5Aget_type(attribute), place), H5Tclose);
  const UniqueHandle space(DISSENT_H5(H5Aget_space(attribute), place), H5Sclose);
  DISSENT_CHECK(H5Sget_simple_extent_npoints(space) == 1, kData,
                "{}: expected one value, found none or several", place);

  const auto read = [&](hid_t memory_type, void* buffer) {
    return H5Aread(attribute, memory_type, buffer);
  };
  if (H5Tget_class(type) == H5T_STRING) return read_one_text(type, read, place);
  if (const auto dtype = h5_dtype(type, place); at::isFloatingType(dtype)) {
    double value = 0;
    DISSENT_H5(read(H5T_NATIVE_DOUBLE, &value), place);
    return value;
  }

  int64_t value = 0;
  DISSENT_H5(read(H5T_NATIVE_INT64, &value), place);
  return value;
}

void h5_write_format(hid_t file, const H5Format& format, const std::string& path) {
  h5_write_attribute(file, "/", kFormatAttribute, format.name, path);
  h5_write_attribute(file, "/", kVersionAttribute, format.version, path);
}

H5Format h5_read_format(hid_t file, const std::string& path) {
  // From the list of names, as dissent-h5check has read them: H5Aexists takes another path through
  // HDF5, which that check has not tried with this file.
  const auto names = h5_attribute_names(file, "/", path);
  for (const char* name : {kFormatAttribute, kVersionAttribute})
    if (std::find(names.begin(), names.end(), name) == names.end()) return {};

  H5Format format;
  const auto name = h5_read_attribute(file, "/", kFormatAttribute, path),
             version = h5_read_attribute(file, "/", kVersionAttribute, path);
  if (const auto* text = std::get_if<std::string>(&name)) format.name = *text;
  if (const auto* number = std::get_if<int64_t>(&version)) format.version = *number;
  return format;
}

std::vector<std::string> h5_attribute_names(hid_t file, const std::string& object,
                                            const std::string& path) {
  std::vector<std::string> names;
  const auto add = [](hid_t, const char* name, const H5A_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->push_back(name);
    return 0;
  };
  hsize_t at = 0;
  DISSENT_H5(H5Aiterate_by_name(file, object.c_str(), H5_INDEX_NAME, H5_ITER_INC, &at, add, &names,
                                H5P_DEFAULT),
             place_of(path, object));
  return names;
}

void h5_write_text(hid_t file, const std::string& name, const std::string& text,
                   const std::string& path) {
  const std::string place = place_of(path, name);
  const UniqueHandle space(DISSENT_H5(H5Screate(H5S_SCALAR), place), H5Sclose);
  const auto type = text_type(std::max<size_t>(1, text.size()), place);
  const UniqueHandle creation(DISSENT_H5(H5Pcreate(H5P_DATASET_CREATE), place), H5Pclose);
  DISSENT_H5(H5Pset_obj_track_times(creation, false), place);
  const UniqueHandle dataset(
      DISSENT_H5(H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, creation, H5P_DEFAULT),
                 place),
      H5Dclose);
  DISSENT_H5(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text.c_str()), place);
}

std::string h5_read_text(hid_t file, const std::string& name, const std::string& path) {
  const std::string place = place_of(path, name);
  DISSENT_CHECK(h5_has(file, name), kData, "{}: expected a dataset '{}', found none", path, name);
  const auto dataset = open_dataset(file, name, path);

  // Checked before reading: several texts would be written beyond the buffer of one.
  const UniqueHandle type(DISSENT_H5(H5Dget_type(dataset), place), H5Tclose);
  const UniqueHandle space(DISSENT_H5(H5Dget_space(dataset), place), H5Sclose);
  DISSENT_CHECK(H5Tget_class(type) == H5T_STRING && H5Sget_simple_extent_npoints(space) == 1, kData,
                "{}: expected one text, found other values", place);

  // The text of a sealed file is compared with its checksum before it is used.
  if (const auto seal = h5_seal(file)) {
    const auto offset = H5Dget_offset(dataset);
    const auto bytes = static_cast<int64_t>(H5Tget_size(type));
    const auto number =
        offset == HADDR_UNDEF ? -1 : seal->find(static_cast<int64_t>(offset), bytes);
    DISSENT_CHECK(number >= 0, kData, "{}: damaged: expected checksums of its values, found none",
                  place);
    seal->check(number, 0, bytes);
  }

  return read_one_text(
      type,
      [&](hid_t memory_type, void* buffer) {
        return H5Dread(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, buffer);
      },
      place);
}

void h5_add_group(hid_t file, const std::string& name, const std::string& path) {
  UniqueHandle(DISSENT_H5(H5Gcreate2(file, name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                          place_of(path, name)),
               H5Gclose)
      .close(path);
}

std::vector<std::string> h5_dataset_names(hid_t file, const std::string& group,
                                          const std::string& path) {
  std::vector<std::string> names;
  if (!h5_has(file, group)) return names;
  const UniqueHandle folder(
      DISSENT_H5(H5Gopen2(file, group.c_str(), H5P_DEFAULT), place_of(path, group)), H5Gclose);
  const auto add = [](hid_t at, const char* name, const H5L_info_t*, void* out) -> herr_t {
    const UniqueHandle object(H5Oopen(at, name, H5P_DEFAULT), H5Oclose);
    if (object.valid() && H5Iget_type(object) == H5I_DATASET)
      static_cast<std::vector<std::string>*>(out)->push_back(name);
    return 0;
  };
  DISSENT_H5(H5Lvisit(folder, H5_INDEX_NAME, H5_ITER_INC, add, &names), place_of(path, group));
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<DataRange> h5_data_ranges(hid_t file, const std::string& path) {
  // Values inside an object header (compact layout) have no offset: they are part of the metadata,
  // which has a checksum of its own.
  std::vector<DataRange> ranges;
  for (const auto& name : h5_dataset_names(file, "/", path)) {
    const auto dataset = open_dataset(file, name, path);
    const auto offset = H5Dget_offset(dataset);
    const auto bytes = static_cast<int64_t>(H5Dget_storage_size(dataset));
    if (offset != HADDR_UNDEF && bytes > 0)
      ranges.push_back({name, static_cast<int64_t>(offset), bytes});
  }
  return ranges;
}

void h5_close_sealed(UniqueHandle& file, const std::string& path) {
  const auto ranges = h5_data_ranges(file, path);
  file.close(path);
  write_seal(path, ranges, *make_self_communicator());
}

}  // namespace dissent
