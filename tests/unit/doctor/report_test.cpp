#include "doctor/report.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

using namespace dissent;
using namespace dissent::doctor;

TEST(DoctorReport, AllTheSameIsSaidOnceWithoutPlaces) {
  const auto merged = merge_findings({ok("fine"), ok("fine"), ok("")}, {"a", "b", "b"});
  EXPECT_EQ(merged.verdict, Verdict::kOk);
  EXPECT_EQ(merged.text, "fine");
}

TEST(DoctorReport, TheWorstVerdictCountsAndNamesRanksAndHosts) {
  const auto merged =
      merge_findings({ok("fine"), failed("broken", "mend it"), warning("odd", "look"),
                      failed("broken", "mend it"), failed("gone", "find it")},
                     {"a", "b", "b", "c", "c"});
  EXPECT_EQ(merged.verdict, Verdict::kFailed);
  EXPECT_EQ(merged.text, "broken (ranks 1, 3 on b, c); gone (rank 4 on c)");
  EXPECT_EQ(merged.advice, "mend it");
}

TEST(DoctorReport, WhereOneHasNothingToSayAWarningNeedsNoPlace) {
  EXPECT_EQ(merge_findings({warning("tight", "x"), ok("")}, {"a", "a"}).text, "tight");
  EXPECT_EQ(merge_findings({warning("tight", "x"), ok("wide")}, {"a", "b"}).text,
            "tight (rank 0 on a)");
  EXPECT_EQ(merge_findings({failed("torn", "x")}, {"a"}).text, "torn (rank 0 on a)");
}

TEST(DoctorReport, LongListsAreCut) {
  std::vector<Finding> findings;
  std::vector<std::string> hosts;
  for (int rank = 0; rank < 12; ++rank) {
    findings.push_back(ok(fmt::format("text {}", rank / 2)));
    hosts.push_back(fmt::format("n{}", rank));
  }
  EXPECT_EQ(merge_findings(findings, hosts).text,
            "text 0 (ranks 0-1 on n0, n1); text 1 (ranks 2-3 on n2, n3); text 2 (ranks 4-5 on n4, "
            "n5); text 3 (ranks 6-7 on n6, n7); and 2 more such findings");
  const std::vector<Finding> same(12, failed("x", "y"));
  EXPECT_EQ(merge_findings(same, hosts).text, "x (ranks 0-11 on n0, n1, n10, n11 and 8 more)");
}

TEST(DoctorReport, StepsStopAtAFailure) {
  const auto self = make_self_communicator();
  Steps steps(*self);
  int done = 0;
  steps.run([&] { ++done; });
  EXPECT_FALSE(steps.failed());
  EXPECT_EQ(steps.finding("a", [] { return ok("found"); }).text, "found");
  steps.run([] { DISSENT_FAIL(kData, "no space"); });
  steps.run([&] { ++done; });
  EXPECT_EQ(done, 1);
  const auto finding = steps.finding("make some", [] { return ok("found"); });
  EXPECT_EQ(finding.verdict, Verdict::kFailed);
  EXPECT_EQ(finding.text, "no space");
  EXPECT_EQ(finding.advice, "make some");
}

TEST(DoctorReport, AMessageThatNeverCameEndsTheJob) {
  const auto self = make_self_communicator();
  Steps steps(*self);
  EXPECT_THROW(steps.run([] { DISSENT_FAIL(kComm, "gone"); }), Error);
}
