#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "jobs/status.hpp"
#include "storage/csv.hpp"

namespace dissent::jobs {
namespace {

std::string run_folder(const Job& job, const std::string& state_of_job) {
  return job.resolution.runs.empty() ? state_of_job : job.resolution.runs[0];
}

const std::vector<std::string>& added_columns() {
  static const std::vector<std::string> columns{"job",        "status",     "detail", "where",
                                                "run_folder", "walltime_s", "epoch"};
  return columns;
}

bool is_added(const std::string& column) {
  const auto& own = added_columns();
  return column.starts_with("last:") || std::find(own.begin(), own.end(), column) != own.end();
}

}  // namespace

bool is_status_column(const std::string& column) {
  return is_added(column) || column == kWhetherToRun;
}

namespace {

// The text as a cell of a sheet that is read again: braces are plain.
std::string cell_text(const std::string& text) {
  std::string out;
  for (const char c : text) out.append(c == '{' || c == '}' ? 2 : 1, c);
  return out;
}

// The jobs that this one waits for, by the names that they have after expansion.
std::string after_text(const Job& job, const std::vector<Job>& jobs) {
  std::vector<std::string> names;
  for (const auto& other : jobs)
    if (std::find(job.after.begin(), job.after.end(), other.key) != job.after.end())
      names.push_back(other.name);
  return fmt::format("{}", fmt::join(names, " "));
}

// The path as this call's user would write it.
std::string from_here(const std::string& path) {
  std::error_code ignored;
  const auto near =
      std::filesystem::path(path).lexically_proximate(std::filesystem::current_path(ignored));
  return near.empty() || *near.begin() == ".." ? path : near.string();
}

// A terminal shows a line a job, whatever the error message holds.
std::string one_line(std::string text, const std::string& log) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 32; }, ' ');
  if (text.size() > 200) text = text.substr(0, 200) + "...";
  return log.empty() ? text : fmt::format("{}; log: {}", text, from_here(log));
}

// "slurm 12 on n1"; of a process of this machine's own runs the host is part of it.
std::string place_text(const Status& status) {
  if (status.host.empty() || status.where.find(status.host) != std::string::npos)
    return status.where;
  return status.where.empty() ? status.host : fmt::format("{} on {}", status.where, status.host);
}

}  // namespace

std::string status_table(const std::vector<Job>& jobs, const std::vector<Status>& statuses) {
  size_t name = 4, where = 5;
  std::map<std::string, int> counts;
  for (size_t i = 0; i < jobs.size(); ++i) {
    name = std::max(name, jobs[i].name.size());
    where = std::max(where, place_text(statuses[i]).size());
    ++counts[phase_name(statuses[i].phase)];
  }
  std::string text = fmt::format("{:<{}}  {:<10}  {:>8}  {:<{}}  {}\n", "name", name, "status",
                                 "walltime", "where", where, "detail");
  for (size_t i = 0; i < jobs.size(); ++i) {
    const auto& status = statuses[i];
    const std::string wall = status.wall_s > 0 ? duration_text(status.wall_s) : "";
    std::string line = fmt::format("{:<{}}  {:<10}  {:>8}  {:<{}}  {}", jobs[i].name, name,
                                   phase_name(status.phase), wall, place_text(status), where,
                                   one_line(status.detail, status.log));
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  std::vector<std::string> sums;
  for (const auto& [phase, count] : counts) sums.push_back(fmt::format("{} {}", count, phase));
  return text + fmt::format("{} jobs: {}\n", jobs.size(), fmt::join(sums, ", "));
}

std::string status_csv(const Sheet& sheet, const std::vector<Job>& jobs,
                       const std::vector<Status>& statuses) {
  std::vector<std::string> columns, figures;
  bool named = false;
  for (const auto& column : sheet.columns) {
    if (!is_added(column)) columns.push_back(column);
    named = named || column == "name";
  }
  if (!named) columns.insert(columns.begin(), "name");
  std::set<std::string> seen;
  for (const auto& status : statuses)
    for (const auto& [figure, value] : status.progress.last)
      if (!value.empty() && figure != "epoch" && seen.insert(figure).second)
        figures.push_back(figure);
  std::vector<std::string> header = columns;
  header.insert(header.end(), added_columns().begin(), added_columns().end());
  for (const auto& figure : figures) header.push_back("last:" + figure);
  std::string text = csv_line(header);
  for (size_t i = 0; i < jobs.size(); ++i) {
    const auto& status = statuses[i];
    std::vector<std::string> line;
    for (const auto& column : columns)
      line.push_back(column == "name"    ? jobs[i].name
                     : column == "after" ? after_text(jobs[i], jobs)
                     : column == kWhetherToRun &&
                             (status.phase == Phase::kDone || is_under_way(status.phase))
                         ? "0"
                     : jobs[i].cells.contains(column) ? jobs[i].cells.at(column)
                                                      : "");
    const auto& progress = status.progress;
    line.insert(
        line.end(),
        {jobs[i].key, phase_name(status.phase),
         status.log.empty() ? status.detail
                            : fmt::format("{}; log: {}", status.detail, from_here(status.log)),
         place_text(status), run_folder(jobs[i], ""),
         status.wall_s > 0 ? fmt::format("{:.1f}", status.wall_s) : "",
         progress.epochs > 0 ? fmt::format("{}/{}", progress.epoch, progress.epochs) : ""});
    for (const auto& figure : figures)
      line.push_back(progress.last.contains(figure) ? progress.last.at(figure) : "");
    for (auto& field : line) field = cell_text(field);
    text += csv_line(line);
  }
  return text;
}

}  // namespace dissent::jobs
