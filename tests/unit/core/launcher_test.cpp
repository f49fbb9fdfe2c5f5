#include "core/launcher.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace dissent {
namespace {

// Variables of launchers for the time of a test; all others of launchers are unset.
class Environment {
 public:
  explicit Environment(const std::map<std::string, std::string>& values) {
    for (const char* name :
         {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE", "PMI_FD",
          "PMIX_RANK", "PMIX_NAMESPACE", "PALS_RANKID", "PALS_SIZE", "MV2_COMM_WORLD_RANK",
          "MV2_COMM_WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS"}) {
      if (const char* text = std::getenv(name)) before_[name] = text;
      unsetenv(name);
    }
    for (const auto& [name, value] : values) setenv(name.c_str(), value.c_str(), 1);
    set_ = values;
  }
  ~Environment() {
    for (const auto& [name, value] : set_) unsetenv(name.c_str());
    for (const auto& [name, value] : before_) setenv(name.c_str(), value.c_str(), 1);
  }

 private:
  std::map<std::string, std::string> before_, set_;
};

Launched with(const std::map<std::string, std::string>& values) {
  const Environment environment(values);
  return launched();
}

TEST(Launcher, NoneMeansOneProcessWithoutMpi) {
  const auto found = with({});
  EXPECT_EQ(found.rank, 0);
  EXPECT_EQ(found.ranks, 0);
  EXPECT_FALSE(found.has_mpi);
}

TEST(Launcher, MpirunOfOpenMpiAndOfHydra) {
  auto found = with({{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "5"}});
  EXPECT_EQ(found.rank, 2);
  EXPECT_EQ(found.ranks, 5);
  EXPECT_TRUE(found.has_mpi);
  found = with({{"PMI_RANK", "1"}, {"PMI_SIZE", "3"}});
  EXPECT_EQ(found.rank, 1);
  EXPECT_EQ(found.ranks, 3);
  EXPECT_TRUE(found.has_mpi);
}

// A batch script has SLURM_PROCID, but is no step: mpirun and dissent in it start alone.
TEST(Launcher, BatchScriptIsNoStep) {
  const auto found = with({{"SLURM_PROCID", "0"}, {"SLURM_JOB_ID", "7"}});
  EXPECT_EQ(found.ranks, 0);
  EXPECT_FALSE(found.has_mpi);
}

TEST(Launcher, SrunWithAndWithoutPmi) {
  const std::map<std::string, std::string> step{
      {"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_PROCID", "3"}};
  auto found = with(step);
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.ranks, 4);
  EXPECT_FALSE(found.has_mpi);
  for (const char* name : {"PMIX_RANK", "PMI_FD"}) {
    auto pmi = step;
    pmi[name] = "3";
    found = with(pmi);
    EXPECT_EQ(found.rank, 3) << name;
    EXPECT_EQ(found.ranks, 4) << name;
    EXPECT_TRUE(found.has_mpi) << name;
  }
}

// mpirun in a step of Slurm: its own numbers count.
TEST(Launcher, MpirunWithinAStep) {
  const auto found = with({{"SLURM_STEP_ID", "0"},
                           {"SLURM_STEP_NUM_TASKS", "1"},
                           {"SLURM_PROCID", "0"},
                           {"OMPI_COMM_WORLD_RANK", "1"},
                           {"OMPI_COMM_WORLD_SIZE", "2"}});
  EXPECT_EQ(found.rank, 1);
  EXPECT_EQ(found.ranks, 2);
}

TEST(Launcher, NumbersThatAreNone) {
  EXPECT_EQ(with({{"OMPI_COMM_WORLD_RANK", "two"}}).ranks, 0);
  EXPECT_EQ(with({{"PMI_RANK", ""}}).ranks, 0);
}

}  // namespace
}  // namespace dissent
