#pragma once
#include <set>
#include <string>
#include <vector>

#include "jobs/job.hpp"

namespace dissent::jobs {

/// The row of a sheet that writes a file which another row reads.
struct Writer {
  enum class From {
    kNobody,
    kComing,     ///< a dependency of the reader that is not done
    kDone,       ///< a dependency of the reader that is done
    kUnordered,  ///< a row that the reader does not depend on
  };
  From from = From::kNobody;
  std::string name;  ///< name of the row
};

/// The writer of `path`: a file, a folder, or a shell pattern (* and ? do not match a /). Paths are
/// compared without "./" and "a/../".
///   jobs   all jobs of the sheet; reader: one of them
///   done   keys of those that are done
///   below  all files below the folder `path` are read, so a row that writes there counts
Writer writer_of(const std::vector<Job>& jobs, const Job& reader, const std::set<std::string>& done,
                 const std::string& path, bool below = false);

/// The dependencies of `reader` that are not done and write `path`.
std::vector<const Job*> writers_before(const std::vector<Job>& jobs, const Job& reader,
                                       const std::set<std::string>& done, const std::string& path);

/// Error::kUsage, one line per conflict, for enabled jobs that write the same file or folder
/// ("sheet.csv:7: 'b' writes results/x/seed-1, as 'a' of line 3 does").
void check_places(const std::string& sheet, const std::vector<Job>& jobs);

}  // namespace dissent::jobs
