#include "jobs/state.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <dissent/error.hpp>
#include <nlohmann/json.hpp>

#include "storage/atomic_file.hpp"
#include "storage/json_record.hpp"

namespace dissent::jobs {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(ProcessName, host, pid, started);
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Attempt, number, key, name, verb, sheet, directory,
                                                command, runs, inputs, after, ranks, threads, gpus,
                                                retries, stage, again, backend, batch, index,
                                                signal_s, wall_before_s, by, time);
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Start, by, time, slurm_job, epoch, err_offset,
                                                wall_before_s, abandoned);
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Stop, code, reason, message, wall_s, time,
                                                is_final);

namespace {

using Json = nlohmann::json;

std::string path_of(const std::string& folder, const char* kind, int64_t number,
                    int64_t restart = -1) {
  return restart < 0 ? fmt::format("{}/{}.{}", folder, kind, number)
                     : fmt::format("{}/{}.{}.{}", folder, kind, number, restart);
}

std::string text_of(const Json& json) {
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// A name that no other process uses.
std::string private_name(const std::string& path) {
  static std::atomic<int64_t> count{0};
  const auto own = this_process();
  return fmt::format("{}.{}.{}.{}.tmp", path, own.host, own.pid, count++);
}

// Nothing if the file is not there or not readable as such a record.
template <class T>
std::optional<T> read_record(const std::string& path) {
  if (!path_exists(path)) return std::nullopt;
  try {
    return parse_record(read_text(path)).get<T>();
  } catch (const Error&) {
    return std::nullopt;  // deleted meanwhile
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

// Starts of an attempt lie in a list by their number.
constexpr int64_t kMostRestarts = 100000;

// "start.3.1" -> kind, 3, 1. Nothing for other names, as those that a copy of a folder leaves.
struct FileName {
  std::string kind;
  int64_t number = -1, restart = -1;
};
FileName parse_name(const std::string& name) {
  FileName out;
  const auto dot = name.find('.');
  if (dot == std::string::npos) return out;
  out.kind = name.substr(0, dot);
  const char* end = name.data() + name.size();
  const auto first = std::from_chars(name.data() + dot + 1, end, out.number);
  if (first.ec != std::errc()) return {};
  if (first.ptr == end) return out;
  if (*first.ptr != '.') return {};
  const auto second = std::from_chars(first.ptr + 1, end, out.restart);
  const bool fits = second.ec == std::errc() && second.ptr == end && out.restart <= kMostRestarts;
  return fits ? out : FileName{};
}

bool is_state(const std::string& kind) {
  return kind == "attempt" || kind == "submitted" || kind == "start" || kind == "stop" ||
         kind == "beat" || kind == "again" || kind.starts_with("off-");
}

template <class T>
void place(std::vector<std::optional<T>>& list, int64_t at, std::optional<T> value) {
  if (static_cast<int64_t>(list.size()) <= at) list.resize(static_cast<size_t>(at) + 1);
  list[static_cast<size_t>(at)] = std::move(value);
}

}  // namespace

void to_json(Json& json, const Beat& beat) {
  json = {{"by", beat.by}, {"time", beat.time}, {"restart", beat.restart}};
  if (beat.stop) json["stop"] = *beat.stop;
}
void from_json(const Json& json, Beat& beat) {
  beat.by = json.value("by", ProcessName{});
  beat.time = json.value("time", 0.0);
  beat.restart = json.value("restart", int64_t{0});
  if (json.contains("stop")) beat.stop = json["stop"].get<Stop>();
}

bool create_once(const std::string& path, const std::string& text) {
  if (path_exists(path)) return false;
  const std::string own = private_name(path);
  atomic_write_text(own, text);
  int failed = ::link(own.c_str(), path.c_str()) == 0 ? 0 : errno;
  // Over NFS the reply to a link that was made may be lost: the count of names says whether it was.
  struct stat status;
  const bool made = failed == 0 || (::stat(own.c_str(), &status) == 0 && status.st_nlink == 2);
  ::unlink(own.c_str());
  if (!made && (failed == EPERM || failed == EOPNOTSUPP || failed == ENOSYS)) {
    // A file system without hard links: the name is made exclusively, and then written.
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    failed = file < 0 ? errno : 0;
    if (file >= 0) {
      const auto bytes = ::write(file, text.data(), text.size());
      failed = bytes == static_cast<ssize_t>(text.size()) ? 0 : bytes < 0 ? errno : ENOSPC;
      ::close(file);
      if (failed == 0) return true;
      ::unlink(path.c_str());
    }
  }
  DISSENT_CHECK(made || failed == EEXIST, kData, "{}: cannot create: {}", path,
                std::strerror(failed));
  return made;
}

void replace(const std::string& path, const std::string& text) {
  const std::string own = private_name(path);
  atomic_write_text(own, text);
  DISSENT_CHECK(::rename(own.c_str(), path.c_str()) == 0, kData, "{}: cannot replace: {}", path,
                std::strerror(errno));
}

double lease_s() {
  const char* text = std::getenv("DISSENT_JOBS_LEASE_S");
  const double value = text ? std::atof(text) : 0;
  return value > 0 ? value : 60;
}

std::string job_folder(const std::string& state, const std::string& key) {
  return state + "/" + key;
}

JobState read_state(const std::string& folder) {
  JobState state;
  std::vector<FileName> names;
  std::error_code ignored;
  for (std::filesystem::directory_iterator at(folder, ignored), end; !ignored && at != end;
       at.increment(ignored)) {
    const auto name = parse_name(at->path().filename().string());
    if (!is_state(name.kind)) continue;
    names.push_back(name);
    state.number = std::max(state.number, name.number);
  }
  for (const auto& name : names) {
    if (name.number != state.number) continue;
    const auto path = path_of(folder, name.kind.c_str(), name.number, name.restart);
    if (name.kind == "attempt") state.attempt = read_record<Attempt>(path);
    if (name.kind == "submitted") state.submitted = read_record<std::string>(path).value_or("");
    if (name.kind == "start")
      place(state.starts, std::max<int64_t>(0, name.restart), read_record<Start>(path));
    if (name.kind == "stop")
      place(state.stops, std::max<int64_t>(0, name.restart), read_record<Stop>(path));
    if (name.kind == "again") state.again = true;
    if (name.kind.starts_with("off-")) state.off.insert(name.kind.substr(4));
    if (name.kind == "beat") state.beat = read_record<Beat>(path);
  }
  return state;
}

bool JobState::abandoned() const {
  return std::any_of(starts.begin(), starts.end(),
                     [](const auto& start) { return start && start->abandoned; });
}

bool JobState::begun() const { return (!starts.empty() && !abandoned()) || beat; }

std::optional<Stop> JobState::end() const {
  for (const auto& stop : stops)
    if (stop && stop->is_final) return stop;
  if (beat && beat->stop && beat->stop->is_final) return beat->stop;
  return std::nullopt;
}

bool JobState::alive() const {
  const Start* start = last_start();
  const auto last = static_cast<int64_t>(starts.size()) - 1;
  const bool newer = start && !start->abandoned && starts.back() && (!beat || last > beat->restart);
  if (!newer && beat && beat->stop) return false;
  if (newer && last < static_cast<int64_t>(stops.size()) && stops.back()) return false;
  if (!beat && !newer) return false;
  const auto known = is_alive(newer ? start->by : beat->by);
  return known.value_or(now_s() - (newer ? start->time : beat->time) < lease_s());
}

const Start* JobState::last_start() const {
  for (auto at = starts.rbegin(); at != starts.rend(); ++at)
    if (*at) return &**at;
  return nullptr;
}

double JobState::wall_without_end_s() const {
  const size_t last = starts.size();
  if (last == 0 || !starts.back() || stops.size() >= last || !beat ||
      beat->restart + 1 != static_cast<int64_t>(last))
    return 0;
  return std::max(0.0, beat->time - starts.back()->time);
}

// The last start knows of those before it; where its file is gone, the ends that were written say
// most of it.
double JobState::wall_s() const {
  double before = 0, last = wall_without_end_s();
  for (size_t r = 0; r < stops.size(); ++r) {
    if (!stops[r]) continue;
    if (r + 1 >= starts.size())
      last += stops[r]->wall_s;
    else
      before += stops[r]->wall_s;
  }
  if (!starts.empty() && starts.back()) before = std::max(before, starts.back()->wall_before_s);
  return (attempt ? attempt->wall_before_s : 0) + before + last;
}

int64_t JobState::failures() const {
  int64_t count = 0;
  const bool running = alive();
  for (size_t r = 0; r < std::max(starts.size(), stops.size()); ++r) {
    const bool last = r + 1 >= starts.size();
    if (r < stops.size() && stops[r])
      count += stops[r]->reason == "failed";
    else if (!(last && running))
      ++count;  // it was lost
  }
  return count;
}

bool claim(const std::string& folder, const Attempt& attempt) {
  make_folder(folder);
  return create_once(path_of(folder, "attempt", attempt.number), text_of(attempt));
}
bool put_start(const std::string& folder, int64_t number, int64_t restart, const Start& start) {
  return create_once(path_of(folder, "start", number, restart), text_of(start));
}
bool put_stop(const std::string& folder, int64_t number, int64_t restart, const Stop& stop) {
  return create_once(path_of(folder, "stop", number, restart), text_of(stop));
}
bool put_submitted(const std::string& folder, int64_t number, const std::string& slurm_job) {
  return create_once(path_of(folder, "submitted", number), text_of(slurm_job));
}
void put_beat(const std::string& folder, int64_t number, const Beat& beat) {
  replace(path_of(folder, "beat", number), text_of(beat));
}

bool put_again(const std::string& folder, int64_t number) {
  make_folder(folder);
  return create_once(path_of(folder, "again", number), text_of(this_process()));
}
bool put_off(const std::string& folder, int64_t number, const std::string& sheet_mark) {
  make_folder(folder);
  return create_once(path_of(folder, ("off-" + sheet_mark).c_str(), number),
                     text_of(this_process()));
}
bool asked_again(const Job& job, const JobState& state) {
  return state.again || (job.set_to_run && state.off.contains(job.sheet_mark));
}

bool abandon(const std::string& folder, int64_t number) {
  return put_start(folder, number, 0,
                   {.by = this_process(), .time = now_s(), .slurm_job = {}, .abandoned = true});
}

Attempt attempt_of(const Job& job, int64_t number, const std::string& sheet,
                   const std::string& backend, bool again) {
  Attempt attempt{
      .number = number,
      .key = job.key,
      .name = job.name,
      .verb = job.verb,
      .sheet = sheet.empty() ? "" : std::filesystem::absolute(sheet).lexically_normal().string(),
      .directory = std::filesystem::current_path().string(),
      .command = job.command(),
      .runs = job.resolution.runs,
      .inputs = job.resolution.inputs,
      .after = job.after,
      .ranks = job.ranks,
      .threads = job.threads,
      .gpus = job.gpus,
      .retries = job.retries,
      .stage = job.stage,
      .again = again,
      .backend = backend,
      .batch = {},
      .index = -1,
      .signal_s = job.signal_s,
      .wall_before_s = 0,
      .by = this_process(),
      .time = now_s()};
  // The other verbs replace what they write when they are done.
  if (!again || (job.verb != "train" && job.verb != "cache" && job.verb != "evaluate"))
    return attempt;
  attempt.command.emplace_back("--again");
  for (auto& run : attempt.runs) run = again_path(run);
  return attempt;
}

}  // namespace dissent::jobs
