#include "storage/seal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <dissent/error.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "core/divide_up.hpp"
#include "core/regular_file.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

constexpr char kMagic[] = "DSNTSEAL";
constexpr uint64_t kSealVersion = 1;
constexpr int64_t kMagicBytes = 8, kTrailerBytes = 4 * 8 + kMagicBytes;
constexpr int64_t kPieceBytes = int64_t{1} << 20;  // of metadata, hashed in one call
constexpr const char* kAdvice =
    "it was changed after it was written: copy it again, or recreate it";

std::string checksum_text(uint64_t hash) { return fmt::format("xxh3:{:016x}", hash); }

// A file open for reading.
class InputFile {
 public:
  explicit InputFile(const std::string& path) : path_(path), file_(open_regular_file(path)) {}
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile() { ::close(file_); }

  int64_t size() const {
    struct stat status{};
    DISSENT_CHECK(::fstat(file_, &status) == 0, kData, "{}: cannot read its status: {}", path_,
                  std::generic_category().message(errno));
    return status.st_size;
  }

  void read(int64_t offset, int64_t bytes, void* out) const {
    auto* to = static_cast<char*>(out);
    while (bytes > 0) {
      const ssize_t count =
          ::pread(file_, to, static_cast<size_t>(std::min<int64_t>(bytes, 1 << 30)), offset);
      if (count < 0 && errno == EINTR) continue;
      DISSENT_CHECK(count >= 0, kData, "{}: cannot read: {}", path_,
                    std::generic_category().message(errno));
      DISSENT_CHECK(count > 0, kData, "{}: truncated: {} missing at byte {}", path_,
                    byte_text(bytes), offset);
      to += count, offset += count, bytes -= count;
    }
  }

 private:
  const std::string& path_;
  int file_;
};

int64_t blocks_of(int64_t bytes) { return divide_up(bytes, kSealBlockBytes); }
int64_t block_bytes(int64_t bytes, int64_t block) {
  return std::min(kSealBlockBytes, bytes - block * kSealBlockBytes);
}

// XXH3 of all bytes of the HDF5 part outside the ranges, which are sorted by offset and do not
// overlap. Without ranges: of bytes 0 .. end - 1.
uint64_t metadata_hash(const InputFile& file, const std::vector<DataRange>& ranges, int64_t end) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  std::vector<char> buffer;
  const auto add = [&](int64_t first, int64_t stop) {
    for (; first < stop; first += kPieceBytes) {
      const int64_t bytes = std::min(kPieceBytes, stop - first);
      buffer.resize(static_cast<size_t>(bytes));
      file.read(first, bytes, buffer.data());
      XXH3_64bits_update(&state, buffer.data(), buffer.size());
    }
  };

  // The bytes between two datasets, and those before the first and behind the last.
  int64_t at = 0;
  for (const auto& range : ranges) {
    add(at, range.offset);
    at = range.offset + range.bytes;
  }
  add(at, end);
  return XXH3_64bits_digest(&state);
}

void put(std::string& text, uint64_t value) {
  text.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Reads numbers and texts from a table whose checksum was right; inconsistent contents are an error
// nevertheless.
class TableReader {
 public:
  TableReader(const std::string& text, const std::string& path) : text_(text), path_(path) {}
  std::string take(uint64_t bytes) {
    if (bytes > text_.size() - at_) fail();
    return text_.substr(std::exchange(at_, at_ + bytes), bytes);
  }
  uint64_t number() {
    uint64_t value = 0;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  // A number of entries, each of at least `bytes_each` bytes, that can follow in the table.
  uint64_t count(uint64_t bytes_each) {
    const auto value = number();
    if (value > (text_.size() - at_) / bytes_each) fail();
    return value;
  }
  [[noreturn]] void fail() const {
    DISSENT_FAIL(kData, "{}: damaged: its table of checksums is inconsistent; {}", path_, kAdvice);
  }

 private:
  const std::string& text_;
  const std::string& path_;
  size_t at_ = 0;
};

std::string table_of(const std::vector<DataRange>& ranges, const std::vector<uint64_t>& hashes,
                     uint64_t metadata) {
  std::string table;
  put(table, kSealBlockBytes);
  put(table, ranges.size());

  size_t at = 0;
  for (const auto& range : ranges) {
    put(table, range.name.size());
    table += range.name;
    put(table, static_cast<uint64_t>(range.offset));
    put(table, static_cast<uint64_t>(range.bytes));
    for (int64_t block = 0; block < blocks_of(range.bytes); ++block) put(table, hashes[at++]);
  }
  put(table, metadata);
  return table;
}

void append(const std::string& path, const std::string& text) {
  // The first error is kept, and the file is closed in any case: closing may report it too.
  const int file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  int code = file < 0 ? errno : 0;

  for (size_t done = 0; code == 0 && done < text.size();) {
    const ssize_t count = ::write(file, text.data() + done, text.size() - done);
    if (count < 0 && errno != EINTR) code = errno;
    if (count > 0) done += static_cast<size_t>(count);
  }
  if (file >= 0 && ::close(file) != 0 && code == 0) code = errno;
  DISSENT_CHECK(code == 0, kData, "{}: cannot write: {}", path,
                std::generic_category().message(code));
}

}  // namespace

void read_file_bytes(const std::string& path, int64_t offset, int64_t bytes, void* out) {
  InputFile(path).read(offset, bytes, out);
}

std::string file_checksum(const std::string& path) {
  const InputFile file(path);
  return checksum_text(metadata_hash(file, {}, file.size()));
}

namespace {

// Checksums of blocks first .. last - 1, numbered through all ranges. Raises unless the ranges are
// separate and inside the file.
std::vector<int64_t> block_checksums(const InputFile& file, const std::string& path,
                                     const std::vector<DataRange>& ranges, int64_t first,
                                     int64_t last) {
  const int64_t size = file.size();
  std::vector<int64_t> hashes;
  std::vector<char> buffer(kSealBlockBytes);
  int64_t number = 0, end = 0;
  for (const auto& range : ranges) {
    DISSENT_CHECK(range.offset >= end && range.bytes >= 0 && range.bytes <= size - range.offset,
                  kInternal, "{}: {}: expected a separate range inside {} bytes, found {} .. {}",
                  path, range.name, size, range.offset, range.offset + range.bytes);
    end = range.offset + range.bytes;

    for (int64_t block = 0; block < blocks_of(range.bytes); ++block, ++number) {
      if (number < first || number >= last) continue;
      const int64_t bytes = block_bytes(range.bytes, block);
      file.read(range.offset + block * kSealBlockBytes, bytes, buffer.data());
      hashes.push_back(
          static_cast<int64_t>(XXH3_64bits(buffer.data(), static_cast<size_t>(bytes))));
    }
  }
  return hashes;
}

}  // namespace

void write_seal(const std::string& path, std::vector<DataRange> ranges, Communicator& comm) {
  std::sort(ranges.begin(), ranges.end(),
            [](const DataRange& a, const DataRange& b) { return a.offset < b.offset; });

  // Blocks are numbered through all datasets and shared out evenly over the ranks.
  int64_t total = 0;
  for (const auto& range : ranges) total += blocks_of(range.bytes);
  const auto first_of = [&](int rank) { return total * rank / comm.size(); };

  std::vector<int64_t> own, counts;
  for (int rank = 0; rank < comm.size(); ++rank)
    counts.push_back(first_of(rank + 1) - first_of(rank));

  // Each rank hashes its share of the blocks.
  int64_t size = 0;
  agree(comm, [&] {
    const InputFile file(path);
    size = file.size();
    own = block_checksums(file, path, ranges, first_of(comm.rank()), first_of(comm.rank() + 1));
  });
  const auto all = comm.all_gather(at::tensor(own, at::kLong), counts);

  // Rank 0 appends table and trailer to the HDF5 part.
  agree(comm, [&] {
    if (comm.rank() != 0) return;
    const auto* values = all.const_data_ptr<int64_t>();
    const std::vector<uint64_t> hashes(values, values + all.numel());
    auto text = table_of(ranges, hashes, metadata_hash(InputFile(path), ranges, size));
    const auto table_bytes = text.size();
    put(text, static_cast<uint64_t>(size));
    put(text, table_bytes);
    put(text, kSealVersion);
    put(text, XXH3_64bits(text.data(), text.size()));
    append(path, text + kMagic);
  });
}

namespace {

// The trailer's numbers.
struct Trailer {
  uint64_t hdf5_bytes, table_bytes, version, checksum;
};

// Nothing for a file without a seal. The trailer's sizes have to add up to the file before anything
// is read by them.
std::optional<Trailer> trailer_of(const InputFile& file, const std::string& path) {
  // A file that ends in other characters was written by another program, or lost its end:
  // h5_open tells the two cases apart.
  const int64_t size = file.size();
  char bytes[kTrailerBytes];
  if (size < kTrailerBytes) return {};
  file.read(size - kTrailerBytes, kTrailerBytes, bytes);
  if (std::memcmp(bytes + kTrailerBytes - kMagicBytes, kMagic, kMagicBytes) != 0) return {};

  uint64_t numbers[4];
  std::memcpy(numbers, bytes, sizeof numbers);
  const Trailer trailer{numbers[0], numbers[1], numbers[2], numbers[3]};
  const auto whole = static_cast<uint64_t>(size);
  const bool fits = trailer.table_bytes < whole && trailer.hdf5_bytes < whole &&
                    trailer.hdf5_bytes + trailer.table_bytes + kTrailerBytes == whole;
  DISSENT_CHECK(fits, kData,
                "{}: damaged: expected {} bytes and their checksums, found a file of {} bytes; {}",
                path, trailer.hdf5_bytes, whole, kAdvice);
  return trailer;
}

// The table and the trailer's first three numbers, which the last checksum covers: everything read
// from this text is as it was written.
std::string checked_table(const InputFile& file, const Trailer& trailer, const std::string& path) {
  std::string text(trailer.table_bytes + 3 * sizeof(uint64_t), '\0');
  file.read(static_cast<int64_t>(trailer.hdf5_bytes), static_cast<int64_t>(text.size()),
            text.data());
  // The checksum before the version: a version in damaged bytes means nothing.
  const auto found = XXH3_64bits(text.data(), text.size());
  DISSENT_CHECK(found == trailer.checksum, kData,
                "{}: damaged: bytes {} .. {}, its table of checksums: expected {}, found {}; {}",
                path, trailer.hdf5_bytes, trailer.hdf5_bytes + text.size() - 1,
                checksum_text(trailer.checksum), checksum_text(found), kAdvice);
  DISSENT_CHECK(trailer.version == kSealVersion, kData,
                "{}: its checksums: expected version {}, found {}; read it with the version of "
                "Dissent that wrote it, or a later one",
                path, kSealVersion, trailer.version);
  return text;
}

// The next range of the table, which has to begin behind `end` and to lie inside the HDF5 part.
DataRange next_range(TableReader& table, int64_t end, int64_t hdf5_bytes) {
  DataRange range;
  range.name = table.take(table.number());
  range.offset = static_cast<int64_t>(table.number());
  range.bytes = static_cast<int64_t>(table.number());
  if (range.offset < end || range.offset > hdf5_bytes || range.bytes < 0 ||
      range.bytes > hdf5_bytes - range.offset)
    table.fail();
  return range;
}

}  // namespace

std::shared_ptr<const Seal> Seal::of(const std::string& path) {
  const InputFile file(path);
  const auto trailer = trailer_of(file, path);
  if (!trailer) return nullptr;
  const auto text = checked_table(file, *trailer, path);

  // Ranges and block checksums of each dataset. The text is as it was written, but a file may be
  // made on purpose: sizes are compared with what can follow in the table.
  TableReader table(text, path);
  auto seal = std::make_shared<Seal>();
  seal->path_ = path;

  if (table.number() != kSealBlockBytes) table.fail();
  const auto hdf5_bytes = static_cast<int64_t>(trailer->hdf5_bytes);
  std::vector<DataRange> ranges;
  for (auto datasets = table.count(3 * 8); datasets > 0; --datasets) {
    const int64_t end = ranges.empty() ? 0 : ranges.back().offset + ranges.back().bytes;
    auto data = std::make_unique<Data>();
    data->range = next_range(table, end, hdf5_bytes);
    for (int64_t block = 0; block < blocks_of(data->range.bytes); ++block)
      data->hashes.push_back(table.number());
    data->checked = std::vector<std::atomic<bool>>(data->hashes.size());
    ranges.push_back(data->range);
    seal->data_.push_back(std::move(data));
  }

  // All bytes outside the datasets are HDF5's metadata; they are checked before HDF5 parses them.
  const uint64_t expected = table.number(), metadata = metadata_hash(file, ranges, hdf5_bytes);
  DISSENT_CHECK(metadata == expected, kData,
                "{}: damaged: its HDF5 metadata: expected {}, found {}; {}", path,
                checksum_text(expected), checksum_text(metadata), kAdvice);
  return seal;
}

int64_t Seal::find(int64_t offset, int64_t bytes) const {
  const auto at =
      std::lower_bound(data_.begin(), data_.end(), offset,
                       [](const auto& data, int64_t place) { return data->range.offset < place; });
  const bool fits =
      at != data_.end() && (*at)->range.offset == offset && (*at)->range.bytes == bytes;
  return fits ? at - data_.begin() : -1;
}

int64_t Seal::blocks() const {
  int64_t count = 0;
  for (const auto& data : data_) count += static_cast<int64_t>(data->hashes.size());
  return count;
}

void Seal::check_block(const Data& data, int64_t block, const void* bytes) const {
  const int64_t first = block * kSealBlockBytes, count = block_bytes(data.range.bytes, block);
  const auto found = XXH3_64bits(bytes, static_cast<size_t>(count));
  DISSENT_CHECK(found == data.hashes[block], kData,
                "{}: {}: damaged: bytes {} .. {} of the file: expected {}, found {}; {}", path_,
                data.range.name, data.range.offset + first, data.range.offset + first + count - 1,
                checksum_text(data.hashes[block]), checksum_text(found), kAdvice);
  data.checked[block].store(true, std::memory_order_relaxed);
}

void Seal::read(int64_t dataset, int64_t first, int64_t bytes, void* out) const {
  const auto& data = *data_.at(static_cast<size_t>(dataset));
  DISSENT_CHECK(first >= 0 && bytes >= 0 && bytes <= data.range.bytes - first, kInternal,
                "{}: {}: expected bytes inside 0 .. {}, found {} .. {}", path_, data.range.name,
                data.range.bytes, first, first + bytes);

  // A file per call: reads come from several threads, and pread needs no common position.
  const InputFile file(path_);
  thread_local std::vector<char> buffer;
  auto* to = static_cast<char*>(out);
  for (int64_t end = first + bytes; first < end;) {
    const int64_t block = first / kSealBlockBytes, begin = block * kSealBlockBytes,
                  whole = block_bytes(data.range.bytes, block),
                  count = std::min(end, begin + whole) - first;

    // Whole blocks are always checked. Of a block that is read in part, all of it is read and
    // checked once, and later reads take only the bytes that they need.
    if (count == whole) {
      file.read(data.range.offset + begin, whole, to);
      check_block(data, block, to);  // while it is in the processor's cache
    } else if (data.checked[block].load(std::memory_order_relaxed)) {
      file.read(data.range.offset + first, count, to);
    } else {
      buffer.resize(static_cast<size_t>(kSealBlockBytes));
      file.read(data.range.offset + begin, whole, buffer.data());
      check_block(data, block, buffer.data());
      std::memcpy(to, buffer.data() + (first - begin), static_cast<size_t>(count));
    }
    to += count, first += count;
  }
}

void Seal::check(int64_t dataset, int64_t first, int64_t bytes) const {
  // For values that HDF5 itself reads, because it has to convert them.
  const auto& data = *data_.at(static_cast<size_t>(dataset));
  if (bytes == 0) return;
  const InputFile file(path_);
  std::vector<char> buffer(kSealBlockBytes);

  for (int64_t block = first / kSealBlockBytes; block <= (first + bytes - 1) / kSealBlockBytes;
       ++block) {
    if (data.checked.at(static_cast<size_t>(block)).load(std::memory_order_relaxed)) continue;
    file.read(data.range.offset + block * kSealBlockBytes, block_bytes(data.range.bytes, block),
              buffer.data());
    check_block(data, block, buffer.data());
  }
}

void Seal::verify() const {
  for (size_t dataset = 0; dataset < data_.size(); ++dataset) {
    for (auto& checked : data_[dataset]->checked) checked.store(false, std::memory_order_relaxed);
    check(static_cast<int64_t>(dataset), 0, data_[dataset]->range.bytes);
  }
}

}  // namespace dissent
