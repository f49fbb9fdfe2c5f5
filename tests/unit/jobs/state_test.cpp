#include "jobs/state.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "jobs/execute.hpp"
#include "jobs/queue.hpp"
#include "jobs/stage.hpp"
#include "jobs/status.hpp"
#include "storage/atomic_file.hpp"
#include "storage/staged.hpp"
#include "unit/jobs/made_jobs.hpp"

using namespace dissent;
using namespace dissent::jobs;
using dissent::jobs::testing::Folder;
using dissent::jobs::testing::jobs_of;

namespace {

const ProcessId kElsewhere{"another-host", 1, 1};

Stop stop_of(int code, EndReason reason, bool is_final) {
  return {.code = code,
          .reason = reason,
          .message = "m",
          .wall_s = 2,
          .time = now_s(),
          .is_final = is_final};
}

// A Slurm that is not there.
Status status_in(const Folder& folder, const Job& job) {
  Slurm slurm;
  return status_of(job, folder.path, slurm);
}

struct OneJob : ::testing::Test {
  OneJob()
      : job(jobs_of("name,verb,config\na,train,x.toml\n")[0]),
        own(job_folder(folder.path, job.key)) {
    job.resolution.runs = {folder.path + "/run"};
    setenv("PATH_SAVED", std::getenv("PATH"), 1);
    setenv("PATH", "/nowhere", 1);  // no squeue
  }
  ~OneJob() override { setenv("PATH", std::getenv("PATH_SAVED"), 1); }
  Attempt attempt(int64_t number, Backend backend = Backend::kLocal) const {
    return attempt_of(job, number, "s.csv", backend);
  }
  Folder folder;
  Job job;
  std::string own;
};

}  // namespace

TEST(CreateOnce, OneOfManyWins) {
  Folder folder;
  for (int round = 0; round < 20; ++round) {
    const std::string path = folder.path + "/f" + std::to_string(round);
    std::atomic<int> won{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t)
      threads.emplace_back([&, t] { won += create_once(path, std::to_string(t)); });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(won, 1);
  }
  int files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path))
    ++files;
  EXPECT_EQ(files, 20);  // nothing temporary is left
}

TEST_F(OneJob, AnAttemptReadsBackAsItWasWritten) {
  job.overrides = {"a=\"$(touch x)\\n\""};
  auto written = attempt(1);
  written.batch = "b", written.index = 4;
  EXPECT_TRUE(claim(own, written));
  EXPECT_FALSE(claim(own, attempt(1)));
  const auto state = read_state(own);
  ASSERT_TRUE(state.attempt);
  EXPECT_EQ(state.number, 1);
  EXPECT_EQ(state.attempt->command, job.command());
  EXPECT_EQ(state.attempt->index, 4);
  EXPECT_EQ(state.attempt->by, this_process());
  EXPECT_FALSE(state.begun());
}

// Names that nobody here gives: a list of so many starts would not fit into memory.
TEST_F(OneJob, ANumberOfAStartThatCannotBeIsNotOne) {
  ASSERT_TRUE(claim(own, attempt(1)));
  ASSERT_TRUE(put_start(own, 1, 0, {.by = this_process(), .time = now_s(), .slurm_job = {}}));
  for (const char* name : {"start.1.9223372036854775807", "stop.1.999999999999", "start.1.100001"})
    std::ofstream(own + "/" + name) << "{}";
  const auto state = read_state(own);
  EXPECT_EQ(state.starts.size(), 1u);
  EXPECT_TRUE(state.stops.empty());
}

TEST_F(OneJob, GoesFromWaitingToDone) {
  EXPECT_EQ(status_in(folder, job).phase, Phase::kWaiting);
  claim(own, attempt(1));
  EXPECT_EQ(status_in(folder, job).phase, Phase::kSubmitting);  // by this process, which lives
  put_start(own, 1, 0, {.by = this_process(), .time = now_s(), .slurm_job = ""});
  EXPECT_EQ(status_in(folder, job).phase, Phase::kRunning);
  put_stop(own, 1, 0, stop_of(0, EndReason::kDone, true));
  EXPECT_EQ(status_in(folder, job).phase, Phase::kDone);
  EXPECT_DOUBLE_EQ(status_in(folder, job).wall_s, 2);
}

TEST_F(OneJob, ADeadProcessIsFoundAtOnceOnItsHostAndAfterTheLeaseElsewhere) {
  auto dead = this_process();
  dead.started -= 1;  // the number was used again
  claim(own, attempt(1));
  put_start(own, 1, 0, {.by = dead, .time = now_s(), .slurm_job = ""});
  EXPECT_EQ(status_in(folder, job).phase, Phase::kLost);
  put_beat(own, 1, {.by = kElsewhere, .time = now_s() + 0.01, .restart = 0, .stop = {}});
  EXPECT_EQ(status_in(folder, job).phase, Phase::kRunning);
  put_beat(own, 1, {.by = kElsewhere, .time = now_s() - lease_s() - 1, .restart = 0, .stop = {}});
  EXPECT_EQ(status_in(folder, job).phase, Phase::kLost);
}

TEST_F(OneJob, AnyOneFileMayBeDeletedAfterTheEnd) {
  for (const char* name : {"attempt.1", "start.1.0", "beat.1", "stop.1.0"}) {
    std::filesystem::remove_all(own);
    claim(own, attempt(1));
    put_start(own, 1, 0, {.by = this_process(), .time = now_s(), .slurm_job = ""});
    put_beat(own, 1,
             {.by = this_process(),
              .time = now_s(),
              .restart = 0,
              .stop = stop_of(0, EndReason::kDone, true)});
    put_stop(own, 1, 0, stop_of(0, EndReason::kDone, true));
    ASSERT_TRUE(std::filesystem::remove(own + "/" + name));
    EXPECT_EQ(status_in(folder, job).phase, Phase::kDone) << "without " << name;
  }
}

TEST_F(OneJob, AnAttemptThatWasGivenUpIsNotStarted) {
  claim(own, attempt(1));
  EXPECT_TRUE(abandon(own, 1));
  EXPECT_FALSE(abandon(own, 1));
  std::string why;
  EXPECT_FALSE(begin(own, attempt(1), why));
  EXPECT_NE(why.find("declared lost"), std::string::npos);
}

TEST_F(OneJob, AnAttemptThatBegunIsNotGivenUp) {
  claim(own, attempt(1));
  std::string why;
  EXPECT_EQ(begin(own, attempt(1), why), 0);
  EXPECT_FALSE(abandon(own, 1));
  put_stop(own, 1, 0, stop_of(75, EndReason::kTimeLimit, false));
  put_beat(own, 1,
           {.by = this_process(),
            .time = now_s(),
            .restart = 0,
            .stop = stop_of(75, EndReason::kTimeLimit, false)});
  EXPECT_EQ(begin(own, attempt(1), why), 1);
  EXPECT_EQ(read_state(own).failures(), 0);
}

TEST_F(OneJob, LostAndFailedStartsCount) {
  claim(own, attempt(1));
  auto dead = this_process();
  dead.started -= 1;
  put_start(own, 1, 0, {.by = dead, .time = now_s(), .slurm_job = ""});
  put_start(own, 1, 1, {.by = dead, .time = now_s(), .slurm_job = ""});
  put_stop(own, 1, 1, stop_of(137, EndReason::kFailed, false));
  put_start(own, 1, 2, {.by = this_process(), .time = now_s(), .slurm_job = ""});
  EXPECT_EQ(read_state(own).failures(), 2);
}

TEST_F(OneJob, TwoSubmittersMakeOneAttempt) {
  const std::vector<Job> jobs{job};
  Queue first(jobs, jobs, "s.csv", folder.path), second(jobs, jobs, "s.csv", folder.path);
  EXPECT_TRUE(first.next_attempt(0, Backend::kLocal, "", -1));
  EXPECT_FALSE(second.next_attempt(0, Backend::kLocal, "", -1));
  put_start(own, 1, 0, {.by = this_process(), .time = now_s(), .slurm_job = ""});
  put_stop(own, 1, 0, stop_of(3, EndReason::kFailed, true));
  first.refresh(false);
  EXPECT_TRUE(may_start(first.status(0).phase));
  EXPECT_EQ(first.next_attempt(0, Backend::kLocal, "", -1)->number, 2);
  EXPECT_FALSE(second.next_attempt(0, Backend::kLocal, "", -1));  // it still thinks of attempt 1
}

TEST_F(OneJob, ALostAttemptIsEndedBeforeTheNext) {
  claim(own, attempt(1));
  auto dead = this_process();
  dead.started -= 1;
  put_start(own, 1, 0, {.by = dead, .time = now_s(), .slurm_job = ""});
  const std::vector<Job> jobs{job};
  Queue queue(jobs, jobs, "s.csv", folder.path);
  EXPECT_EQ(queue.status(0).phase, Phase::kLost);
  EXPECT_EQ(queue.next_attempt(0, Backend::kLocal, "", -1)->number, 2);
  std::string why;
  EXPECT_TRUE(path_exists(own + "/stop.1.0"));
}

TEST_F(OneJob, ARunThatWasFinishedByHandIsDone) {
  std::filesystem::create_directories(job.resolution.runs[0]);
  const auto write = [&](const std::string& hash) {
    replace(job.resolution.runs[0] + "/provenance.json",
            "{\"state\": \"finished\", \"config_hash\": \"" + hash + "\"}");
  };
  write(job.resolution.hashes[0]);
  EXPECT_EQ(status_in(folder, job).phase, Phase::kDone);
  write("another");
  EXPECT_EQ(status_in(folder, job).phase, Phase::kWaiting);
}

TEST_F(OneJob, RunningSaysEpochAndTimeLeft) {
  std::filesystem::create_directories(job.resolution.runs[0]);
  claim(own, attempt(1));
  put_start(own, 1, 0, {.by = this_process(), .time = now_s() - 100, .slurm_job = "", .epoch = 1});
  replace(job.resolution.runs[0] + "/progress.json",
          "{\"epoch\": 3, \"epochs\": 11, \"steps\": 5}");
  replace(job.resolution.runs[0] + "/train.csv", "epoch,total,nll\n0,1.5,\n2,0.5,0.25\n");
  const auto status = status_in(folder, job);
  EXPECT_EQ(status.detail,
            "3 of 11 epochs, 6.7 min left");  // two epochs took 100 s, eight are left
  EXPECT_EQ(status.progress.last.at("total"), "0.5");
}

TEST(Progress, TheLastErrorLineIsOurs) {
  Folder folder;
  const std::string path = folder.path + "/stderr.txt";
  std::ofstream(path) << "2026-01-01 level=info event=start\ndissent: first: too early\ndissent: "
                         "x.cache is not there\n-----\nPrimary job terminated normally\n";
  EXPECT_EQ(last_error_line(path), "x.cache is not there");
  EXPECT_EQ(last_error_line(path, file_bytes(path) - 38), "Primary job terminated normally");
  EXPECT_EQ(last_error_line(folder.path + "/none"), "");
}

TEST(Progress, WhatLaunchersSayIsNoReason) {
  Folder folder;
  const std::string path = folder.path + "/stderr.txt", rule(74, '-');
  const std::string boilerplate =
      rule +
      "\nMPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD\nwith errorcode 3.\n\n"
      "NOTE: invoking MPI_ABORT causes Open MPI to kill all MPI processes.\n" +
      rule + "\n" +
      "[n1:4242] 1 more process has sent help message help-mpi-api.txt / mpi-abort\n" + rule +
      "\nPrimary job  terminated normally, but 1 process returned\na non-zero exit code. Per "
      "user-direction, the job has been aborted.\n" +
      rule + "\n";
  // Between the launcher's lines, before them, and nowhere.
  std::ofstream(path) << boilerplate << rule
                      << "\nmpirun noticed that\ndissent: rank 1 on n1: x is "
                      << "damaged\n"
                      << boilerplate;
  EXPECT_EQ(last_error_line(path), "rank 1 on n1: x is damaged");
  std::ofstream(path) << "terminate called after throwing an instance of 'std::bad_alloc'\n"
                      << "[n1:4242] *** Process received signal ***\n[n1:4242] [ 0] libc.so.6\n"
                      << boilerplate << "srun: error: n1: task 0: Aborted\n";
  EXPECT_EQ(last_error_line(path),
            "terminate called after throwing an instance of 'std::bad_alloc'");
  std::ofstream(path) << boilerplate << "slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED ***\n";
  EXPECT_EQ(last_error_line(path), "");
}

TEST_F(OneJob, WallTimesOfAllStartsAddUp) {
  claim(own, attempt(1));
  const auto start = [&](int64_t restart, double before_s) {
    put_start(own, 1, restart,
              {.by = kElsewhere, .time = now_s(), .slurm_job = "", .wall_before_s = before_s});
  };
  const auto beat = [&](int64_t restart, double after_s) {
    put_beat(own, 1, {.by = kElsewhere, .time = now_s() + after_s, .restart = restart, .stop = {}});
  };
  start(0, 0);
  put_stop(own, 1, 0, stop_of(75, EndReason::kTimeLimit, false));  // 2 s
  start(1, 2);
  beat(1, 30);  // lost with its node after half a minute
  EXPECT_NEAR(read_state(own).wall_s(), 32, 0.5);
  start(2, read_state(own).wall_s());
  EXPECT_NEAR(read_state(own).wall_s(), 32, 0.5);
  beat(2, 8);
  EXPECT_NEAR(read_state(own).wall_s(), 40, 0.5);
  // Another submitter continues the count.
  const std::vector<Job> jobs{job};
  setenv("DISSENT_JOBS_LEASE_S", "1e-9", 1);
  put_beat(own, 1, {.by = kElsewhere, .time = now_s() - 1, .restart = 2, .stop = {}});
  const double lost_s = read_state(own).wall_s();
  Queue queue(jobs, jobs, "s.csv", folder.path);
  ASSERT_EQ(queue.status(0).phase, Phase::kLost);
  const auto next = queue.next_attempt(0, Backend::kLocal, "", -1);
  unsetenv("DISSENT_JOBS_LEASE_S");
  ASSERT_TRUE(next);
  EXPECT_NEAR(next->wall_before_s, lost_s, 0.01);
  put_start(own, 2, 0, {.by = this_process(), .time = now_s(), .slurm_job = ""});
  put_stop(own, 2, 0, stop_of(0, EndReason::kDone, true));
  EXPECT_NEAR(status_in(folder, job).wall_s, lost_s + 2, 0.01);
}

TEST_F(OneJob, ADependentSaysWhichRowItWasNotStartedFor) {
  const auto jobs = jobs_of(
      "name,verb,config,after\nbad,train,b.toml,\nmid,train,m.toml,bad\nlast,train,l.toml,mid\n"
      "other,train,o.toml,\nfree,train,f.toml,other\n");
  const auto end = [&](size_t i, const Stop& stop) {
    const auto at = job_folder(folder.path, jobs[i].key);
    claim(at, attempt_of(jobs[i], 1, "s.csv", Backend::kLocal));
    put_start(at, 1, 0, {.by = this_process(), .time = now_s(), .slurm_job = ""});
    put_stop(at, 1, 0, stop);
  };
  end(0, stop_of(3, EndReason::kFailed, true));
  Slurm slurm;
  const auto all = [&] {
    std::vector<Status> statuses;
    for (const auto& one : jobs) statuses.push_back(status_of(one, folder.path, slurm));
    note_not_started(jobs, jobs, statuses, folder.path, slurm);
    return statuses;
  };
  EXPECT_EQ(all()[1].detail, "not started: `bad` failed");
  EXPECT_EQ(all()[2].detail, "not started: `bad` failed");  // not `mid`, which did nothing
  EXPECT_EQ(all()[4].detail, "");
  // One that was given up with its predecessor, and would be lost, was no more than not started.
  const auto mid = job_folder(folder.path, jobs[1].key);
  claim(mid, attempt_of(jobs[1], 1, "s.csv", Backend::kLocal));
  put_start(mid, 1, 0, {.by = this_process(), .time = now_s(), .slurm_job = {}, .abandoned = true});
  EXPECT_EQ(all()[1].phase, Phase::kCancelled);
  EXPECT_EQ(all()[1].detail, "not started: `bad` failed");
  // Alone, too: the others are looked at for it.
  std::vector<Status> one{status_of(jobs[2], folder.path, slurm)};
  note_not_started(jobs, {jobs[2]}, one, folder.path, slurm);
  EXPECT_EQ(one[0].detail, "not started: `bad` failed");
  end(3, stop_of(75, EndReason::kCancelled, true));
  EXPECT_EQ(all()[4].detail, "not started: `other` was cancelled");
}

TEST_F(OneJob, AFailureNamesItsLogAndHost) {
  claim(own, attempt(1));
  put_start(own, 1, 0, {.by = this_process(), .time = now_s(), .slurm_job = ""});
  replace(own + "/stderr.txt", "dissent: " + std::string(300, 'x') + "\n");
  auto stop = stop_of(3, EndReason::kFailed, true);
  stop.message = std::string(300, 'x');
  put_stop(own, 1, 0, stop);
  const auto status = status_in(folder, job);
  EXPECT_EQ(status.host, this_process().host);
  EXPECT_EQ(status.log, own + "/stderr.txt");
  const auto text = status_table({job}, {status});
  EXPECT_NE(text.find("x...; log: " + own + "/stderr.txt"), std::string::npos) << text;
  EXPECT_NE(text.find(this_process().host), std::string::npos) << text;
}

TEST(Stage, ACopyIsTakenOnlyOfTheCacheAsItIs) {
  Folder folder;
  const std::string cache = folder.path + "/a.cache", scratch = folder.path + "/scratch";
  std::filesystem::create_directories(cache);
  replace(cache + "/manifest.toml", "one");
  replace(cache + "/shard-00000.h5", "rows");
  setenv("DISSENT_STAGED", scratch.c_str(), 1);
  EXPECT_EQ(staged_path(cache), cache);
  EXPECT_EQ(stage({scratch, cache}), 0);
  EXPECT_NE(staged_path(cache), cache);
  EXPECT_EQ(read_text(staged_path(cache) + "/shard-00000.h5"), "rows");
  replace(cache + "/manifest.toml", "two");
  EXPECT_EQ(staged_path(cache), cache);
  unsetenv("DISSENT_STAGED");
  EXPECT_EQ(staged_path(cache), cache);
}

TEST(Process, WordsReachAProgramAsTheyAre) {
  const auto said = run_captured({"printf", "%s|", "$(touch x)", "a\nb", "", "*"});
  EXPECT_EQ(said.out, "$(touch x)|a\nb||*|");
  EXPECT_EQ(run_captured({"sh", "-c", "echo bad >&2; exit 7"}).code, 7);
  EXPECT_EQ(run_captured({"sh", "-c", "kill -9 $$"}).code, 137);
  EXPECT_EQ(run_captured({"sleep", "20"}, 0.3).code, 124);
  EXPECT_ERROR_ALL(run_captured({"no-such-program"}),
                   "cannot start no-such-program: No such file or directory");
}

TEST_F(OneJob, AFinishedJobIsAskedForAgainUntilItIsDoneAnew) {
  ASSERT_TRUE(claim(own, attempt(1)));
  put_start(own, 1, 0, {.by = this_process(), .time = now_s(), .slurm_job = {}});
  put_stop(own, 1, 0, stop_of(0, EndReason::kDone, true));
  EXPECT_EQ(status_in(folder, job).phase, Phase::kDone);
  EXPECT_TRUE(put_again(own, 1));
  EXPECT_FALSE(put_again(own, 1));
  EXPECT_EQ(status_in(folder, job).phase, Phase::kWaiting);
  EXPECT_TRUE(status_in(folder, job).again);
  // The attempt leaves the old run alone; one after a failed one does too, one after the end not.
  const Queue queue({job}, {job}, "s.csv", folder.path);
  const auto next = queue.next_attempt(0, Backend::kLocal, "", -1);
  ASSERT_TRUE(next);
  EXPECT_TRUE(next->again);
  EXPECT_EQ(next->command.back(), "--again");
  EXPECT_EQ(next->runs[0], folder.path + "/.again/run");
  put_start(own, 2, 0, {.by = this_process(), .time = now_s(), .slurm_job = {}});
  put_stop(own, 2, 0, stop_of(3, EndReason::kFailed, true));
  EXPECT_EQ(status_in(folder, job).phase, Phase::kFailed);
  const auto third =
      Queue({job}, {job}, "s.csv", folder.path).next_attempt(0, Backend::kLocal, "", -1);
  ASSERT_TRUE(third);
  EXPECT_TRUE(third->again);
  put_stop(own, 3, 0, stop_of(0, EndReason::kDone, true));
  EXPECT_EQ(status_in(folder, job).phase, Phase::kDone);
  EXPECT_FALSE(attempt_of(job, 4, "s.csv", Backend::kLocal).again);
}

TEST_F(OneJob, WhetherToRunCountsWhereItWasSeenAsZeroInTheSameSheet) {
  const std::string on = "name,verb,config,whether_to_run\na,train,x.toml,1\n",
                    off = "name,verb,config,whether_to_run\na,train,x.toml,0\n";
  ASSERT_TRUE(claim(own, attempt(1)));
  put_stop(own, 1, 0, stop_of(0, EndReason::kDone, true));
  Slurm slurm;
  EXPECT_EQ(status_in(folder, jobs_of(on)[0]).phase, Phase::kDone);
  const auto left_out = jobs_of(off);
  EXPECT_FALSE(left_out[0].enabled);
  EXPECT_EQ(left_out[0].off_key, job.key);
  note_off(left_out, folder.path, slurm);
  EXPECT_EQ(status_in(folder, jobs_of(on)[0]).phase, Phase::kWaiting);
  EXPECT_EQ(status_in(folder, job).phase, Phase::kDone);  // a sheet without the column
  auto other = jobs_of(on)[0];
  other.sheet_mark = sheet_mark("other.csv");
  EXPECT_EQ(status_in(folder, other).phase, Phase::kDone);
}
