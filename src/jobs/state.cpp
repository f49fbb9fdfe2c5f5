#include "jobs/state.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <dissent/error.hpp>
#include <nlohmann/json.hpp>

#include "core/enum_names.hpp"
#include "core/stop.hpp"
#include "storage/atomic_file.hpp"
#include "storage/json_record.hpp"

namespace dissent {

// In the namespace of ProcessId, where nlohmann's argument-dependent lookup finds it.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(ProcessId, host, pid, started);

}  // namespace dissent

namespace dissent::jobs {
namespace {

constexpr EnumName<EndReason> kEndReasons[] = {{EndReason::kUnknown, ""},
                                               {EndReason::kDone, "done"},
                                               {EndReason::kFailed, "failed"},
                                               {EndReason::kTimeLimit, "time limit"},
                                               {EndReason::kTerminated, "terminated"},
                                               {EndReason::kCancelled, "cancelled"},
                                               {EndReason::kLost, "lost"}};

constexpr EnumName<Backend> kBackends[] = {{Backend::kUnknown, ""},
                                           {Backend::kLocal, "local"},
                                           {Backend::kSlurm, "slurm"},
                                           {Backend::kPack, "pack"}};

}  // namespace

// Words of a newer program are read as "unknown".
void to_json(nlohmann::json& json, EndReason reason) { json = name_in(kEndReasons, reason); }
void from_json(const nlohmann::json& json, EndReason& reason) {
  reason = value_in(kEndReasons, json.get<std::string>()).value_or(EndReason::kUnknown);
}
void to_json(nlohmann::json& json, Backend backend) { json = name_in(kBackends, backend); }
void from_json(const nlohmann::json& json, Backend& backend) {
  backend = value_in(kBackends, json.get<std::string>()).value_or(Backend::kUnknown);
}

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

// A temporary name that no other process uses.
std::string private_name(const std::string& path) {
  static std::atomic<int64_t> count{0};
  const auto own = this_process();
  return fmt::format("{}.{}.{}.{}.tmp", path, own.host, own.pid, count++);
}

// Nothing if the file does not exist or is not such a record.
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

// The kinds of state files, by the first part of their names.
enum class FileKind { kAttempt, kSubmitted, kStart, kStop, kBeat, kAgain, kOff };
constexpr EnumName<FileKind> kFileKinds[] = {
    {FileKind::kAttempt, "attempt"}, {FileKind::kSubmitted, "submitted"},
    {FileKind::kStart, "start"},     {FileKind::kStop, "stop"},
    {FileKind::kBeat, "beat"},       {FileKind::kAgain, "again"}};
constexpr const char* kOffPrefix = "off-";

// Starts of an attempt are kept in a list by their number: a file of a larger number is not a
// start.
constexpr int64_t kMaxRestarts = 100000;

// "start.3.1" -> kStart, attempt 3, start 1; "off-0a1b.3" -> kOff, mark "0a1b".
struct FileName {
  FileKind kind = FileKind::kAttempt;
  std::string mark;  // kOff: of the sheet
  int64_t number = -1, restart = -1;
};

// Nothing for other names, such as those that a copy of a folder leaves.
std::optional<FileName> parse_name(const std::string& name) {
  const auto dot = name.find('.');
  if (dot == std::string::npos) return std::nullopt;

  // The kind. Other files of the folder (stderr.txt, exit, scripts) have names of other forms.
  FileName out;
  const auto word = name.substr(0, dot);
  if (const auto kind = value_in(kFileKinds, word)) {
    out.kind = *kind;
  } else if (word.starts_with(kOffPrefix)) {
    out.kind = FileKind::kOff;
    out.mark = word.substr(std::strlen(kOffPrefix));
  } else {
    return std::nullopt;
  }

  // A number behind the dot, and maybe a second one; anything else is another program's file.
  const char* end = name.data() + name.size();
  const auto first = std::from_chars(name.data() + dot + 1, end, out.number);
  if (first.ec != std::errc()) return std::nullopt;
  if (first.ptr == end) return out;
  if (*first.ptr != '.') return std::nullopt;

  const auto second = std::from_chars(first.ptr + 1, end, out.restart);
  const bool fits = second.ec == std::errc() && second.ptr == end && out.restart <= kMaxRestarts;
  return fits ? std::optional(out) : std::nullopt;
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
  beat.by = json.value("by", ProcessId{});
  beat.time = json.value("time", 0.0);
  beat.restart = json.value("restart", int64_t{0});
  if (json.contains("stop")) beat.stop = json["stop"].get<Stop>();
}

namespace {

// For file systems without hard links: the name is created exclusively, and written afterwards.
// Returns errno, 0 if the file was created.
int create_exclusively(const std::string& path, const std::string& text) {
  // O_EXCL fails for all processes but one. Readers may see the file before its text is complete,
  // so this is used only where link(2) is missing.
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file < 0) return errno;

  const auto bytes = ::write(file, text.data(), text.size());
  const bool complete = bytes == static_cast<ssize_t>(text.size());
  const int failed = complete ? 0 : bytes < 0 ? errno : ENOSPC;
  ::close(file);
  if (!complete) ::unlink(path.c_str());
  return failed;
}

}  // namespace

bool create_once(const std::string& path, const std::string& text) {
  if (path_exists(path)) return false;

  // The file is written under another name first, so that it appears complete. link(2) fails for
  // all processes but one.
  const std::string own = private_name(path);
  atomic_write_text(own, text);
  int failed = ::link(own.c_str(), path.c_str()) == 0 ? 0 : errno;

  // Over NFS the reply to a successful link may be lost: the number of links tells the truth.
  struct stat status;
  bool made = failed == 0 || (::stat(own.c_str(), &status) == 0 && status.st_nlink == 2);
  ::unlink(own.c_str());

  const bool no_links = failed == EPERM || failed == EOPNOTSUPP || failed == ENOSYS;
  if (!made && no_links) {
    failed = create_exclusively(path, text);
    made = failed == 0;
  }
  DISSENT_CHECK(made || failed == EEXIST, kData, "{}: cannot create: {}", path,
                std::strerror(failed));
  return made;
}

void replace(const std::string& path, const std::string& text) {
  // rename(2) replaces the file at once: readers see the old text or the new one.
  const std::string own = private_name(path);
  atomic_write_text(own, text);
  DISSENT_CHECK(::rename(own.c_str(), path.c_str()) == 0, kData, "{}: cannot replace: {}", path,
                std::strerror(errno));
}

const char* end_name(EndReason reason) { return name_in(kEndReasons, reason); }

double lease_s() {
  const char* text = std::getenv("DISSENT_JOBS_LEASE_S");
  const double value = text ? std::atof(text) : 0;
  return value > 0 ? value : 60;
}

std::string job_folder(const std::string& state, const std::string& key) {
  return state + "/" + key;
}

namespace {

// Adds what one file of the newest attempt says.
void read_file(JobState& state, const std::string& folder, const FileName& name) {
  // Each kind of file fills one part of the state; a file that cannot be read counts as missing.
  const auto path = [&] {
    return path_of(folder, name_in(kFileKinds, name.kind), name.number, name.restart);
  };
  const auto restart = std::max<int64_t>(0, name.restart);

  switch (name.kind) {
    case FileKind::kAttempt: state.attempt = read_record<Attempt>(path()); break;
    case FileKind::kSubmitted:
      state.submitted = read_record<std::string>(path()).value_or("");
      break;
    case FileKind::kStart: place(state.starts, restart, read_record<Start>(path())); break;
    case FileKind::kStop: place(state.stops, restart, read_record<Stop>(path())); break;
    case FileKind::kBeat: state.beat = read_record<Beat>(path()); break;
    case FileKind::kAgain: state.again = true; break;
    case FileKind::kOff: state.off.insert(name.mark); break;
  }
}

}  // namespace

JobState read_state(const std::string& folder) {
  // Read without a lock: each file appears or is replaced at once, so what is read is a state that
  // the job was in, or is in now.
  JobState state;
  std::vector<FileName> names;
  std::error_code ignored;
  for (std::filesystem::directory_iterator at(folder, ignored), end; !ignored && at != end;
       at.increment(ignored)) {
    const auto name = parse_name(at->path().filename().string());
    if (!name) continue;
    names.push_back(*name);
    state.number = std::max(state.number, name->number);
  }

  // Files of earlier attempts are history; only the newest attempt decides.
  for (const auto& name : names)
    if (name.number == state.number) read_file(state, folder, name);
  return state;
}

bool JobState::abandoned() const {
  return std::any_of(starts.begin(), starts.end(),
                     [](const auto& start) { return start && start->abandoned; });
}

bool JobState::begun() const { return (!starts.empty() && !abandoned()) || beat; }

std::optional<Stop> JobState::end() const {
  // The stop file, or the last heartbeat, which records the end too: on a full disk one of the two
  // may be missing.
  for (const auto& stop : stops)
    if (stop && stop->is_final) return stop;
  if (beat && beat->stop && beat->stop->is_final) return beat->stop;
  return std::nullopt;
}

bool JobState::is_done() const {
  const auto stop = end();
  return stop && stop->reason == EndReason::kDone;
}

bool JobState::alive() const {
  // The start file is written before the first heartbeat of that start.
  const Start* start = last_start();
  const auto last = static_cast<int64_t>(starts.size()) - 1;
  const bool newer = start && !start->abandoned && starts.back() && (!beat || last > beat->restart);

  const bool stopped = newer ? last < static_cast<int64_t>(stops.size()) && stops.back()
                             : !beat || beat->stop.has_value();
  if (stopped) return false;

  // On this host the process table tells; elsewhere the age of the heartbeat.
  const auto known = is_alive(newer ? start->by : beat->by);
  return known.value_or(now_s() - (newer ? start->time : beat->time) < lease_s());
}

const Start* JobState::last_start() const {
  for (auto at = starts.rbegin(); at != starts.rend(); ++at)
    if (*at) return &**at;
  return nullptr;
}

double JobState::wall_without_end_s() const {
  // For a start without a recorded end: from its start to its last heartbeat. Times of both are
  // of the same process, so clocks of different hosts do not matter.
  const size_t last = starts.size();
  if (last == 0 || !starts.back() || stops.size() >= last || !beat ||
      beat->restart + 1 != static_cast<int64_t>(last))
    return 0;
  return std::max(0.0, beat->time - starts.back()->time);
}

// The file of the last start holds the wall time of those before it. If it was deleted, the sum
// over the recorded ends is the best estimate; lost starts are missing from it.
double JobState::wall_s() const {
  // The end of the last start has its own wall time, which is not part of wall_before_s.
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
  // A start without a recorded end was lost, unless it is the last one and its process lives.
  int64_t count = 0;
  const bool running = alive();
  for (size_t r = 0; r < std::max(starts.size(), stops.size()); ++r) {
    const bool last = r + 1 >= starts.size();
    if (r < stops.size() && stops[r])
      count += stops[r]->reason == EndReason::kFailed;
    else if (!(last && running))
      ++count;
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
bool to_run_again(const Job& job, const JobState& state) {
  return state.again || (job.set_to_run && state.off.contains(job.sheet_mark));
}

bool abandon(const std::string& folder, int64_t number) {
  // Takes the first start's file, so that a late process cannot begin the attempt: both create
  // the same name.
  return put_start(folder, number, 0,
                   {.by = this_process(), .time = now_s(), .slurm_job = {}, .abandoned = true});
}

Attempt attempt_of(const Job& job, int64_t number, const std::string& sheet, Backend backend,
                   bool again) {
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

  // The other verbs have no --again: they replace their output when they are done.
  const bool has_again = can_be_stopped(job.verb, "");
  if (!again || !has_again) return attempt;

  attempt.command.emplace_back("--again");
  for (auto& run : attempt.runs) run = again_path(run);
  return attempt;
}

}  // namespace dissent::jobs
