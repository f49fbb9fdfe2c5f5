#include "report/event_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <exception>
#include <filesystem>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <dissent/error.hpp>
#include <nlohmann/json.hpp>

#include "core/edited_text.hpp"
#include "core/process.hpp"
#include "report/result_set.hpp"
#include "storage/atomic_file.hpp"
#include "storage/csv.hpp"
#include "storage/run_folder.hpp"
#include "storage/train_log.hpp"

namespace dissent::report {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little);
template <class T>
std::string bytes_of(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

// Protocol buffers: a number is stored in groups of 7 bits; the key of a field is its number * 8 +
// wire type (0: such a number, 1: eight bytes, 2: a length and bytes, 5: four bytes).
std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 128; value >>= 7) bytes += static_cast<char>((value & 127) | 128);
  return bytes + static_cast<char>(value);
}
std::string message(int field, const std::string& bytes) {
  return varint(static_cast<uint64_t>(field) * 8 + 2) + varint(bytes.size()) + bytes;
}
std::string wall_time(double seconds) { return varint(1 * 8 + 1) + bytes_of(seconds); }

std::string record(const std::string& bytes) {
  // The TFRecord format: length, its masked CRC-32C, the message, its masked CRC-32C.
  const auto masked = [](const std::string& text) {
    const uint32_t crc = crc32c(text);
    return bytes_of(static_cast<uint32_t>(((crc >> 15) | (crc << 17)) + 0xa282ead8u));
  };
  const auto length = bytes_of(static_cast<uint64_t>(bytes.size()));
  return length + masked(length) + bytes + masked(bytes);
}

struct Times {
  double start = 0, wall_s = 0;
  std::string config_hash;
};
Times times_of(const std::string& run) {
  const std::string path = run + "/" + kProvenanceFile;
  try {
    const auto json = nlohmann::json::parse(read_text(path));

    // UTC, so timegm() and not mktime().
    std::tm time{};
    const auto text = json.at("start").get<std::string>();
    DISSENT_CHECK(strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &time), kData,
                  "{}: start: expected a time, found '{}'", path, text);
    return {static_cast<double>(timegm(&time)), json.value("wall_s", 0.0),
            json.value("config_hash", "")};
  } catch (const nlohmann::json::exception& error) {
    DISSENT_FAIL(kData, "{}: {}", path, error.what());
  }
}

std::string tag_of(const std::string& column) {
  // The part before the slash is the section in which TensorBoard shows the value.
  const bool validation = is_validation_column(column);
  return (validation                            ? "validation/"
          : column.starts_with(kGradientPrefix) ? "gradients/"
                                                : "train/") +
         column;
}

std::optional<double> number_in(const std::string& text, const std::string& place) {
  if (text.empty()) return std::nullopt;
  const auto number = parsed_number(text);
  DISSENT_CHECK(number, kData, "{}: expected a number, found '{}'", place, text);
  return number;
}

// The values of a training log; time(row, rows) is the time of a row.
template <class Time>
std::vector<Scalar> log_scalars(const std::string& run, const Time& time) {
  const std::string path = run + "/" + kTrainLogFile;
  const auto records = parse_csv(edited_text(read_text(path), path), path);
  DISSENT_CHECK(!records.empty() && records[0].fields[0] == kEpochColumn, kData,
                "{}: expected a training log, whose first column is epoch", path);

  std::vector<Scalar> scalars;
  for (size_t i = 1; i < records.size(); ++i) {
    const auto& fields = records[i].fields;
    DISSENT_CHECK(fields.size() == records[0].fields.size(), kData,
                  "{0}:{1}: expected {3} columns as the header has, found {2}", path,
                  records[i].line, fields.size(), records[0].fields.size());

    // The first column is the epoch; empty cells are values that this epoch does not have.
    const auto step = static_cast<int64_t>(number_in(fields[0], path).value_or(0));
    const double at = time(static_cast<double>(i), static_cast<double>(records.size() - 1));
    for (size_t c = 1; c < fields.size(); ++c)
      if (const auto value = number_in(
              fields[c],
              fmt::format("{}:{}: column {}", path, records[i].line, records[0].fields[c])))
        scalars.push_back({tag_of(records[0].fields[c]), step, at, static_cast<float>(*value)});
  }
  return scalars;
}

void add_results(std::vector<Scalar>& scalars, const ResultSet& set, const std::string& run,
                 const Times& times) {
  const int64_t step = scalars.empty() ? 0 : scalars.back().step;
  for (const auto& row : set.rows) {
    // Runs of several experiments may have the same name (seed-1); the configuration decides.
    if (row.field("run") != run || row.field("config_hash") != times.config_hash) continue;

    // Results of a run have the last step of its log, as they belong to the final weights.
    std::string tag = "test/" + row.field("dataset") + "/" + row.field("metric");
    for (const char* column : {"score", "predictor", "convention"})
      if (!row.field(column).empty()) tag += "/" + row.field(column);
    scalars.push_back({tag, step, times.start + times.wall_s, static_cast<float>(row.value)});
  }
}

constexpr std::string_view kLivePrefix = "events.out.tfevents.", kLiveSuffix = ".live";

std::vector<std::string> live_files(const std::string& run) {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(run)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with(kLivePrefix) && name.ends_with(kLiveSuffix))
      found.push_back(entry.path().string());
  }

  // The name has the time at which the log was begun, so the newest is last.
  std::sort(found.begin(), found.end());
  return found;
}

// The complete epochs at the beginning of an event file: their size and last step. An epoch in
// which the writer was killed is not complete.
struct CompleteEpochs {
  size_t bytes = 0;
  int64_t last = -1;
};

// The step of a record of this program: behind the time (9 bytes), in all records but the first.
std::optional<int64_t> step_of(const std::string& message) {
  // The key of the field step (number 2, wire type 0), then its number.
  if (message.size() <= 10 || message[9] != 2 * 8) return std::nullopt;
  int64_t step = 0;
  for (size_t i = 10, shift = 0; i < message.size(); ++i, shift += 7) {
    step |= (static_cast<int64_t>(message[i]) & 127) << shift;
    if (!(message[i] & 128)) break;
  }
  return step;
}

CompleteEpochs complete_epochs(const std::string& text) {
  CompleteEpochs done;                     // all complete records
  CompleteEpochs before;                   // without those of their last step
  const size_t frame = record("").size();  // bytes of a record without its message
  while (text.size() - done.bytes >= frame) {
    // A length that leads beyond the end, or a record that is not the same when it is written
    // again (its checksums are wrong), ends the intact part.
    uint64_t length = 0;
    std::memcpy(&length, text.data() + done.bytes, sizeof length);
    if (length > text.size() - done.bytes - frame) break;
    const auto message = text.substr(done.bytes + 12, length);
    if (text.compare(done.bytes, frame + length, record(message)) != 0) break;

    const int64_t step = step_of(message).value_or(done.last);
    if (step != done.last) before = done;
    done = {done.bytes + frame + length, step};
  }
  // If bytes follow that are not a record, the last step may be incomplete.
  return done.bytes == text.size() || done.last < 0 ? done : before;
}

// Appends to a file in one write, so that a reader never sees half an epoch.
void append_at_once(const std::string& path, const std::vector<Scalar>& scalars) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  DISSENT_CHECK(file >= 0, kData, "{}: cannot open: {}", path, std::strerror(errno));

  // A new file begins with the version record of event_file().
  struct stat found{};
  const bool is_new = fstat(file, &found) == 0 && found.st_size == 0;
  const auto bytes = is_new ? event_file(scalars) : event_records(scalars);

  // O_APPEND and one write(): the kernel puts all bytes at the end at once.
  const ssize_t written = write(file, bytes.data(), bytes.size());
  const int code = errno;
  close(file);
  DISSENT_CHECK(written == static_cast<ssize_t>(bytes.size()), kData, "{}: cannot write: {}", path,
                written < 0 ? std::strerror(code) : "no space");
}

}  // namespace

uint32_t crc32c(const std::string& bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> entries{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0x82f63b78u : 0);
      entries[i] = value;
    }
    return entries;
  }();

  // The Castagnoli polynomial, bit-reversed: 0x82f63b78.
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = (crc >> 8) ^ table[(crc ^ static_cast<uint8_t>(c)) & 255];
  return ~crc;
}

std::string event_file(const std::vector<Scalar>& scalars) {
  return record(wall_time(scalars.empty() ? 0 : scalars[0].wall_time) +
                message(3, "brain.Event:2")) +
         event_records(scalars);
}

std::string event_records(const std::vector<Scalar>& scalars) {
  std::string text;
  for (const auto& scalar : scalars) {
    // Event {wall_time = 1, step = 2, summary = 5}, Summary {value = 1}, Value {tag = 1,
    // simple_value = 2}.
    const auto value = message(1, scalar.tag) + varint(2 * 8 + 5) + bytes_of(scalar.value);
    text += record(wall_time(scalar.wall_time) + varint(2 * 8) +
                   varint(static_cast<uint64_t>(scalar.step)) + message(5, message(1, value)));
  }
  return text;
}

std::vector<std::string> write_event_files(const std::vector<std::string>& runs,
                                           const std::vector<std::string>& results,
                                           const std::string& folder) {
  ResultSet set;
  if (!results.empty()) set = read_result_files(results);
  std::vector<std::string> paths;
  for (const auto& run : runs) {
    const auto place = fs::absolute(run + "/.").lexically_normal().parent_path();
    const auto times = times_of(run);

    // The log has no times: they are spread evenly over the training.
    auto scalars = log_scalars(
        run, [&](double row, double rows) { return times.start + times.wall_s * row / rows; });
    add_results(scalars, set, place.filename().string(), times);

    // The last two folders of a run (experiment and seed) name it in TensorBoard.
    const auto target = fs::path(folder) / place.parent_path().filename() / place.filename();
    make_folder(target.string());
    paths.push_back(
        (target / fmt::format("events.out.tfevents.{:.0f}.dissent", times.start)).string());
    atomic_write_text(paths.back(), event_file(scalars));
  }
  return paths;
}

EventLog::EventLog(std::string run, bool resume) : run_(std::move(run)) {
  try {
    auto files = live_files(run_);

    // A run that begins anew must not show the epochs of an earlier one.
    if (!resume) {
      for (const auto& file : files) remove_file(file);
      files.clear();
    }
    path_ = files.empty() ? fmt::format("{}/{}{:.0f}{}", run_, kLivePrefix, now_s(), kLiveSuffix)
                          : files.back();
    if (files.empty()) return;

    // A rank that was killed while writing may have left half a record: readers would stop there.
    const auto complete = complete_epochs(read_text(path_));
    fs::resize_file(path_, complete.bytes);
    last_ = complete.last;
  } catch (const std::exception& error) {
    failed_ = true;
    spdlog::warn("event=tensorboard_not_written folder={} reason=\"{}\"", run_, error.what());
  }
}

void EventLog::append() noexcept {
  // A log for display never stops a training: after the first error it is only left out.
  if (failed_) return;
  try {
    // The whole log is read again and epochs up to the last written one are skipped, so nothing
    // is lost if an epoch could not be appended.
    const double now = now_s();
    auto scalars = log_scalars(run_, [&](double, double) { return now; });
    std::erase_if(scalars, [&](const Scalar& scalar) { return scalar.step <= last_; });
    if (scalars.empty()) return;

    append_at_once(path_, scalars);
    last_ = scalars.back().step;
  } catch (const std::exception& error) {
    failed_ = true;
    spdlog::warn("event=tensorboard_not_written folder={} reason=\"{}\"", run_, error.what());
  }
}

}  // namespace dissent::report
