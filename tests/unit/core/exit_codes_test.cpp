#include "core/exit_codes.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>

#include <dissent/error.hpp>

using namespace dissent;

TEST(ExitCodes, TheTableIsSortedAndHasEveryKindOfError) {
  const auto& table = exit_codes();
  EXPECT_TRUE(std::is_sorted(table.begin(), table.end(),
                             [](const auto& a, const auto& b) { return a.code < b.code; }));
  for (const auto kind : {ErrorKind::kInternal, ErrorKind::kUsage, ErrorKind::kData,
                          ErrorKind::kComm, ErrorKind::kCheck, ErrorKind::kMemory})
    EXPECT_TRUE(std::any_of(table.begin(), table.end(),
                            [&](const auto& row) { return row.code == exit_code(kind); }));
}

TEST(ExitCodes, OnlySignalsAndLostConnectionsAreRetried) {
  EXPECT_EQ(job_result(0), JobResult::kDone);
  EXPECT_EQ(job_result(exit_code(ErrorKind::kComm)), JobResult::kRetried);
  EXPECT_EQ(job_result(kExitBySignal + SIGKILL), JobResult::kRetried);
  EXPECT_EQ(job_result(kExitStopped), JobResult::kContinued);
  EXPECT_EQ(job_result(exit_code(ErrorKind::kData)), JobResult::kFailed);
  EXPECT_EQ(job_result(77), JobResult::kFailed);  // not one of the program's
}
