// What the folder of a job and that of a run say, whichever program wrote or truncated their files.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>

#include "fuzz.hpp"
#include "jobs/progress.hpp"
#include "jobs/queue.hpp"
#include "jobs/state.hpp"

using namespace dissent;

DISSENT_FUZZ(job_state, kOwn, "\"number\":", "\"command\":", "\"by\":", "\"host\":", "\"pid\":",
             "\"started\":", "\"time\":", "\"restart\":", "\"stop\":", "\"code\":", "\"reason\":",
             "\"is_final\":", "\"abandoned\":", "true", "null", "{", "[", "\"123_4\"", "1e999") {
  const auto folder = fuzz::folder() + "/job";
  std::filesystem::create_directory(folder);
  for (const char* name :
       {"attempt.1", "submitted.1", "start.1.0", "start.1.1", "stop.1.0", "beat.1"})
    fuzz::file_of(input, std::string("job/") + name);
  const auto state = jobs::read_state(folder);
  fuzz::use(state.submitted);
  if (state.attempt) fuzz::use(state.attempt->key);
  if (const auto end = state.end()) fuzz::use(std::to_string(static_cast<int>(end->reason)));
  fuzz::use(std::to_string(state.wall_s() + static_cast<double>(state.failures())));
  fuzz::use(state.alive() && state.begun() && !state.abandoned() ? "a" : "");
}

// The names of the files in a job's folder, one a line; each holds a start.
DISSENT_FUZZ(job_names, kOwn, "attempt.", "submitted.", "start.", "stop.", "beat.", "again.",
             "off-a.", "9223372036854775807", ".0", ".1", "-1") {
  const auto folder = fuzz::folder() + "/names";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  int64_t files = 0;
  for (size_t at = 0; at < input.size() && files < 32; ++files) {
    const auto end = std::min(input.find('\n', at), input.size());
    const auto name = input.substr(at, std::min<size_t>(end - at, 200));
    at = end + 1;
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos)
      continue;
    fuzz::file_of("{\"time\": 1}", "names/" + name);
  }
  const auto state = jobs::read_state(folder);
  fuzz::use(std::to_string(state.wall_s() + static_cast<double>(state.failures())));
  fuzz::use(state.alive() ? "a" : "");
}

DISSENT_FUZZ(run_folder, kOwn, "\"epoch\":", "\"epochs\":", "\"steps\":", "\"state\":", "finished",
             "failed", "\"error\":", "epoch,loss\n", "dissent: ", "level=info", "{", "}", "\n") {
  const auto folder = fuzz::folder() + "/run";
  std::filesystem::create_directory(folder);
  for (const char* name :
       {"progress.json", "provenance.json", "train.csv", "heartbeat.0", "stderr.txt"})
    fuzz::file_of(input, std::string("run/") + name);
  const auto progress = jobs::read_progress({folder});
  fuzz::use(progress.error);
  fuzz::use(jobs::last_error_line(folder + "/stderr.txt"));
}

DISSENT_FUZZ(batch, kOwn, "[", "]", "{", "\"folder\":", "\"number\":", "\"") {
  for (const auto& entry : jobs::read_batch(fuzz::file_of(input, "batch.json")))
    fuzz::use(entry.folder);
}
