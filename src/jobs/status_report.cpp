#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "core/text_table.hpp"
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

// The text as a cell of a sheet that may be read again: braces are doubled.
std::string cell_text(const std::string& text) {
  std::string out;
  for (const char c : text) out.append(c == '{' || c == '}' ? 2 : 1, c);
  return out;
}

// The names after expansion of the jobs that this one waits for.
std::string after_text(const Job& job, const std::vector<Job>& jobs) {
  std::vector<std::string> names;
  for (const auto& other : jobs)
    if (std::find(job.after.begin(), job.after.end(), other.key) != job.after.end())
      names.push_back(other.name);
  return fmt::format("{}", fmt::join(names, " "));
}

// The path relative to the current folder, where it is below it.
std::string from_here(const std::string& path) {
  std::error_code ignored;
  const auto near =
      std::filesystem::path(path).lexically_proximate(std::filesystem::current_path(ignored));
  return near.empty() || *near.begin() == ".." ? path : near.string();
}

// One line per job, whatever characters the error message has.
std::string one_line(std::string text, const std::string& log) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 32; }, ' ');
  if (text.size() > 200) text = text.substr(0, 200) + "...";
  return log.empty() ? text : fmt::format("{}; log: {}", text, from_here(log));
}

// "slurm 12 on n1"; "n1:8321" has the host already.
std::string place_text(const Status& status) {
  if (status.host.empty() || status.where.find(status.host) != std::string::npos)
    return status.where;
  return status.where.empty() ? status.host : fmt::format("{} on {}", status.where, status.host);
}

}  // namespace

std::string status_table(const std::vector<Job>& jobs, const std::vector<Status>& statuses) {
  TableRows rows{{"name", "status", "walltime", "where", "detail"}};

  // Sheets may have thousands of rows, so the counts per status come last, where a terminal shows
  // them.
  std::map<std::string, int> counts;
  for (size_t i = 0; i < jobs.size(); ++i) {
    const auto& status = statuses[i];
    rows.push_back({jobs[i].name, phase_name(status.phase),
                    status.wall_s > 0 ? duration_text(status.wall_s) : "", place_text(status),
                    one_line(status.detail, status.log)});
    ++counts[phase_name(status.phase)];
  }

  std::vector<std::string> sums;
  for (const auto& [phase, count] : counts) sums.push_back(fmt::format("{} {}", count, phase));
  return plain_table(rows,
                     {Align::kLeft, Align::kLeft, Align::kRight, Align::kLeft, Align::kLeft}) +
         fmt::format("{} jobs: {}\n", jobs.size(), fmt::join(sums, ", "));
}

namespace {

// The sheet's own columns, with `name` in any case.
std::vector<std::string> columns_of_sheet(const Sheet& sheet) {
  std::vector<std::string> columns;
  for (const auto& column : sheet.columns)
    if (!is_added(column)) columns.push_back(column);
  if (std::find(columns.begin(), columns.end(), "name") == columns.end())
    columns.insert(columns.begin(), "name");
  return columns;
}

// The columns of train.csv that any of the runs has a value for.
std::vector<std::string> logged_columns(const std::vector<Status>& statuses) {
  std::vector<std::string> columns;
  std::set<std::string> seen;
  for (const auto& status : statuses)
    for (const auto& [column, value] : status.progress.last)
      if (!value.empty() && column != "epoch" && seen.insert(column).second)
        columns.push_back(column);
  return columns;
}

std::string sheet_cell(const std::string& column, const Job& job, const std::vector<Job>& jobs,
                       Phase phase) {
  if (column == "name") return job.name;
  if (column == "after") return after_text(job, jobs);

  // What runs or is done gets a 0, so that the table can be submitted as a sheet without running
  // it again.
  if (column == kWhetherToRun && (phase == Phase::kDone || is_under_way(phase))) return "0";
  const auto at = job.cells.find(column);
  return at == job.cells.end() ? "" : at->second;
}

}  // namespace

std::string status_csv(const Sheet& sheet, const std::vector<Job>& jobs,
                       const std::vector<Status>& statuses) {
  // What the table writes can be read as a sheet again: the sheet's own columns come first, and
  // columns of an earlier report are replaced.
  const auto columns = columns_of_sheet(sheet), logged = logged_columns(statuses);
  auto header = columns;
  header.insert(header.end(), added_columns().begin(), added_columns().end());
  for (const auto& column : logged) header.push_back("last:" + column);

  std::string text = csv_line(header);
  for (size_t i = 0; i < jobs.size(); ++i) {
    const auto& status = statuses[i];
    const auto& progress = status.progress;
    std::vector<std::string> line;
    for (const auto& column : columns)
      line.push_back(sheet_cell(column, jobs[i], jobs, status.phase));

    // In the order of added_columns().
    line.insert(
        line.end(),
        {jobs[i].key, phase_name(status.phase),
         status.log.empty() ? status.detail
                            : fmt::format("{}; log: {}", status.detail, from_here(status.log)),
         place_text(status), run_folder(jobs[i], ""),
         status.wall_s > 0 ? fmt::format("{:.1f}", status.wall_s) : "",
         progress.epochs > 0 ? fmt::format("{}/{}", progress.epoch, progress.epochs) : ""});
    for (const auto& column : logged)
      line.push_back(progress.last.contains(column) ? progress.last.at(column) : "");

    // Braces of a finished cell must not expand a second time.
    for (auto& field : line) field = cell_text(field);
    text += csv_line(line);
  }
  return text;
}

}  // namespace dissent::jobs
