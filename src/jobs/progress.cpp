#include "jobs/progress.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <exception>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/enum_names.hpp"
#include "storage/atomic_file.hpp"
#include "storage/csv.hpp"
#include "storage/json_record.hpp"
#include "storage/run_folder.hpp"

namespace dissent::jobs {
namespace {

using Json = nlohmann::json;

// A run may be rewriting or deleting its files: a file that cannot be read now is left out.
Json read_json(const std::string& path) {
  std::ifstream file(path);
  return file ? parse_record(file, false) : Json();
}

double modified_s(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 ? static_cast<double>(status.st_mtim.tv_sec) +
                                                  1e-9 * static_cast<double>(status.st_mtim.tv_nsec)
                                            : 0;
}

std::map<std::string, std::string> last_line(const std::string& path) {
  std::map<std::string, std::string> out;

  // A line that is being written has too few fields and is not shown.
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  try {
    const auto records = parse_csv(text, path);
    if (records.size() < 2 || records.back().fields.size() != records[0].fields.size()) return out;
    for (size_t i = 0; i < records[0].fields.size(); ++i)
      out[records[0].fields[i]] = records.back().fields[i];
  } catch (const std::exception&) {
    out.clear();
  }
  return out;
}

template <class T>
T field(const Json& json, const char* name, T fallback) {
  const bool exists = json.is_object() && json.contains(name);
  try {
    return exists ? json[name].get<T>() : fallback;
  } catch (const Json::exception&) {
    return fallback;
  }
}

// Steps of the current epoch, from heartbeat.0: "<seconds> <epoch> <step> <host> <state>".
void read_steps(const std::string& run, int64_t steps, Progress& progress) {
  std::ifstream file(run + "/" + heartbeat_name(0));
  int64_t epoch = 0, step = 0;
  double time = 0;

  // Both files are written at different times: steps of an epoch other than that of progress.json
  // would give a wrong estimate.
  if (!(file >> time >> epoch >> step) || epoch != progress.epoch || step > steps) return;
  progress.step = step;
  progress.steps = steps;
  progress.step_time = time;
}

}  // namespace

Progress read_progress(const std::vector<std::string>& runs) {
  // Runs that have not begun have no files and count as 0 epochs, so that the sum is the progress
  // of the whole job.
  Progress progress;
  int64_t finished = 0, epochs = 0;
  for (const auto& run : runs) {
    const auto own = read_json(run + "/" + kProgressFile),
               provenance = read_json(run + "/" + kProvenanceFile);
    progress.epoch += field<int64_t>(own, "epoch", 0);
    epochs = std::max(epochs, field<int64_t>(own, "epochs", 0));
    progress.time = std::max(progress.time, modified_s(run + "/" + kProgressFile));

    const auto status = value_in(kRunStatusNames, field<std::string>(provenance, "state", ""));
    finished += status == RunStatus::kFinished;
    if (status == RunStatus::kFailed && progress.error.empty())
      progress.error = field<std::string>(provenance, "error", "");
    if (progress.last.empty()) progress.last = last_line(run + "/" + kTrainLogFile);
    if (runs.size() == 1) read_steps(run, field<int64_t>(own, "steps", 0), progress);
  }

  // Over all runs (seeds) of the job: epochs add up, and it is finished when all are.
  progress.epochs = epochs * static_cast<int64_t>(runs.size());
  progress.finished = !runs.empty() && finished == static_cast<int64_t>(runs.size());
  return progress;
}

namespace {

// A message of a launcher about the end of a rank, which does not tell the reason. Open MPI's
// messages are between lines of dashes; its stack traces and Slurm's lines begin with a prefix.
bool is_of_launcher(const std::string& line) {
  for (const char* start :
       {"srun: ", "slurmstepd: ", "mpirun: ", "mpirun noticed that ", "mpirun has exited ",
        "mpirun detected ", "prterun noticed that ", "prterun has exited ", "prterun detected ",
        "PMI", "===   BAD TERMINATION", "application called MPI_Abort", "*** Error in MPI_",
        "In: PMI_Abort"})
    if (line.starts_with(start)) return true;
  const auto bracket =
      line.find("] ");  // "[n1:1234] *** Process received signal ***", "[n1:1234] [ 0] lib"
  return line.starts_with("[") && bracket != std::string::npos && line.find(':') < bracket;
}

bool is_rule(const std::string& line) {
  return line.size() >= 40 && line.find_first_not_of('-') == std::string::npos;
}

}  // namespace

std::string last_error_line(const std::string& path, int64_t offset) {
  // The end of the log is enough, and logs may be large.
  constexpr int64_t kMost = 1 << 16;
  std::ifstream file(path, std::ios::binary);
  file.seekg(std::max(offset, file_bytes(path) - kMost));

  std::string line, last, ours;
  bool in_message = false;
  while (std::getline(file, line)) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();

    // Text between two rules is a message of Open MPI. A line of this program ends it in any case:
    // ranks and launcher write at the same time, and the second rule may be missing.
    if (is_rule(line)) in_message = !in_message;
    if (line.starts_with("dissent: ")) in_message = false;
    if (in_message || line.find_first_not_of(" \t-") == std::string::npos || is_of_launcher(line) ||
        line.find("level=info") != std::string::npos ||
        line.find("level=warning") != std::string::npos)
      continue;

    // A message of this program tells more than a later one of a library.
    last = line;
    if (line.starts_with("dissent: ")) ours = line.substr(9);
  }
  return ours.empty() ? last : ours;
}

int64_t file_bytes(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 ? status.st_size : 0;
}

}  // namespace dissent::jobs
