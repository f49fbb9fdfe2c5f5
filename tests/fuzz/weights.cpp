// Weights of other programs: safetensors, and files of torch.save, which are zip archives of a
// pickle and of the values.
#include <zlib.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fuzz.hpp"
#include "models/weights/state_dict.hpp"
#include "touch.hpp"

using namespace dissent;

namespace {

void put(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}
uint64_t get(const std::string& in, size_t at, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(in[at + i]);
  return value;
}
uint32_t check_sum(const std::string& bytes, size_t at, size_t count) {
  return static_cast<uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(bytes.data() + at), static_cast<uInt>(count)));
}

// An archive of members that are not compressed, as torch.save makes it.
std::string archive(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string out, directory;
  for (const auto& [name, bytes] : members) {
    std::string common;
    put(common, 0, 2), put(common, 0, 2), put(common, 0, 4);  // flags, method, time and date
    put(common, check_sum(bytes, 0, bytes.size()), 4);
    put(common, bytes.size(), 4), put(common, bytes.size(), 4), put(common, name.size(), 2);
    put(common, 0, 2);  // extra fields
    directory += "PK\1\2";
    put(directory, 20, 2), put(directory, 20, 2);
    directory += common;
    put(directory, 0, 2), put(directory, 0, 2), put(directory, 0, 2), put(directory, 0, 4);
    put(directory, out.size(), 4);
    directory += name;
    out += "PK\3\4";
    put(out, 20, 2);
    out += common + name + bytes;
  }
  const auto start = out.size();
  out += directory + "PK\5\6";
  put(out, 0, 4), put(out, members.size(), 2), put(out, members.size(), 2);
  put(out, directory.size(), 4), put(out, start, 4), put(out, 0, 2);
  return out;
}

// The check sums of members that are not compressed, put right.
std::string with_check_sums(std::string bytes) {
  const auto end = bytes.rfind("PK\5\6");
  if (end == std::string::npos || bytes.size() - end < 22) return bytes;
  for (size_t at = get(bytes, end + 16, 4); at + 46 <= bytes.size();) {
    if (bytes.compare(at, 4, "PK\1\2") != 0) break;
    const size_t local = get(bytes, at + 42, 4), size = get(bytes, at + 24, 4);
    if (local + 30 <= bytes.size() && get(bytes, at + 10, 2) == 0) {
      const size_t data = local + 30 + get(bytes, local + 26, 2) + get(bytes, local + 28, 2);
      if (data <= bytes.size() && size <= bytes.size() - data) {
        std::string sum;
        put(sum, check_sum(bytes, data, size), 4);
        bytes.replace(at + 16, 4, sum).replace(local + 14, 4, sum);
      }
    }
    at += 46 + get(bytes, at + 28, 2) + get(bytes, at + 30, 2) + get(bytes, at + 32, 2);
  }
  return bytes;
}

// Every value is read, so that one outside of its storage is found.
void use_weights(const StateDict& weights) {
  for (const auto& [name, tensor] : weights) {
    fuzz::use(name);
    fuzz::touch(tensor);
  }
}

}  // namespace

DISSENT_FUZZ(safetensors, kOwn, "{\"", "\"dtype\":", "\"F32\"", "\"BF16\"", "\"F8_E4M3\"",
             "\"shape\":[", "\"data_offsets\":[0,", "\"__metadata__\":", "18446744073709551615",
             "null", "-1") {
  use_weights(read_safetensors(fuzz::file_of(input, "weights.safetensors")));
}

DISSENT_FUZZ(torch_zip, kOwn, "PK\3\4", "PK\1\2", "PK\5\6", "PK\6\6", "PK\6\7", "data.pkl",
             "data/0", "byteorder", "big", "version") {
  use_weights(read_state_dict(fuzz::file_of(with_check_sums(input), "weights.pth")));
}

// The pickle in such a file, and two storages of 64 bytes.
DISSENT_FUZZ(torch_pickle, kOwn, "ctorch._utils\n_rebuild_tensor_v2\n", "ctorch\nFloatStorage\n",
             "ctorch\nLongStorage\n", "ccollections\nOrderedDict\n",
             std::string("X\7\0\0\0storage", 12),
             std::string("X\1\0\0\0"
                         "0",
                         6),
             std::string("X\3\0\0\0cpu", 8), "\x80\2", "}q", "tq", "QK", "R", "s", "u", ".", "b",
             "\x8a\x08") {
  const std::string values(64, '\1');
  use_weights(read_state_dict(fuzz::file_of(archive({{"a/data.pkl", input},
                                                     {"a/byteorder", "little"},
                                                     {"a/data/0", values},
                                                     {"a/data/1", values},
                                                     {"a/version", "3\n"}}),
                                            "pickle.pth")));
}
