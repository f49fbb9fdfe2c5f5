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
  virtual void find(const std::string& /*key*/, const std::string& /*path*/,
                    const std::string& /*obtain*/ = {}) {}
  /// Reads a folder with all files below it: `dissent tables results/sed`.
  virtual void find_below(const std::string& /*key*/, const std::string& /*path*/) {}
  /// Calls f(folder, configuration) for each run that matches the path or pattern and that an
  /// earlier row will train.
  virtual void trained(
      const std::string& /*path*/,
      const std::function<void(const std::string& run, const config::Document& training)>& /*f*/) {}
  /// Opens and compares the files, as the verb does before its first message; throws the verb's
  /// error. Called only if all files found so far exist. subject: rows with equal subjects are
  /// checked once; empty: every row
  virtual void look(const std::string& /*subject*/, const std::function<void()>& /*into*/) {}
  /// Like look, for one file, whether or not the others exist.
  virtual void look_at(const std::string& /*key*/, const std::string& /*path*/,
                       const std::string& /*subject*/, const std::function<void()>& /*into*/) {}
};

}  // namespace dissent::cli
