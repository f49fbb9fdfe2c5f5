#pragma once
#include <functional>
#include <string>
#include <vector>

namespace dissent::cli {

/// What a verb's check says of the files that the verb reads. The check is one function, which the
/// verb calls before it begins, and `dissent jobs` for every row of a sheet.
///
/// This class is the verb's: it opens its files right after the check and says itself what is wrong
/// with them, so nothing is done here. In a sheet (jobs_check.cpp) files may come from rows before.
class Files {
 public:
  Files() = default;
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  virtual ~Files() = default;

  /// `key` ("evaluate.runs", "--published") reads the file or folder of this path, or all that a
  /// shell pattern matches. Nothing is read where the path is empty.
  /// obtain: how to get it, for the message; may be empty
  virtual void find(const std::string& /*key*/, const std::string& /*path*/,
                    const std::string& /*obtain*/ = {}) {}
  /// The same of a folder of which whatever lies in it is read: `dissent tables results/sed`.
  virtual void find_below(const std::string& /*key*/, const std::string& /*path*/) {}
  /// Opens and compares what was found, as the verb does before its first message; throws the
  /// verb's error. Called only if all that was found so far is on the disk.
  /// subject: rows of equal subject are looked into once; empty: each
  virtual void look(const std::string& /*subject*/, const std::function<void()>& /*into*/) {}
  /// The same of one file alone: whether or not others are still to come.
  virtual void look_at(const std::string& /*key*/, const std::string& /*path*/,
                       const std::string& /*subject*/, const std::function<void()>& /*into*/) {}
};

}  // namespace dissent::cli
