#include "cli/jobs_cost.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>

#include "core/process.hpp"
#include "core/program_paths.hpp"
#include "jobs/progress.hpp"
#include "jobs/status.hpp"
#include "storage/atomic_file.hpp"

namespace dissent::cli {
namespace {

using Json = nlohmann::json;

// The grid with this number of ranks in plan's report, or nullptr. plan reports the configuration's
// own grid first, on one rank, which is the same for a job with one rank.
const Json* grid_of(const Json& report, int64_t ranks) {
  for (const auto& grid : report.at("grids"))
    if (grid.value("ranks", int64_t{0}) == ranks && !grid.contains("problem")) return &grid;
  return nullptr;
}

std::string last_line(const std::string& text) {
  // The error line of the program; its log is on stderr too.
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const auto line = text.substr(at, end - at);
    if (line.starts_with("dissent: ")) out = line.substr(9);
    at = end + 1;
  }
  return out;
}

std::string cost_text(const Json& report, const jobs::Job& job) {
  // The keys are those of plan::report_json.
  const auto* grid = grid_of(report, job.ranks);
  if (!grid) return fmt::format("plan found no grid of {} ranks\n", job.ranks);
  std::string text = fmt::format("{} memory per rank, {} data per node, checkpoint {}",
                                 byte_text(grid->at("memory").at("rank").get<int64_t>()),
                                 byte_text(grid->at("memory").at("data_node").get<int64_t>()),
                                 byte_text(grid->at("storage").at("checkpoint").get<int64_t>()));

  // A set that does not exist yet has no number of steps per epoch.
  if (grid->contains("time") && !grid->at("time").contains("epoch_s"))
    text += fmt::format(", {:.3g} s per step (number of images unknown)",
                        grid->at("time").at("step_s").get<double>());
  else if (grid->contains("time"))
    text += fmt::format(", {} per epoch, {} in total",
                        jobs::duration_text(grid->at("time").at("epoch_s").get<double>()),
                        jobs::duration_text(grid->at("time").at("total_s").get<double>()));
  return text + "\n";
}

// "key=value" of a number that does not change the cost: a loss weight or a learning rate.
bool is_rate(const std::string& text) {
  const auto key = text.substr(0, text.find('='));
  return (key.starts_with("loss.") &&
          (key.ends_with(".weight") || key.ends_with(".alpha") || key.ends_with(".beta"))) ||
         key.ends_with(".learning_rate");
}

// The cost of a training that plan reports, or why there is none. known: costs of earlier jobs.
std::string cost_of(const jobs::Job& job, bool times, std::map<std::string, std::string>& known) {
  // `dissent plan` is a program of its own: it uses LibTorch, measures alone on the machine, and a
  // configuration that it refuses must not end the dry run.
  if (jobs::verb_kind(job.verb) != jobs::VerbKind::kTrain) return "no cost model for this verb\n";
  std::vector<std::string> argv{front_program(), "plan",    job.config,
                                "--json",        "--ranks", std::to_string(job.ranks),
                                "--own-grid"};

  // Settings that do not change the cost are left out of the name under which it is kept.
  std::string kept_under = fmt::format("{} {}", job.config, job.ranks);
  for (const auto& text : job.overrides) {
    argv.insert(argv.end(), {"--set", text});
    if (text.starts_with("seeds=") || text.starts_with("experiment=") ||
        text.starts_with("output="))
      continue;
    kept_under += "\n" + (is_rate(text) ? text.substr(0, text.find('=')) : text);
  }

  // Five seeds of one configuration have one cost.
  auto& cost = known[kept_under];
  if (!cost.empty()) return cost;

  if (times)
    argv.insert(argv.end(), {"--seconds", "0.5"});
  else
    argv.emplace_back("--no-calibration");

  // A sheet is shown even if the cost of a row is unknown, so nothing is thrown here.
  const auto output = run_captured(argv, 300);
  try {
    if (output.code == 0) cost = cost_text(Json::parse(output.out), job);
  } catch (const Json::exception& error) {
    cost = fmt::format("unknown: cannot parse the report of plan: {}\n", error.what());
  }
  if (cost.empty()) cost = fmt::format("unknown: {}\n", last_line(output.err));
  return cost;
}

}  // namespace

std::string dry_run(const std::vector<jobs::Job>& jobs, const std::vector<jobs::Job>& all,
                    const std::map<std::string, std::string>& grids, Costs shown) {
  // Dependencies are keys, which mean nothing to the user: they are shown by their rows' names.
  std::string text;
  std::map<std::string, std::string> names, costs;
  for (const auto& job : all) names[job.key] = job.name;
  int64_t count = 0;
  for (const auto& job : jobs) {
    if (!job.enabled) continue;

    // The command as one would type it, to try a row by hand.
    ++count;
    std::vector<std::string> argv{"dissent"};
    const auto command = job.command();
    argv.insert(argv.end(), command.begin(), command.end());
    if (job.ranks > 1) argv.insert(argv.begin(), {"mpirun", "-n", std::to_string(job.ranks)});

    const auto grid = grids.find(job.key);
    text += fmt::format("{}  ({})\n  {}\n  {} ranks x {} threads{}{}\n", job.name, job.key,
                        shell_text(argv), job.ranks, job.threads,
                        job.gpus > 0 ? fmt::format(", {} GPUs", job.gpus) : "",
                        grid == grids.end() ? "" : ", grid " + grid->second);

    std::vector<std::string> after;
    for (const auto& key : job.after) after.push_back(names.at(key));
    if (!after.empty()) text += fmt::format("  after {}\n", fmt::join(after, ", "));
    if (!job.slurm.empty()) text += fmt::format("  sbatch {}\n", shell_text(job.slurm));
    if (shown != Costs::kNone) text += "  " + cost_of(job, shown == Costs::kTimes, costs);
  }
  return text + fmt::format("{} jobs\n", count);
}

}  // namespace dissent::cli
