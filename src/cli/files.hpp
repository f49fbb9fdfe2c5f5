#pragma once
#include <functional>
#include <string>
#include <vector>

#include "config/document.hpp"

namespace dissent::cli {

/// Receives the input files of a verb from the verb's check. The verb calls its check before it
/// starts, and `dissent jobs` calls it for every row of a sheet.
///
/// This base class is for the verb itself, and does nothing: the verb opens its files right after
/// the check and reports errors then. In a sheet (jobs_check.cpp) files may be written by earlier
/// rows.
class Files {
 public:
  Files() = default;
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  virtual ~Files() = default;

  /// `key` ("evaluate.runs", "--published") reads the file or folder at this path, or all that
  /// match a shell pattern. An empty path reads nothing. obtain: how to get the file, for the error
  /// message; may be empty
  virtual void reads(const std::string& /*key*/, const std::string& /*path*/,
                     const std::string& /*obtain*/ = {}) {}
  /// Reads a folder with all files below it: `dissent tables results/sed`.
  virtual void reads_folder(const std::string& /*key*/, const std::string& /*path*/) {}
  /// Calls f(folder, configuration) for each run that matches the path or pattern and that an
  /// earlier row will train.
  virtual void for_each_planned_run(
      const std::string& /*path*/,
      const std::function<void(const std::string& run, const config::Document& training)>& /*f*/) {}
  /// Runs a check that opens and compares the files, as the verb does before its first message, and
  /// throws the verb's error. Runs only if all files that were named so far exist. subject: rows
  /// with equal subjects are checked once; empty: every row
  virtual void check_contents(const std::string& /*subject*/,
                              const std::function<void()>& /*check*/) {}
  /// Like check_contents, for one file, whether or not the others exist.
  virtual void check_file(const std::string& /*key*/, const std::string& /*path*/,
                          const std::string& /*subject*/, const std::function<void()>& /*check*/) {}
};

}  // namespace dissent::cli
