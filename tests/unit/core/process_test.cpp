#include "core/process.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <dissent/error.hpp>

namespace dissent {
namespace {

std::vector<std::string> shell(const std::string& script) { return {"/bin/sh", "-c", script}; }

TEST(Process, OutputAndExitCodeAreCaptured) {
  const auto output = run_captured(shell("echo out; echo err >&2; exit 7"));
  EXPECT_EQ(output.code, 7);
  EXPECT_EQ(output.out, "out\n");
  EXPECT_EQ(output.err, "err\n");
}

// More than a pipe holds on both streams: reading one after the other would never end.
TEST(Process, LargeOutputsOnBothStreamsDoNotBlock) {
  const auto output = run_captured(
      shell("i=0; while [ $i -lt 20000 ]; do echo 0123456789; echo 0123456789 >&2; i=$((i+1)); "
            "done"));
  EXPECT_EQ(output.out.size(), 220000u);
  EXPECT_EQ(output.err.size(), 220000u);
}

TEST(Process, AProgramThatRunsTooLongIsKilled) {
  const double start = steady_s();
  EXPECT_EQ(run_captured(shell("sleep 60"), 0.3).code, kTimedOut);
  EXPECT_LT(steady_s() - start, 30);
}

TEST(Process, AProgramThatClosesItsOutputAndContinuesIsKilledToo) {
  const double start = steady_s();
  EXPECT_EQ(run_captured(shell("exec >&- 2>&-; sleep 60"), 0.3).code, kTimedOut);
  EXPECT_LT(steady_s() - start, 30);
  EXPECT_EQ(run_captured(shell("exec >&- 2>&-; sleep 0.1; exit 5"), 30).code, 5);
}

// A launcher that ends and leaves a process with its output behind: that one is killed too.
TEST(Process, WhatALauncherLeavesRunningIsKilled) {
  auto output = run_captured(shell("sleep 60 & echo $!"), 0.5);
  EXPECT_EQ(output.code, kTimedOut);
  ASSERT_FALSE(output.out.empty());
  output.out.pop_back();  // the end of the line

  // The signal takes a moment, and a killed process is a zombie until its new parent has waited for
  // it.
  std::string state;
  const double start = steady_s();
  do {
    state = run_captured(shell("cut -d' ' -f3 /proc/" + output.out + "/stat")).out;
  } while (!state.empty() && state != "Z\n" && steady_s() - start < 10);
  EXPECT_TRUE(state.empty() || state == "Z\n") << state;
}

TEST(Process, AProgramThatDoesNotExistIsAnError) {
  try {
    start_process({.argv = {"/nowhere/program"}});
    FAIL() << "started";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_NE(std::string(error.what()).find("cannot start /nowhere/program: No such file"),
              std::string::npos);
  }
}

TEST(Process, TheEnvironmentIsExtendedInTheChildAlone) {
  setenv("DISSENT_TEST_KEPT", "kept", 1);
  const pid_t process =
      start_process({.argv = shell("[ \"$DISSENT_TEST_KEPT $DISSENT_TEST_SET\" = 'kept set' ]"),
                     .environment = {{"DISSENT_TEST_SET", "set"}}});
  EXPECT_EQ(wait_for_exit(process), 0);
  EXPECT_EQ(std::getenv("DISSENT_TEST_SET"), nullptr);
  unsetenv("DISSENT_TEST_KEPT");
}

// A process that blocks or ignores signals starts programs that do not.
TEST(Process, SignalsHaveTheirUsualEffect) {
  sigset_t set, before;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, &before);
  const auto usual = std::signal(SIGTERM, SIG_IGN);
  const pid_t first = start_process({.argv = shell("kill -USR1 $$; sleep 60")});
  const pid_t second = start_process({.argv = shell("kill -TERM $$; sleep 60")});
  EXPECT_EQ(wait_for_exit(first), 128 + SIGUSR1);
  EXPECT_EQ(wait_for_exit(second), 128 + SIGTERM);
  std::signal(SIGTERM, usual);
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

TEST(Process, FilesOfThisProcessAreNotInherited) {
  constexpr int kFile = 57;
  ASSERT_EQ(dup2(STDOUT_FILENO, kFile), kFile);
  EXPECT_EQ(run_captured(shell("[ ! -e /proc/$$/fd/57 ]")).code, 0);
  close(kFile);
}

TEST(Process, ThisProcessIsAliveAndAnEarlierOneWithItsNumberIsNot) {
  auto process = this_process();
  EXPECT_EQ(is_alive(process), true);
  --process.started;
  EXPECT_EQ(is_alive(process), false);
  process.host = "another-host";
  EXPECT_EQ(is_alive(process), std::nullopt);
}

TEST(Process, WordsAreShownAsAShellReadsThem) {
  EXPECT_EQ(shell_text({"dissent", "a b", "it's", ""}), "dissent 'a b' 'it'\\''s' ''");
}

}  // namespace
}  // namespace dissent
