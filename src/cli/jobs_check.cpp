#include "cli/jobs_check.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <glob.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>

#include <dissent/error.hpp>

#include "cli/checks.hpp"
#include "cli/light_verbs.hpp"
#include "cli/verb.hpp"
#include "core/torch_failure.hpp"
#include "jobs/inputs.hpp"
#include "storage/atomic_file.hpp"

namespace dissent::cli {
namespace {

using Texts = std::vector<std::string>;

struct Problem {
  ErrorKind kind;
  std::string text;
};

// Reports a problem that several rows share once, with the first of them.
class SharedLines {
 public:
  void add(const std::string& text, const jobs::Job& job) {
    auto& rows = rows_[text];
    if (rows.empty()) order_.push_back(text);
    if (rows.empty() || rows.back() != &job) rows.push_back(&job);
  }
  Texts lines(const std::string& sheet) const {
    Texts out;
    for (const auto& text : order_) {
      const auto& rows = rows_.at(text);
      std::string also;

      // Thousands of rows may have one mistake: the first four are named.
      for (size_t i = 1; i < rows.size() && i <= 3; ++i)
        also += (i == 1 ? " (and " : ", ") + rows[i]->name;
      if (rows.size() > 4) also += fmt::format(" and {} more", rows.size() - 4);
      out.push_back(fmt::format("{}:{}: {}{}: {}", sheet, rows[0]->line, rows[0]->name,
                                also.empty() ? "" : also + ")", text));
    }
    return out;
  }

 private:
  Texts order_;
  std::map<std::string, std::vector<const jobs::Job*>> rows_;
};

// Results of checks by subject, so that each file is opened once for all rows.
using Checked = std::map<std::string, std::optional<Problem>>;

// Whether a file exists, or one that matches the shell pattern.
bool any_exists(const std::string& path) {
  if (path.find_first_of("*?[") == std::string::npos || path_exists(path)) return path_exists(path);

  glob_t matches{};
  const int code = glob(path.c_str(), 0, nullptr, &matches);
  globfree(&matches);
  return code == 0;
}

// The files of a row: on the disk, or written by earlier rows.
class SheetFiles : public Files {
 public:
  SheetFiles(const std::vector<jobs::Job>& jobs, const jobs::Job& job,
             const std::set<std::string>& done, Checked& checked, std::vector<Problem>& problems)
      : jobs_(jobs), job_(job), done_(done), checked_(checked), problems_(problems) {}

  // The configuration, for the places of its keys in messages.
  void set_document(const config::Document& document) { document_ = &document; }

  void reads(const std::string& key, const std::string& path, const std::string& obtain) override {
    if (!path.empty()) check_exists(key, path, obtain, false);
  }
  void reads_folder(const std::string& key, const std::string& path) override {
    check_exists(key, path, "", true);
  }
  void for_each_planned_run(
      const std::string& path,
      const std::function<void(const std::string& run, const config::Document& training)>& f)
      override {
    for (const auto* job : jobs::writers_before(jobs_, job_, done_, path)) {
      if (jobs::verb_kind(job->verb) != jobs::VerbKind::kTrain) continue;
      // The training has not run yet, so its configuration stands for its results.
      try {
        const auto training =
            config::load_document(config::read_sources(job->config), job->overrides);
        f(job->resolution.runs.at(0), training);
      } catch (const Error& error) {
        if (wrong_.insert(job->key).second) problems_.push_back({error.kind(), error.what()});
      }
    }
  }
  void check_contents(const std::string& subject, const std::function<void()>& check) override {
    if (all_here_) run(subject, "", check);
  }
  void check_file(const std::string& key, const std::string& path, const std::string& subject,
                  const std::function<void()>& check) override {
    // Files that are still to be written cannot be opened yet.
    const bool can_be_opened = path.empty() || (any_exists(path) && !is_coming(path));
    // Checks that build on a refused file would only repeat its problem.
    if (can_be_opened && !run(subject, key, check)) all_here_ = false;
  }

 private:
  // Whether an earlier row that is not done writes the file.
  bool is_coming(const std::string& path) const {
    return jobs::writer_of(jobs_, job_, done_, path).from == jobs::Writer::From::kComing;
  }

  void check_exists(const std::string& key, const std::string& path, const std::string& obtain,
                    bool below) {
    using From = jobs::Writer::From;
    const auto writer = jobs::writer_of(jobs_, job_, done_, path, below);
    if (writer.from != From::kComing && any_exists(path)) return;
    all_here_ = false;
    if (writer.from == From::kComing) return;

    std::string text = fmt::format("{}{}: {} does not exist", place(key), key, path);
    if (writer.from == From::kNobody) text += ", and no earlier row (column after) writes it";
    if (writer.from == From::kUnordered)
      text += fmt::format("; '{}' writes it, but this row does not run after it (column after)",
                          writer.name);
    if (writer.from == From::kDone)
      text += fmt::format(
          "; '{0}' wrote it and is done: jobs again --where name={0} writes it again", writer.name);
    if (!obtain.empty()) text += "; " + obtain;
    problems_.push_back({ErrorKind::kData, text});
  }

  std::string place(const std::string& key) const {
    if (!document_) return "";
    const auto text = document_->source_of(key).text();
    return text.empty() ? "" : text + ": ";
  }

  // Runs a check, unless another row has run it. False if there is a problem.
  bool run(const std::string& subject, const std::string& key, const std::function<void()>& check) {
    std::optional<Problem> found;
    const auto known = subject.empty() ? checked_.end() : checked_.find(subject);
    if (known != checked_.end()) {
      found = known->second;
    } else {
      try {
        check();
      } catch (const Error& error) {
        found = {error.kind(), error.what()};
      } catch (...) {  // a library's exception about a damaged file
        found = {ErrorKind::kData, fmt::format("expected files that can be read, found a damaged "
                                               "one ({})",
                                               current_reason())};
      }
      if (!subject.empty()) checked_.emplace(subject, found);
    }

    if (!found) return true;
    if (!key.empty()) found->text = fmt::format("{}{}: {}", place(key), key, found->text);
    problems_.push_back(*found);
    return false;
  }

  const std::vector<jobs::Job>& jobs_;
  const jobs::Job& job_;
  const std::set<std::string>& done_;
  Checked& checked_;
  std::vector<Problem>& problems_;
  const config::Document* document_ = nullptr;
  bool all_here_ = true;
  std::set<std::string> wrong_;  // trainings whose results do not suit the row
};

// The verbs without a configuration.
void check_options(const std::string& name, const CommandLine& line, Files& files) {
  if (name == "tables") return check_tables(line, files);
  if (name == "plot") return check_plot(line, files);
  if (name == "imglist") return check_imglist(line, files);
  if (name == "export") return check_export(line, files);
  if (name == "doctor") return files.reads("--config", line.get<std::string>("config"));
  if (name == "config") return check_config(line);
  for (const auto& path : line.positional()) files.reads("FILE", path);  // inspect, verify
}

void check_job(const jobs::Job& job, Files& files,
               const std::function<void(const config::Document&)>& set_document) {
  auto line = verb(job.verb).line();
  const auto command = job.command();
  if (!line.parse(false, {command.begin() + 1, command.end()})) return;

  const auto kind = jobs::verb_kind(job.verb);
  if (kind == jobs::VerbKind::kOther) return check_options(job.verb, line, files);

  const auto document = config::load_document(config::read_sources(job.config), job.overrides);
  set_document(document);
  if (kind == jobs::VerbKind::kCache) return check_cache(line, document, files);
  if (kind == jobs::VerbKind::kEvaluate) return check_evaluate(line, document, files);
  check_train(line, document, job.ranks, files);
}

}  // namespace

SheetProblems check_rows(const std::string& sheet, const std::vector<jobs::Job>& jobs,
                         const std::set<std::string>& start, const std::set<std::string>& done) {
  SheetProblems out;
  Checked checked;
  SharedLines found;
  for (const auto& job : jobs) {
    if (job.key.empty()) continue;

    // Rows that will not be started are checked too, but without their files.
    std::vector<Problem> problems;
    Files none;
    SheetFiles own(jobs, job, done, checked, problems);
    const bool starts = start.contains(job.key);
    std::optional<config::Document> kept;  // for as long as SheetFiles names places in it
    try {
      check_job(job, starts ? own : none, [&](const config::Document& document) {
        kept = document;
        own.set_document(*kept);
      });
      const auto kind = jobs::verb_kind(job.verb);
      const bool trains = kind == jobs::VerbKind::kTrain || kind == jobs::VerbKind::kPlan;
      if (kept && trains) out.grids[job.key] = train_grid_text(*kept, job.ranks);
    } catch (const Error& error) {
      problems.push_back({error.kind(), error.what()});
    }
    for (const auto& problem : problems) {
      out.of_usage = out.of_usage || problem.kind == ErrorKind::kUsage;
      for (size_t at = 0; at < problem.text.size();) {  // line by line
        const size_t end = std::min(problem.text.find('\n', at), problem.text.size());
        found.add(problem.text.substr(at, end - at), job);
        at = end + 1;
      }
    }
  }
  out.lines = found.lines(sheet);
  return out;
}

}  // namespace dissent::cli
