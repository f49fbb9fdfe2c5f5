// dissent-h5check FILE: opens an HDF5 file and traverses all its objects, as a reader would. The
// other programs start it for files without checksums of ours (storage/h5_check.hpp), since a
// damaged file can crash HDF5 or make it loop forever. Exits with 0 if HDF5 succeeded, with 3 and
// the finding on standard output, or by a signal. Links only HDF5, so it starts in milliseconds.
#include <hdf5.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/sanitizer.hpp"
#include "storage/h5_check.hpp"

namespace {

constexpr int kMostDepth = 64;  // of nested groups
constexpr hsize_t kMostValueBytes = hsize_t{64}
                                    << 20;  // read of one file: enough for what HDF5 does

template <class Resource>
void limit(Resource what, rlim_t soft, rlim_t hard) {
  const rlimit both{soft, hard};
  setrlimit(what, &both);
}

[[noreturn]] void end_with(const std::string& found) {
  std::fwrite(found.data(), 1, found.size(), stdout);
  std::fflush(stdout);
  std::_Exit(3);
}

std::string first_reason() {
  std::string text;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned, const H5E_error2_t* entry, void* out) -> herr_t {
        auto& found = *static_cast<std::string*>(out);
        if (found.empty() && entry->desc) found = entry->desc;
        return 0;
      },
      &text);
  return text;
}

// Ends the program if the last failure was a lack of memory: without a limit, the reading process
// would grow. Other failures are reported by the reader that needs that part of the file.
void look_at_failure() {
  // The whole stack is searched: the failed allocation is the innermost entry, or wrapped in
  // others.
  bool memory = false;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned, const H5E_error2_t* entry, void* out) -> herr_t {
        if (entry->maj_num == H5E_RESOURCE &&
            (entry->min_num == H5E_NOSPACE || entry->min_num == H5E_CANTALLOC))
          *static_cast<bool*>(out) = true;
        return 0;
      },
      &memory);
  if (memory)
    end_with("a damaged one: HDF5 needs more than " +
             std::to_string(dissent::kH5CheckMemory >> 30) +
             " GiB of memory to read it; copy it again, or recreate it");
}

hid_t looked_at(hid_t id) {
  if (id < 0) look_at_failure();
  return id;
}

class Walk {
 public:
  void group(hid_t group, int depth) {
    attributes(group);

    // What readers do with a group: list its names, and look up names that may be missing.
    std::vector<std::string> names;
    hsize_t at = 0;
    const auto add = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
      static_cast<std::vector<std::string>*>(out)->emplace_back(name);
      return 0;
    };
    if (H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, &at, add, &names) < 0) look_at_failure();
    if (H5Lexists(group, "no link of this name", H5P_DEFAULT) < 0) look_at_failure();

    for (const auto& name : names) {
      if (H5Lexists(group, name.c_str(), H5P_DEFAULT) < 0) look_at_failure();

      // Links of every kind are followed, as readers follow links into other files too.
      const hid_t object = looked_at(H5Oopen(group, name.c_str(), H5P_DEFAULT));
      if (object < 0) continue;
      visit(object, depth);
      H5Oclose(object);
    }
  }

 private:
  void visit(hid_t object, int depth) {
#if H5_VERSION_GE(1, 12, 0)
    H5O_info2_t info;
    if (H5Oget_info3(object, &info, H5O_INFO_BASIC) < 0) return look_at_failure();
    const auto* place = reinterpret_cast<const char*>(&info.token);
    const std::string key(place, sizeof info.token);
#else
    H5O_info_t info;
    if (H5Oget_info(object, &info) < 0) return look_at_failure();
    const std::string key = std::to_string(info.addr);
#endif
    // Each object once: a damaged file may link a group into itself.
    if (!seen_.emplace(info.fileno, key).second) return;
    const auto type = H5Iget_type(object);
    if (type == H5I_DATASET) dataset(object);
    if (type == H5I_DATATYPE) attributes(object);
    if (type == H5I_GROUP && depth < kMostDepth) group(object, depth + 1);
  }

  void attributes(hid_t object) {
    std::vector<std::string> names;
    hsize_t at = 0;
    const auto add = [](hid_t, const char* name, const H5A_info_t*, void* out) -> herr_t {
      static_cast<std::vector<std::string>*>(out)->emplace_back(name);
      return 0;
    };
    if (H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, &at, add, &names) < 0) look_at_failure();

    // Values of attributes are in the object's header or in a heap, both of which may be damaged.
    for (const auto& name : names) {
      const hid_t attribute = looked_at(H5Aopen(object, name.c_str(), H5P_DEFAULT));
      if (attribute < 0) continue;

      const hid_t type = looked_at(H5Aget_type(attribute)),
                  space = looked_at(H5Aget_space(attribute));
      read(type, space, [&](void* out) { return H5Aread(attribute, type, out); });
      if (space >= 0) H5Sclose(space);
      if (type >= 0) H5Tclose(type);
      H5Aclose(attribute);
    }
  }

  void dataset(hid_t dataset) {
    attributes(dataset);

    // The calls that a reader makes before it reads values.
    const hid_t type = looked_at(H5Dget_type(dataset)), space = looked_at(H5Dget_space(dataset)),
                creation = looked_at(H5Dget_create_plist(dataset));
    H5Dget_offset(dataset);
    H5Dget_storage_size(dataset);

    // Filters and the index of chunks have structures of their own, which a damaged file can point
    // anywhere.
    if (creation >= 0) {
      char name[64];
      for (int filter = 0; filter < H5Pget_nfilters(creation); ++filter) {
        unsigned flags = 0, config = 0;
        size_t values = 0;
        H5Pget_filter2(creation, static_cast<unsigned>(filter), &flags, &values, nullptr,
                       sizeof name, name, &config);
      }
#if H5_VERSION_GE(1, 10, 5)
      hsize_t chunks = 0;  // counting them reads their index
      if (H5Pget_layout(creation) == H5D_CHUNKED && H5Dget_num_chunks(dataset, space, &chunks) < 0)
        look_at_failure();
#endif
    }

    read(type, space,
         [&](void* out) { return H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out); });
    if (creation >= 0) H5Pclose(creation);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
  }

  // Reads the values of small objects. Large ones are skipped: their values are plain bytes without
  // structure.
  template <class Read>
  void read(hid_t type, hid_t space, const Read& values) {
    if (type < 0 || space < 0) return;
    const hssize_t count = H5Sget_simple_extent_npoints(space);
    const size_t size = H5Tget_size(type);
    if (count <= 0 || size == 0 || static_cast<hsize_t>(count) > left_ / size) return;

    left_ -= static_cast<hsize_t>(count) * size;
    std::vector<char> buffer(static_cast<size_t>(count) * size);
    if (values(buffer.data()) < 0) return look_at_failure();

    // HDF5 allocated the values of variable length; the buffer holds only pointers to them.
    if (H5Tdetect_class(type, H5T_VLEN) > 0 || H5Tis_variable_str(type) > 0)
      H5Dvlen_reclaim(type, space, H5P_DEFAULT, buffer.data());
  }

  std::set<std::pair<unsigned long, std::string>> seen_;  // file and place in it
  hsize_t left_ = kMostValueBytes;
};

}  // namespace

#ifdef DISSENT_SANITIZED
// A crash stays a signal, which is what the caller looks for.
extern "C" const char* __asan_default_options() {
  return "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:detect_leaks=0";
}
#endif

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "dissent-h5check FILE: expected one file, found %d\n", count - 1);
    return 2;
  }

  // The limits turn an endless loop or a runaway allocation of HDF5 into the end of this process.
  limit(RLIMIT_CPU, dissent::kH5CheckSeconds, dissent::kH5CheckSeconds + 1);
  limit(RLIMIT_CORE, 0, 0);
#ifndef DISSENT_SANITIZED  // whose shadow is larger than any limit
  limit(RLIMIT_AS, dissent::kH5CheckMemory, dissent::kH5CheckMemory);
#endif

  // Same access as h5_open: no file locks.
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && H5_VERSION_LE(1, 10, 99))
  H5Pset_file_locking(access, false, true);
#endif

  const hid_t file = H5Fopen(arguments[1], H5F_ACC_RDONLY, access);
  if (file < 0) {
    look_at_failure();
    end_with("one that HDF5 cannot open: " + first_reason());
  }

  const hid_t root = H5Gopen2(file, "/", H5P_DEFAULT);
  if (root < 0) {
    look_at_failure();
    end_with("one whose root HDF5 cannot open: " + first_reason());
  }

  // Everything that a reader may touch. A failure other than a lack of memory is left to the
  // reader.
  Walk().group(root, 0);
  H5Gclose(root);
  H5Fclose(file);
  H5Pclose(access);
  return 0;
}
