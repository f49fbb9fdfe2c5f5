#include "models/weights/state_dict.hpp"

#include <caffe2/serialize/inline_container.h>

#include <dissent/error.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

#include "core/regular_file.hpp"
#include "core/torch_failure.hpp"
#include "models/weights/zip_checksums.hpp"
#include "storage/pickle.hpp"

namespace dissent {
namespace {

using Kind = PickleValue::Kind;

// The tensors of a dict with string keys.
StateDict tensors_of(const PickleValue& dict) {
  StateDict tensors;
  for (const auto& [key, value] : dict.pairs)
    if (key->kind == Kind::kText && value->kind == Kind::kTensor)
      tensors.insert_or_assign(key->text, value->tensor);
  return tensors;
}

const PickleValue* entry_of(const PickleValue& dict, const std::string& name) {
  for (const auto& [key, value] : dict.pairs)
    if (key->kind == Kind::kText && key->text == name && value->kind == Kind::kDict)
      return value.get();
  return nullptr;
}

// torch.save writes a record with the byte order of its machine; files of PyTorch before 2.1 have
// none, and are little-endian almost without exception.
bool is_big_endian(caffe2::serialize::PyTorchStreamReader& reader, const std::string& path) {
  if (!reader.hasRecord("byteorder")) return false;
  std::string order(reader.getRecordSize("byteorder"), '\0');
  reader.getRecord("byteorder", order.data(), order.size());
  DISSENT_CHECK(order == "little" || order == "big", kData,
                "{}: byteorder: expected little or big, found '{}'", path, order.substr(0, 32));
  return order == "big";
}

void swap_bytes(const at::Tensor& values) {
  const auto width = static_cast<int64_t>(values.element_size());
  auto* bytes = static_cast<char*>(values.data_ptr());
  for (int64_t i = 0; i < values.numel(); ++i, bytes += width) std::reverse(bytes, bytes + width);
}

// A file of torch.save is a zip archive: data.pkl refers to a storage KEY, whose values are in
// data/KEY.
PickleValue::Pointer unpickled(const std::string& path) {
  try {
    const ZipChecksums checksums(path);
    caffe2::serialize::PyTorchStreamReader reader(path);
    // Records are not compressed, so none is larger than the file.
    const auto size_of = [&, most = std::filesystem::file_size(path)](const std::string& record) {
      const auto bytes = reader.getRecordSize(record);
      DISSENT_CHECK(bytes <= most, kData, "{}: {}: expected at most the file's {} bytes, found {}",
                    path, record, most, bytes);
      return bytes;
    };

    // Storages may be shared by several tensors: each is read once.
    const bool big_endian = is_big_endian(reader, path);
    std::map<std::string, at::Tensor> storages;
    const auto storage = [&](const PickleValue& value) {
      if (const auto known = storages.find(value.text); known != storages.end())
        return known->second;

      // A storage has exactly the bytes of its values; sizes of a damaged file are checked before
      // memory is allocated for them.
      const auto record = "data/" + value.text;
      const auto bytes = static_cast<int64_t>(size_of(record)),
                 element = static_cast<int64_t>(c10::elementSize(value.dtype));
      DISSENT_CHECK(value.integer >= 0 && bytes / element == value.integer && bytes % element == 0,
                    kData, "{0}: {1}: expected {3} values of {4}, found {2} bytes", path, record,
                    bytes, value.integer, at::toString(value.dtype));

      auto values = at::empty({value.integer}, value.dtype);
      reader.getRecord(record, values.data_ptr(), static_cast<size_t>(bytes));
      checksums.check(record, values.data_ptr(), bytes);
      if (big_endian) swap_bytes(values);
      return storages.emplace(value.text, values).first->second;
    };

    std::string bytes(size_of("data.pkl"), '\0');
    reader.getRecord("data.pkl", bytes.data(), bytes.size());
    checksums.check("data.pkl", bytes.data(), static_cast<int64_t>(bytes.size()));
    return read_pickle_values(bytes, path, storage);
  } catch (const c10::Error&) {
    DISSENT_FAIL(kData, "{}: expected a file of torch.save, found another format or damage ({})",
                 path, current_reason());
  }
}

// Any other exception while reading is an error of the file too (damaged in a way that the reader
// did not foresee), not a defect of the program. Except for lack of memory.
StateDict well_read(const std::string& path, StateDict (*read)(const std::string& path)) {
  try {
    return read(path);
  } catch (const Error&) {
    throw;
  } catch (...) {
    if (current_failure().kind == ErrorKind::kMemory) throw;
    DISSENT_FAIL(kData, "{}: expected a file of weights, found a damaged one ({})", path,
                 current_reason());
  }
}

}  // namespace

StateDict read_pickle(const std::string& path) {
  const auto value = unpickled(path);
  DISSENT_CHECK(value->kind == Kind::kDict, kData,
                "{}: expected a dict of tensors, found another value", path);

  // Checkpoints of common trainers have the weights under one of these keys.
  for (const char* nested : {"state_dict", "model", "model_state_dict", "net"})
    if (const auto* dict = entry_of(*value, nested)) return tensors_of(*dict);
  auto tensors = tensors_of(*value);
  DISSENT_CHECK(!tensors.empty(), kData, "{}: expected a dict with tensors, found none", path);
  return tensors;
}

StateDict read_state_dict(const std::string& path) {
  expect_regular_file(path);
  std::ifstream file(path, std::ios::binary);
  DISSENT_CHECK(file, kData, "{}: cannot open: {}", path, std::generic_category().message(errno));

  // Formats are recognised by their first bytes, not by the name of the file.
  char start[9] = {};
  file.read(start, sizeof start);
  DISSENT_CHECK(file, kData, "{}: expected a file of weights, found {} bytes", path, file.gcount());

  // A zip archive, or the JSON header of safetensors after its 8 bytes of length.
  if (std::string_view(start, 4) == "PK\3\4") return well_read(path, read_pickle);
  if (start[8] == '{') return well_read(path, read_safetensors);

  const bool old_pickle = start[0] == '\x80' && start[1] == '\x02';
  DISSENT_CHECK(
      !old_pickle, kData,
      "{}: expected a file of torch.save of PyTorch 1.6 or later, found an older one; load "
      "it in PyTorch and save it again",
      path);
  DISSENT_FAIL(kData, "{}: expected a safetensors file or one of torch.save, found another format",
               path);
}

}  // namespace dissent
