// Datasets and attributes.
#include <cstring>

#include "storage/h5.hpp"

namespace dissent {
namespace {

// MPI-IO counts are 32-bit integers in many places; each rank writes at most this much a call.
constexpr int64_t kCallBytes = int64_t{1} << 30;
constexpr int64_t kCheckBytes = int64_t{1} << 24;

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

// Selects rows [first, first + count) of the file's space and gives the memory space for them.
UniqueHandle select_rows(hid_t space, int64_t first, int64_t count, const std::string& place) {
  auto sizes = extent(space, place);
  DISSENT_CHECK(!sizes.empty(), kData, "{}: a single value, expected rows", place);
  DISSENT_CHECK(first >= 0 && count >= 0 && first + count <= static_cast<int64_t>(sizes[0]),
                kInternal, "{}: rows {} .. {} of {}", place, first, first + count, sizes[0]);
  std::vector<hsize_t> start(sizes.size(), 0);
  start[0] = first;
  sizes[0] = std::max<int64_t>(count, 1);
  auto memory = simple_space(sizes, place);
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

UniqueHandle text_type(size_t size, const std::string& place) {
  UniqueHandle type(DISSENT_H5(H5Tcopy(H5T_C_S1), place), H5Tclose);
  DISSENT_H5(H5Tset_size(type, size), place);
  DISSENT_H5(H5Tset_cset(type, H5T_CSET_UTF8), place);
  return type;
}

// Reads one text through `read(memory type, buffer)`; `type` is the one in the file.
std::string read_one_text(hid_t type, const std::function<herr_t(hid_t, void*)>& read,
                          const std::string& place) {
  if (DISSENT_H5(H5Tis_variable_str(type), place) > 0) {
    char* text = nullptr;
    DISSENT_H5(read(type, &text), place);
    std::string value = text ? text : "";
    H5free_memory(text);
    return value;
  }
  std::string value(H5Tget_size(type), '\0');
  DISSENT_H5(read(type, value.data()), place);
  return value.substr(0, value.find('\0'));
}

}  // namespace

bool h5_has(hid_t file, const std::string& name) {
  // H5Lexists needs every group on the way to exist.
  for (size_t end = name.find('/', 1);; end = name.find('/', end + 1)) {
    if (H5Lexists(file, name.substr(0, end).c_str(), H5P_DEFAULT) <= 0) return false;
    if (end == std::string::npos) return true;
  }
}

DatasetInfo h5_info(hid_t file, const std::string& name, const std::string& path) {
  const std::string place = place_of(path, name);
  DISSENT_CHECK(h5_has(file, name), kData, "{}: no dataset '{}'", path, name);
  const auto dataset = open_dataset(file, name, path);
  const UniqueHandle space(DISSENT_H5(H5Dget_space(dataset), place), H5Sclose);
  const UniqueHandle type(DISSENT_H5(H5Dget_type(dataset), place), H5Tclose);
  const UniqueHandle creation(DISSENT_H5(H5Dget_create_plist(dataset), place), H5Pclose);
  DatasetInfo info;
  for (const hsize_t size : extent(space, place)) info.shape.push_back(static_cast<int64_t>(size));
  info.dtype = h5_dtype(type, place);
  const bool plain = H5Pget_layout(creation) == H5D_CONTIGUOUS &&
                     H5Pget_external_count(creation) == 0 &&
                     H5Tequal(type, h5_type(info.dtype)) > 0;
  if (const haddr_t offset = H5Dget_offset(dataset); plain && offset != HADDR_UNDEF)
    info.offset = static_cast<int64_t>(offset);
  return info;
}

void h5_add_dataset(hid_t file, const std::string& name, at::IntArrayRef shape,
                    at::ScalarType dtype, const std::string& path) {
  const std::string place = place_of(path, name);
  const UniqueHandle links(DISSENT_H5(H5Pcreate(H5P_LINK_CREATE), place), H5Pclose);
  DISSENT_H5(H5Pset_create_intermediate_group(links, 1), place);
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
  if (std::string_view(comm.backend()) == "mpi")
    DISSENT_H5(H5Pset_dxpl_mpio(transfer, H5FD_MPIO_COLLECTIVE), place);
  UniqueHandle space(DISSENT_H5(H5Dget_space(dataset), place), H5Sclose);
  const auto sizes = extent(space, place);
  int64_t row_bytes = local.element_size();
  for (size_t d = 1; d < sizes.size(); ++d) row_bytes *= static_cast<int64_t>(sizes[d]);
  const int64_t call_rows = std::max<int64_t>(1, kCallBytes / std::max<int64_t>(1, row_bytes));
  // Every rank makes as many calls as one that held the whole dataset would, and goes on after an
  // error: the others wait in theirs.
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
  const int64_t rows = local.size(0),
                row_bytes = rows > 0 ? static_cast<int64_t>(local.nbytes()) / rows : 1;
  const int64_t piece = std::max<int64_t>(1, kCheckBytes / std::max<int64_t>(1, row_bytes));
  std::vector<char> buffer(std::min(piece, rows) * row_bytes);
  const auto* data = static_cast<const char*>(local.const_data_ptr());
  for (int64_t row = 0; row < rows; row += piece) {
    const int64_t count = std::min(piece, rows - row);
    const auto memory = select_rows(space, first + row, count, place);
    DISSENT_H5(H5Dread(dataset, type, memory, space, H5P_DEFAULT, buffer.data()), place);
    DISSENT_CHECK(std::memcmp(buffer.data(), data + row * row_bytes, count * row_bytes) == 0, kData,
                  "{}: rows {} .. {} read back differently than written: the MPI library or the "
                  "file system lost a write",
                  place, first + row, first + row + count - 1);
  }
}

void h5_read_rows(hid_t file, const std::string& name, int64_t first, int64_t count, void* out,
                  at::ScalarType dtype, const std::string& path) {
  if (count == 0) return;
  const std::string place = place_of(path, name);
  const auto dataset = open_dataset(file, name, path);
  const UniqueHandle space(DISSENT_H5(H5Dget_space(dataset), place), H5Sclose);
  const auto memory = select_rows(space, first, count, place);
  DISSENT_H5(H5Dread(dataset, h5_type(dtype), memory, space, H5P_DEFAULT, out), place);
}

at::Tensor h5_read(hid_t file, const std::string& name, int64_t first, int64_t count,
                   const std::string& path) {
  auto info = h5_info(file, name, path);
  DISSENT_CHECK(!info.shape.empty(), kData, "{}: {} is a single value, expected rows", path, name);
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
  const auto type = text ? text_type(H5T_VARIABLE, place)
                         : h5_type(std::holds_alternative<double>(value) ? at::kDouble : at::kLong);
  const UniqueHandle attribute(
      DISSENT_H5(H5Acreate_by_name(file, object.c_str(), name.c_str(), type, space, H5P_DEFAULT,
                                   H5P_DEFAULT, H5P_DEFAULT),
                 place),
      H5Aclose);
  const char* characters = text ? text->c_str() : nullptr;
  const void* data = text
                         ? static_cast<const void*>(&characters)
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
  DISSENT_CHECK(H5Sget_simple_extent_npoints(space) == 1, kData, "{}: expected one value", place);
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
  const auto type = text_type(H5T_VARIABLE, place);
  const UniqueHandle creation(DISSENT_H5(H5Pcreate(H5P_DATASET_CREATE), place), H5Pclose);
  DISSENT_H5(H5Pset_obj_track_times(creation, false), place);
  const UniqueHandle dataset(
      DISSENT_H5(H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, creation, H5P_DEFAULT),
                 place),
      H5Dclose);
  const char* characters = text.c_str();
  DISSENT_H5(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, &characters), place);
}

std::string h5_read_text(hid_t file, const std::string& name, const std::string& path) {
  const std::string place = place_of(path, name);
  DISSENT_CHECK(h5_has(file, name), kData, "{}: no dataset '{}'", path, name);
  const auto dataset = open_dataset(file, name, path);
  const UniqueHandle type(DISSENT_H5(H5Dget_type(dataset), place), H5Tclose);
  const UniqueHandle space(DISSENT_H5(H5Dget_space(dataset), place), H5Sclose);
  DISSENT_CHECK(H5Tget_class(type) == H5T_STRING && H5Sget_simple_extent_npoints(space) == 1, kData,
                "{}: expected one text", place);
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

}  // namespace dissent
