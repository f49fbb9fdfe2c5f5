#include "train/run/provenance.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "build_info.hpp"
#include "comm/runtime.hpp"
#include "core/enum_names.hpp"
#include "core/parallel.hpp"
#include "storage/atomic_file.hpp"
#include "storage/json_record.hpp"
#include "storage/node_memory.hpp"
#include "storage/run_folder.hpp"

namespace dissent {
namespace {

using WallClock = std::chrono::system_clock;

std::string utc_text(WallClock::time_point time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(WallClock::to_time_t(time)));
}

std::optional<WallClock::time_point> parsed_time(const std::string& text) {
  std::tm time{};
  const char* end = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &time);
  if (!end || *end) return std::nullopt;
  return WallClock::from_time_t(timegm(&time));
}

}  // namespace

Provenance::Provenance(Communicator& run, const GridShape& shape, const RunContext& context,
                       std::string caches, bool resumed)
    : rank_(run.rank()),
      folder_(context.folder),
      config_hash_(context.config_hash),
      seed_(context.seed),
      shape_(shape),
      caches_(std::move(caches)),
      device_(context.device.str()),
      hosts_(all_gather_text(run, host_name())),
      start_(std::chrono::system_clock::now()),
      first_start_(start_) {
  if (resumed && rank_ == 0) read_earlier_starts();
}

void Provenance::read_earlier_starts() {
  std::ifstream file(folder_ + "/" + kProvenanceFile);
  const auto before = file ? parse_record(file, false) : nlohmann::json();
  if (!before.is_object()) return;
  try {
    starts_ = before.value("starts", int64_t{1}) + 1;
    wall_before_s_ = before.value("wall_s", 0.0);
    const auto first = parsed_time(before.value("start", ""));
    if (first) first_start_ = *first;

    // A start that is still "running" was killed before it could write its wall time. Its last
    // heartbeat is the best estimate of its end.
    const auto last = parsed_time(before.value("last_start", before.value("start", "")));
    double beat_s = 0;
    if (value_in(kRunStatusNames, before.value("state", "")) == RunStatus::kRunning && last &&
        std::ifstream(folder_ + "/" + heartbeat_name(0)) >> beat_s)
      wall_before_s_ +=
          std::max(0.0, beat_s - std::chrono::duration<double>(last->time_since_epoch()).count());
  } catch (const nlohmann::json::exception&) {
    // The file has values of other types: edited by hand. Counting begins again.
    starts_ = 1;
    wall_before_s_ = 0;
    first_start_ = start_;
  }
}

void Provenance::write(RunStatus status) const {
  atomic_write_text(folder_ + "/" + kProvenanceFile, text(status, ""));
}

void Provenance::write_failure(const std::string& message) const noexcept {
  try {
    // Several ranks may fail at once: each writes a file of its own, and the last rename stays.
    const std::string own = fmt::format("{}/{}.{}", folder_, kProvenanceFile, rank_);
    atomic_write_text(own, text(RunStatus::kFailed, message));
    std::filesystem::rename(own, folder_ + "/" + kProvenanceFile);
  } catch (const std::exception& error) {
    spdlog::warn("event=provenance_not_written folder={} reason=\"{}\"", folder_, error.what());
  }
}

std::string Provenance::text(RunStatus status, const std::string& error) const {
  const auto now = std::chrono::system_clock::now();
  nlohmann::ordered_json json;

  json["format"] = "dissent-provenance";
  json["version"] = 1;
  json["state"] = name_in(kRunStatusNames, status);
  if (!error.empty()) {
    json["error"] = error;
    json["error_rank"] = rank_;
  }

  // What decides the results: the program and the configuration.
  json["program"] = {{"dissent", DISSENT_VERSION},
                     {"commit", DISSENT_COMMIT},
                     {"build_type", DISSENT_BUILD_TYPE},
                     {"libtorch", DISSENT_LIBTORCH_VERSION},
                     {"hdf5", DISSENT_HDF5_VERSION}};
  json["config_hash"] = config_hash_;
  json["seed"] = seed_;

  // How the run was spread over machines: this changes times and, with data parts, the rounding.
  json["ranks"] = hosts_.size();
  json["hosts"] = std::set<std::string>(hosts_.begin(), hosts_.end());
  json["grid"] = {{"runs", shape_.runs}, {"members", shape_.members}, {"data", shape_.data}};
  json["threads_per_rank"] = threads();
  json["device"] = device_;
  json["caches"] = caches_;

  // Times are of all starts together, so that a resumed run reports its whole cost.
  json["start"] = utc_text(first_start_);
  json["starts"] = starts_;
  json["last_start"] = utc_text(start_);
  json["wall_s"] = wall_before_s_ + std::chrono::duration<double>(now - start_).count();
  json["peak_memory_bytes_rank_0"] = peak_memory_bytes();

  // Invalid UTF-8, as in a path of an error message, is replaced: the file is always valid JSON.
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace dissent
