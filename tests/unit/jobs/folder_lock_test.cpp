#include "jobs/folder_lock.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include <nlohmann/json.hpp>

#include "jobs/state.hpp"
#include "storage/atomic_file.hpp"
#include "unit/jobs/made_jobs.hpp"

using namespace dissent;
using namespace dissent::jobs;
using dissent::jobs::testing::Folder;

namespace {

struct Locked : ::testing::Test {
  Folder folder;
  std::string place = folder.path + "/lock";
  std::vector<std::string> said;
  FolderLock::Options options(double silent_s = 60) {
    return {.silent_s = silent_s, .say = [this](const std::string& text) { said.push_back(text); }};
  }
  void take(double silent_s = 60) {
    const FolderLock lock(place, "results/x", "give another `output`", options(silent_s));
  }
  int files() const {
    int count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path))
      ++count;
    return count;
  }
  // The lock of a process as this one would see it.
  nlohmann::json mine() {
    const FolderLock lock(place, "results/x", "", options());
    return nlohmann::json::parse(read_text(lock.file()));
  }
  void leave(const nlohmann::json& json, double age_s = 0) const {
    replace(place + ".3", json.dump());
    const double time = now_s() - age_s;
    const auto seconds = static_cast<time_t>(time);
    const struct timespec at = {seconds,
                                static_cast<long>((time - static_cast<double>(seconds)) * 1e9)};
    const struct timespec times[2] = {at, at};
    ASSERT_EQ(::utimensat(AT_FDCWD, (place + ".3").c_str(), times, 0), 0);
  }
};

TEST_F(Locked, OneProcessHoldsItUntilItLetsGo) {
  {
    const FolderLock lock(place, "results/x", "give another `output`", options());
    EXPECT_EQ(lock.file(), place + ".1");
    EXPECT_EQ(files(), 1);
    EXPECT_ERROR_ALL(take(),
                     "results/x: expected that no other process writes to it, found process " +
                         std::to_string(getpid()) + " on " + this_process().host,
                     "lock.1", "wait for it, stop it, or give another `output`");
  }
  EXPECT_EQ(files(), 0);
  EXPECT_NO_THROW(take());
  EXPECT_TRUE(said.empty());
}

TEST_F(Locked, WhatAKilledProcessLeftIsTakenOverAtOnce) {
  const pid_t child = fork();
  if (child == 0) {
    auto* lock = new FolderLock(place, "results/x", "");
    static_cast<void>(lock);
    std::raise(SIGKILL);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  ASSERT_TRUE(path_exists(place + ".1"));
  const FolderLock lock(place, "results/x", "", options());
  EXPECT_EQ(lock.file(), place + ".2");
  EXPECT_EQ(files(), 1);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_NE(said[0].find("is taken over"), std::string::npos);
}

TEST_F(Locked, AProcessNumberThatWasUsedAgainIsNotTakenForIt) {
  auto json = mine();
  json["started"] = json["started"].get<int64_t>() - 1;
  leave(json);
  EXPECT_NO_THROW(take());
}

TEST_F(Locked, OneOfAnotherHostIsWatchedAndTakenOverWhenItIsSilent) {
  auto json = mine();
  json["host"] = "another-host";
  leave(json, 100);
  EXPECT_NO_THROW(take());  // silent for longer than a minute
  leave(json, 0);
  const double start = now_s();
  EXPECT_NO_THROW(take(1.5));
  EXPECT_GT(now_s() - start, 1.0);
  EXPECT_NE(said.back().find("is taken over"), std::string::npos);
  EXPECT_NE(said[said.size() - 2].find("waiting up to"), std::string::npos);
}

TEST_F(Locked, OneOfAnotherHostThatGivesSignsOfLifeIsKept) {
  auto json = mine();
  json["host"] = "another-host", json["slurm_job"] = "77";
  leave(json, 0);
  std::atomic<bool> over{false};
  std::thread beats([&] {
    while (!over) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      ::utimensat(AT_FDCWD, (place + ".3").c_str(), nullptr, 0);
    }
  });
  EXPECT_ERROR_ALL(take(10), "found process", "another-host (Slurm job 77)");
  over = true;
  beats.join();
  EXPECT_EQ(files(), 1);
}

TEST_F(Locked, AContainerOfTheSameNameIsAnotherHost) {
  auto json = mine();
  json["process_numbers"] = "pid:[1]", json["started"] = 1;
  leave(json, 0);
  const double start = now_s();
  EXPECT_NO_THROW(take(1));
  EXPECT_GT(now_s() - start, 0.5);
}

TEST_F(Locked, AJobThatWasQueuedAgainTakesItsOwnLockAtOnce) {
  auto json = mine();
  json["host"] = "another-host", json["slurm_job"] = "77", json["slurm_restart"] = 0;
  leave(json, 0);
  setenv("SLURM_JOB_ID", "77", 1);
  setenv("SLURM_RESTART_COUNT", "1", 1);
  EXPECT_NO_THROW(take());
  // Of the same start it is another step of the job, which lives.
  json["slurm_restart"] = 1;
  leave(json, 0);
  const double start = now_s();
  EXPECT_NO_THROW(take(1));
  EXPECT_GT(now_s() - start, 0.5);
  unsetenv("SLURM_JOB_ID");
  unsetenv("SLURM_RESTART_COUNT");
}

TEST_F(Locked, OneOfManyTakesWhatWasLeft) {
  const auto json = [&] {
    auto left = mine();
    left["started"] = 1;
    return left;
  }();
  for (int round = 0; round < 10; ++round) {
    leave(json);
    std::atomic<int> won{0}, lost{0};
    std::vector<std::thread> threads;
    std::atomic<bool> go{false};
    for (int t = 0; t < 6; ++t)
      threads.emplace_back([&] {
        while (!go) std::this_thread::yield();
        try {
          const FolderLock lock(place, "x", "");
          won += 1;
          while (won + lost < 6) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        } catch (const Error&) {
          lost += 1;
        }
      });
    go = true;
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(won, 1);
    EXPECT_EQ(files(), 0);
  }
}

TEST_F(Locked, OneThatWasDeletedByHandComesBack) {
  const FolderLock lock(place, "results/x", "", options(0.6));
  std::filesystem::remove(lock.file());
  const double end = now_s() + 10;
  while (!path_exists(lock.file()) && now_s() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(path_exists(lock.file()));
}

TEST_F(Locked, AProcessThatWasTakenForDeadEnds) {
  const auto lose = [&] {
    const FolderLock lock(place, "results/x", "", options(0.6));
    const nlohmann::json other{{"host", "n2"}, {"pid", 5}, {"started", 1}, {"time", 0}};
    std::filesystem::remove(lock.file());
    replace(place + ".9", other.dump());
    std::this_thread::sleep_for(std::chrono::seconds(30));
  };
  EXPECT_EXIT(lose(), ::testing::ExitedWithCode(4),
              "results/x: the lock was taken over by process 5 on n2");
}

}  // namespace
