#include "cli/jobs_check.hpp"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
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

// What is wrong in the same words with several rows is said once, with the first of them.
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

// What rows of the same subject found, so that each file is opened once for all of them.
using Looked = std::map<std::string, std::optional<Problem>>;

bool is_there(const std::string& path) {
  if (path.find_first_of("*?[") == std::string::npos || path_exists(path)) return path_exists(path);
  glob_t matches{};
  const int code = glob(path.c_str(), 0, nullptr, &matches);
  globfree(&matches);
  return code == 0;
}

// The files of a row: on the disk, or written by rows before.
class SheetFiles : public Files {
 public:
  SheetFiles(const std::vector<jobs::Job>& jobs, const jobs::Job& job,
             const std::set<std::string>& done, Looked& looked, std::vector<Problem>& problems)
      : jobs_(jobs), job_(job), done_(done), looked_(looked), problems_(problems) {}

  // Where the keys stand.
  void of(const config::Document& document) { document_ = &document; }

  void find(const std::string& key, const std::string& path, const std::string& obtain) override {
    if (!path.empty()) here(key, path, obtain, false);
  }
  void find_below(const std::string& key, const std::string& path) override {
    here(key, path, "", true);
  }
  void trained(const std::string& path,
               const std::function<void(const std::string& run, const config::Document& training)>&
                   f) override {
    for (const auto* job : jobs::writers_before(jobs_, job_, done_, path)) {
      if (job->verb != "train") continue;
      try {
        const auto training =
            config::load_document(config::read_sources(job->config), job->overrides);
        f(job->resolution.runs.at(0), training);
      } catch (const Error& error) {
        if (wrong_.insert(job->key).second) problems_.push_back({error.kind(), error.what()});
      }
    }
  }
  void look(const std::string& subject, const std::function<void()>& into) override {
    if (all_here_) run(subject, "", into);
  }
  void look_at(const std::string& key, const std::string& path, const std::string& subject,
               const std::function<void()>& into) override {
    // What is built on a file that is refused says no more.
    if ((path.empty() || (is_there(path) && !comes(path))) && !run(subject, key, into))
      all_here_ = false;
  }

 private:
  bool comes(const std::string& path, bool below = false) const {
    return jobs::writer_of(jobs_, job_, done_, path, below).from == jobs::Writer::From::kComing;
  }

  void here(const std::string& key, const std::string& path, const std::string& obtain,
            bool below) {
    using From = jobs::Writer::From;
    const auto writer = jobs::writer_of(jobs_, job_, done_, path, below);
    if (writer.from != From::kComing && is_there(path)) return;
    all_here_ = false;
    if (writer.from == From::kComing) return;
    std::string text = fmt::format("{}{}: {} is not there", place(key), key, path);
    if (writer.from == From::kNobody) text += ", and no row that this one runs after writes it";
    if (writer.from == From::kUnordered)
      text += fmt::format("; '{}' writes it, which this row does not run after (column after)",
                          writer.name);
    if (writer.from == From::kDone)
      text += fmt::format(
          "; '{0}' wrote it and is done: jobs again --where name={0} writes it anew", writer.name);
    if (!obtain.empty()) text += "; " + obtain;
    problems_.push_back({ErrorKind::kData, text});
  }

  std::string place(const std::string& key) const {
    if (!document_) return "";
    const auto text = document_->source_of(key).text();
    return text.empty() ? "" : text + ": ";
  }

  // False if something was wrong.
  bool run(const std::string& subject, const std::string& key, const std::function<void()>& into) {
    std::optional<Problem> found;
    const auto known = subject.empty() ? looked_.end() : looked_.find(subject);
    if (known != looked_.end()) {
      found = known->second;
    } else {
      try {
        into();
      } catch (const Error& error) {
        found = {error.kind(), error.what()};
      } catch (...) {  // of a library, by a damaged file
        found = {ErrorKind::kData, fmt::format("expected files that can be read, found a damaged "
                                               "one ({})",
                                               current_reason())};
      }
      if (!subject.empty()) looked_.emplace(subject, found);
    }
    if (!found) return true;
    if (!key.empty()) found->text = fmt::format("{}{}: {}", place(key), key, found->text);
    problems_.push_back(*found);
    return false;
  }

  const std::vector<jobs::Job>& jobs_;
  const jobs::Job& job_;
  const std::set<std::string>& done_;
  Looked& looked_;
  std::vector<Problem>& problems_;
  const config::Document* document_ = nullptr;
  bool all_here_ = true;
  std::set<std::string> wrong_;  // trainings that do not go with the row
};

void check_words(const CommandLine& line, const Texts& known) {
  for (const auto& word : line.positional())
    DISSENT_CHECK(std::find(known.begin(), known.end(), word) != known.end(), kUsage,
                  "config: expected one of {}, found '{}'", fmt::join(known, ", "), word);
}

void check_job(const jobs::Job& job, Files& files,
               const std::function<void(const config::Document&)>& of) {
  auto line = verb(job.verb).line();
  const auto command = job.command();
  if (!line.parse(false, {command.begin() + 1, command.end()})) return;
  const auto& name = job.verb;
  if (name == "train" || name == "plan" || name == "cache" || name == "evaluate") {
    const auto document = config::load_document(config::read_sources(job.config), job.overrides);
    of(document);
    if (name == "cache") return check_cache(line, document, files);
    if (name == "evaluate") return check_evaluate(line, document, files);
    return check_train(line, document, job.ranks, files);
  }
  if (name == "tables") return check_tables(line, files);
  if (name == "plot") return check_plot(line, files);
  if (name == "imglist") return check_imglist(line, files);
  if (name == "export") return check_export(line, files);
  if (name == "doctor") return files.find("--config", line.get<std::string>("config"));
  if (name == "config")
    return check_words(
        line, {"train", "train-images", "cache", "evaluate", "losses", "scores", "metrics"});
  for (const auto& path : line.positional()) files.find("FILE", path);  // inspect, verify
}

}  // namespace

SheetProblems check_rows(const std::string& sheet, const std::vector<jobs::Job>& jobs,
                         const std::set<std::string>& start, const std::set<std::string>& done) {
  SheetProblems out;
  Looked looked;
  SharedLines found;
  for (const auto& job : jobs) {
    if (job.key.empty()) continue;
    std::vector<Problem> problems;
    Files none;
    SheetFiles own(jobs, job, done, looked, problems);
    const bool starts = start.contains(job.key);
    std::optional<config::Document> kept;  // SheetFiles names places in it
    try {
      check_job(job, starts ? own : none, [&](const config::Document& document) {
        kept = document;
        own.of(*kept);
      });
      if (kept && (job.verb == "train" || job.verb == "plan"))
        out.grids[job.key] = train_grid_text(*kept, job.ranks);
    } catch (const Error& error) {
      problems.push_back({error.kind(), error.what()});
    }
    for (const auto& problem : problems) {
      out.of_usage = out.of_usage || problem.kind == ErrorKind::kUsage;
      for (size_t at = 0; at < problem.text.size();) {  // a line each
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
