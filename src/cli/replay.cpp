#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "build_info.hpp"
#include "cli/compute.hpp"
#include "core/enum_names.hpp"
#include "core/process.hpp"
#include "core/program_paths.hpp"
#include "storage/atomic_file.hpp"
#include "storage/checkpoint.hpp"
#include "storage/csv.hpp"
#include "storage/run_folder.hpp"

namespace dissent::cli {
namespace {

namespace fs = std::filesystem;

// What a run has recorded about itself.
struct Record {
  std::string folder, config;
  nlohmann::json provenance;
  int64_t members = 1, data = 1, threads = 1;
  std::string device;
};

Record read_record(const std::string& folder) {
  Record record{folder, folder + "/" + kConfigFile, {}, 1, 1, 1, ""};
  try {
    record.provenance = nlohmann::json::parse(read_text(folder + "/" + kProvenanceFile));
    record.members = record.provenance.at("grid").at("members");
    record.data = record.provenance.at("grid").at("data");

    // Runs of earlier versions have the key threads_a_rank.
    const bool earlier = !record.provenance.contains("threads_per_rank");
    record.threads = record.provenance.at(earlier ? "threads_a_rank" : "threads_per_rank");
    record.device = record.provenance.at("device");

    // An interrupted run has no result to compare with.
    const auto state = record.provenance.at("state").get<std::string>();
    DISSENT_CHECK(value_in(kRunStatusNames, state) == RunStatus::kFinished, kData,
                  "{}: expected a finished run, found state {}", folder, state);
  } catch (const nlohmann::json::exception& error) {
    DISSENT_FAIL(kData, "{}/{}: {}", folder, kProvenanceFile, error.what());
  }
  return record;
}

// Counts differences and prints the first few of each part.
class Comparison {
 public:
  explicit Comparison(double tolerance) : tolerance_(tolerance) {}

  void begin(std::string part) {
    part_ = std::move(part);
    shown_ = 0;
  }
  void note(const std::string& text) {
    ++count_;
    if (++shown_ <= 10) fmt::print("  {}{}\n", part_, text);
    if (shown_ == 11) fmt::print("  ...\n");
  }
  void compare(const std::string& what, const std::string& before, const std::string& now) {
    if (before != now) note(fmt::format("{}: {} before, {} now", what, before, now));
  }
  void compare(const std::string& name, const at::Tensor& before, const at::Tensor& now) {
    if (before.sizes() != now.sizes() || before.dtype() != now.dtype())
      return note(fmt::format("{}: the shape or type differs", name));
    const auto bytes = static_cast<size_t>(before.nbytes());
    if (std::memcmp(before.const_data_ptr(), now.const_data_ptr(), bytes) == 0) return;

    // Not the same bits: by how much, relative to the largest value of the tensor.
    const auto a = before.to(at::kDouble), b = now.to(at::kDouble);
    const double scale = std::max(a.abs().max().item<double>(), 1e-300),
                 worst = (a - b).abs().max().item<double>() / scale;
    worst_ = std::max(worst_, std::isnan(worst) ? std::numeric_limits<double>::infinity() : worst);
    if (!(worst <= tolerance_))
      note(fmt::format("{}: differs by {:.3g} of its largest value, in {} of {} values", name,
                       worst, a.ne(b).sum().item<int64_t>(), a.numel()));
  }
  int64_t count() const { return count_; }
  double worst() const { return worst_; }

 private:
  double tolerance_, worst_ = 0;
  std::string part_;  // before each line
  int64_t count_ = 0, shown_ = 0;
};

at::Tensor whole(const CheckpointReader& file, const std::string& name) {
  return file.read_slab(name, 0, file.shape(name)[0]);
}

void compare_checkpoints(const std::string& before, const std::string& now,
                         Comparison& comparison) {
  const CheckpointReader a(before), b(now);

  // Trainings on images also have running statistics, a moving average and DICE's discriminator.
  for (const char* group : {"members", "buffers", "average", "optimizer", "discriminator"}) {
    if (!a.has(group) && !b.has(group)) continue;
    const bool both = a.has(group) && b.has(group);
    const auto names = both ? a.names(group) : std::vector<std::string>{};
    if (!both || names != b.names(group))
      comparison.note(fmt::format("{}: the datasets differ", group));
    for (const auto& name : names) {
      const auto full = fmt::format("{}/{}", group, name);
      if (b.has(full)) comparison.compare(full, whole(a, full), whole(b, full));
    }
  }
}

// Text fields have to be equal, numbers to the tolerance.
void compare_logs(const std::string& before, const std::string& now, double tolerance,
                  Comparison& comparison) {
  // Both have a line of column names first.
  const auto a = parse_csv(read_text(before), before), b = parse_csv(read_text(now), now);
  if (a.size() != b.size() || a.empty())
    return comparison.note(fmt::format("train.csv: {} lines before, {} now", a.size(), b.size()));
  if (a[0].fields != b[0].fields)
    return comparison.note(fmt::format("train.csv: columns {} before, {} now",
                                       fmt::join(a[0].fields, ","), fmt::join(b[0].fields, ",")));
  for (size_t r = 0; r < a.size(); ++r) {
    if (a[r].fields.size() != b[r].fields.size())
      comparison.note(fmt::format("train.csv: line {}: {} fields before, {} now", a[r].line,
                                  a[r].fields.size(), b[r].fields.size()));
    for (size_t c = 0; c < std::min(a[r].fields.size(), b[r].fields.size()); ++c) {
      const auto &x = a[r].fields[c], &y = b[r].fields[c];

      // The tolerance is relative to the larger of |u| and 1. What is not a number, like a column's
      // name or an empty field, has to be the same text.
      const auto u = parsed_number(x), v = parsed_number(y);
      const bool within =
          tolerance > 0 && u && v && std::abs(*u - *v) <= tolerance * std::max(std::abs(*u), 1.0);
      if (x != y && !within)
        comparison.note(fmt::format("train.csv: epoch {}, {}: {} before, {} now", a[r].fields[0],
                                    a[0].fields.at(c), x, y));
    }
  }
}

// Versions and hosts, which may explain a difference.
void print_environment(const Record& record) {
  // Only what differs: equal versions explain nothing.
  const auto& program = record.provenance["program"];
  const auto print = [](const char* what, const std::string& before, const std::string& now) {
    if (before != now) fmt::print("  {}: {} before, {} now\n", what, before, now);
  };

  print("dissent", program.value("dissent", ""), DISSENT_VERSION);
  print("commit", program.value("commit", ""), DISSENT_COMMIT);
  print("build type", program.value("build_type", ""), DISSENT_BUILD_TYPE);
  print("LibTorch", program.value("libtorch", ""), DISSENT_LIBTORCH_VERSION);
  const auto hosts = record.provenance.value("hosts", std::vector<std::string>{});
  print("hosts", fmt::format("{}", fmt::join(hosts, " ")), this_process().host);
}

// The command that trains the run again.
std::vector<std::string> train_command(const Record& record, const CommandLine& line,
                                       const std::string& output) {
  const int64_t ranks =
      line.get<int64_t>("ranks") > 0 ? line.get<int64_t>("ranks") : record.members * record.data;

  // These are options of Open MPI's mpirun; another launcher has others.
  std::vector<std::string> argv;
  if (ranks > 1) {
    const auto launcher = line.get<std::string>("mpirun");
    argv = {launcher, "-n", std::to_string(ranks)};
    if (launcher == "mpirun") argv.insert(argv.end(), {"--oversubscribe", "--bind-to", "none"});
    if (launcher == "mpirun" && geteuid() == 0) argv.emplace_back("--allow-run-as-root");
  }

  // Several runs at a time and live logging may be configured; neither changes a result.
  argv.insert(argv.end(), {front_program(), "train", record.config, "--quiet", "--set",
                           "output=" + toml_text(output), "--set", "grid.runs=1", "--wandb", "off",
                           "--set", "runtime.tensorboard=false"});

  // Another number of ranks is another split of the members, which gives the same bits; the number
  // of data ranks changes them.
  const bool as_before = ranks == record.members * record.data;
  argv.insert(
      argv.end(),
      {"--set", as_before ? fmt::format("grid.members={}", record.members) : "grid.members=auto",
       "--set", fmt::format("grid.data={}", record.data)});
  for (const auto& text : line.get<std::vector<std::string>>("set"))
    argv.insert(argv.end(), {"--set", text});
  return argv;
}

// The run folder below `output`: the only one with a checkpoint.
std::string run_folder_in(const std::string& output) {
  for (const auto& entry : fs::recursive_directory_iterator(output))
    if (entry.path().filename() == kCheckpointFile) return entry.path().parent_path().string();
  DISSENT_FAIL(kData, "{}: expected a checkpoint of the training, found none", output);
}

int compare(const Record& record, const std::string& again, double tolerance) {
  const auto now = read_record(again);
  fmt::print("{} against {}, {}:\n", again, record.folder,
             tolerance > 0 ? fmt::format("to {:.3g} of each tensor's largest value", tolerance)
                           : "bit for bit");
  Comparison comparison(tolerance);

  // Another configuration or other data would explain every difference below.
  comparison.compare("configuration", record.provenance.value("config_hash", ""),
                     now.provenance.value("config_hash", ""));
  comparison.compare("data", record.provenance.value("caches", ""),
                     now.provenance.value("caches", ""));

  compare_checkpoints(record.folder + "/" + kCheckpointFile, again + "/" + kCheckpointFile,
                      comparison);
  comparison.begin("");
  compare_logs(record.folder + "/" + kTrainLogFile, again + "/" + kTrainLogFile, tolerance,
               comparison);

  // best.h5 exists only with a validation set.
  comparison.begin(fmt::format("{}: ", kBestFile));
  const bool best_before = path_exists(record.folder + "/" + kBestFile),
             best_now = path_exists(again + "/" + kBestFile);
  if (best_before != best_now)
    comparison.note(best_before ? "exists before, not now" : "exists now, not before");
  if (best_before && best_now)
    compare_checkpoints(record.folder + "/" + kBestFile, again + "/" + kBestFile, comparison);

  if (comparison.count() == 0) {
    fmt::print("  identical{}\n", comparison.worst() > 0 ? fmt::format(": differences up to {:.3g}",
                                                                       comparison.worst())
                                                         : "");
    return 0;
  }
  fmt::print("{} differences. What else has changed:\n", comparison.count());
  print_environment(record);
  return exit_code(ErrorKind::kCheck);
}

}  // namespace

int run_replay(const CommandLine& line) {
  const auto record = read_record(line.positional()[0]);
  const std::string output = line.get<std::string>("output").empty()
                                 ? record.folder + "/replay"
                                 : line.get<std::string>("output");
  DISSENT_CHECK(!path_exists(output), kUsage,
                "{}: expected no file or folder of this name, found one; give another --output",
                output);

  // The training is a program of its own, with the recorded number of threads: this process does
  // not initialise MPI.
  make_folder(output);
  const auto argv = train_command(record, line, output);
  fmt::print(stderr, "replay: {}\n", shell_text(argv));
  const int code = wait_for_exit(start_process(
      {.argv = argv, .environment = {{"OMP_NUM_THREADS", std::to_string(record.threads)}}}));
  DISSENT_CHECK(code == 0, kData, "training: expected exit code 0, found {}", code);

  // On a GPU sums are not always added in the same order.
  const double given = line.get<double>("tolerance");
  const double usual = record.device.starts_with("cuda") ? 1e-3 : 0;
  const int result = compare(record, run_folder_in(output), given >= 0 ? given : usual);
  if (!line.flag("keep")) fs::remove_all(output);
  return result;
}

}  // namespace dissent::cli
