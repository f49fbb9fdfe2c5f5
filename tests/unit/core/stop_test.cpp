#include "core/stop.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

using namespace dissent;

namespace {

void stopped_by(int number) {
  install_stop_handlers();
  if (stop_requested()) std::_Exit(1);
  std::raise(number);
  try {
    throw_if_stopped();
  } catch (const Stopped&) {
    std::_Exit(stop_requested() ? 75 : 2);
  }
  std::_Exit(3);
}

TEST(Stop, EachSignalThatAsksToStopSetsTheFlag) {
  for (const int number : {SIGUSR1, SIGTERM, SIGINT})
    EXPECT_EXIT(stopped_by(number), ::testing::ExitedWithCode(75), "") << number;
}

TEST(Stop, ASecondInterruptEndsAtOnce) {
  EXPECT_EXIT(
      {
        install_stop_handlers();
        std::raise(SIGINT);
        std::raise(SIGINT);
        std::_Exit(75);
      },
      ::testing::KilledBySignal(SIGINT), "");
}

TEST(Stop, AnInterruptThatIsIgnoredStaysSo) {
  EXPECT_EXIT(
      {
        std::signal(SIGINT, SIG_IGN);
        install_stop_handlers();
        std::raise(SIGINT);
        std::_Exit(stop_requested() ? 1 : 0);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST(Stop, SignalsThatAreHeldComeWithTheHandlers) {
  EXPECT_EXIT(
      {
        hold_stop_signals();
        for (const int number : {SIGUSR1, SIGTERM, SIGINT}) std::raise(number);
        install_stop_handlers();
        std::_Exit(stop_requested() ? 75 : 0);
      },
      ::testing::ExitedWithCode(75), "");
}

TEST(Stop, VerbsThatComputeForLong) {
  for (const char* verb : {"train", "cache", "evaluate"}) EXPECT_TRUE(can_be_stopped(verb, ""));
  EXPECT_TRUE(can_be_stopped("jobs", "pack"));
  for (const char* verb : {"doctor", "tables", "jobs"}) EXPECT_FALSE(can_be_stopped(verb, "run"));
}

}  // namespace
