#pragma once
#include <set>
#include <string>
#include <vector>

#include "jobs/job.hpp"

namespace dissent::jobs {

/// Which row of a sheet writes a file that another reads.
struct Writer {
  enum class From {
    kNobody,
    kComing,     ///< a row that the reader runs after, and that is still to run
    kDone,       ///< a row that the reader runs after, and that is done
    kUnordered,  ///< a row that the reader does not run after
  };
  From from = From::kNobody;
  std::string name;  ///< of that row
};

/// Who writes what `path` names: a file, a folder, or a shell pattern. A pattern fits a path as a
/// shell's does (* and ? do not cross a /). Paths are compared without "./" and "a/../".
///   jobs   all of the sheet; reader: one of them
///   done   keys of those that are done
///   below  whatever lies below the folder `path` is read: a row that writes there counts
Writer writer_of(const std::vector<Job>& jobs, const Job& reader, const std::set<std::string>& done,
                 const std::string& path, bool below = false);

/// Error::kUsage, a line each, for enabled jobs that write the same file or folder ("sheet.csv:7:
/// 'b' writes results/x/seed-1, as 'a' of line 3 does").
void check_places(const std::string& sheet, const std::vector<Job>& jobs);

}  // namespace dissent::jobs
