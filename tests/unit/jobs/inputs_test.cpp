#include <utility>

#include "jobs/inputs.hpp"

#include <gtest/gtest.h>

#include "unit/jobs/made_jobs.hpp"

using namespace dissent::jobs;
using From = Writer::From;

namespace {

Job writer(const std::string& name, std::vector<Written> writes,
           std::vector<std::string> after = {}) {
  Job job;
  job.key = job.name = name, job.after = std::move(after);
  job.resolution.writes = std::move(writes);
  return job;
}

// A cache, two trainings after it, an evaluation after the first, a table after that.
const std::vector<Job>& sheet_jobs() {
  static const std::vector<Job> jobs{
      writer("cache", {{"data/in_c/fog_5.cache", false}}),
      writer("train-1", {{"results/x/seed-1", false}, {"results/x/seed-1/best.h5", false}},
             {"cache"}),
      writer("train-2", {{"results/x/seed-2", false}}, {"cache"}),
      writer("evaluate", {{"results/sed", true}}, {"train-1"}),
      writer("table", {{"results/table.md", false}}, {"evaluate"})};
  return jobs;
}

From from(const char* reader, const std::string& path, bool below = false,
          const std::set<std::string>& done = {}) {
  for (const auto& job : sheet_jobs())
    if (job.name == reader) return writer_of(sheet_jobs(), job, done, path, below).from;
  return From::kNobody;
}

}  // namespace

TEST(Inputs, ComeFromRowsThatTheReaderRunsAfter) {
  EXPECT_EQ(from("train-1", "data/in_c/fog_5.cache"), From::kComing);
  EXPECT_EQ(from("train-1", "./data/x/../in_c/fog_5.cache/"), From::kComing);
  EXPECT_EQ(from("train-1", "data/in_c/*_5.cache"), From::kComing);
  EXPECT_EQ(from("train-1", "data/*_5.cache"), From::kNobody);  // * does not cross a /
  EXPECT_EQ(from("train-1", "data/in_c/fog_1.cache"), From::kNobody);
  EXPECT_EQ(from("table", "data/in_c/fog_5.cache"), From::kComing);  // by way of others
  EXPECT_EQ(from("evaluate", "results/x/seed-2"), From::kUnordered);
  EXPECT_EQ(from("evaluate", "results/x/seed-*"), From::kComing);
  EXPECT_EQ(from("evaluate", "results/x/seed-1/best.h5"), From::kComing);
  EXPECT_EQ(from("evaluate", "results/x/seed-2/best.h5"),
            From::kNobody);                                          // it has no validation set
  EXPECT_EQ(from("cache", "data/in_c/fog_5.cache"), From::kNobody);  // its own
}

TEST(Inputs, FilesOfUnknownNamesLieBelowAFolder) {
  EXPECT_EQ(from("table", "results/sed/figures/a-roc.csv"), From::kComing);
  EXPECT_EQ(from("table", "results/*/1.csv"), From::kComing);
  EXPECT_EQ(from("table", "results"), From::kNobody);
  EXPECT_EQ(from("table", "results", true), From::kComing);
  EXPECT_EQ(from("table", ".", true), From::kComing);
}

TEST(Inputs, OfARowThatIsDoneAreOnTheDiskOrGone) {
  EXPECT_EQ(from("train-1", "data/in_c/fog_5.cache", false, {"cache"}), From::kDone);
  EXPECT_EQ(from("evaluate", "results/x/seed-1", false, {"cache"}), From::kComing);
  const auto found = writer_of(sheet_jobs(), sheet_jobs()[1], {"cache"}, "data/in_c/*");
  EXPECT_EQ(found.name, "cache");
}

TEST(Inputs, TwoRowsThatWriteOnePlaceAreNamed) {
  auto jobs = sheet_jobs();
  check_places("s.csv", jobs);
  jobs.push_back(writer("more", {{"results/sed", true}}));  // side by side
  check_places("s.csv", jobs);
  jobs.push_back(writer("twice", {{"./results/x/seed-1", false}}));
  jobs.back().line = 9, jobs[1].line = 3;
  EXPECT_ERROR_ALL((check_places("s.csv", jobs), 0),
                   "s.csv:9: 'twice' writes results/x/seed-1, as 'train-1' of line 3 does");
}
