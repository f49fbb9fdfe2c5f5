#include "jobs/job.hpp"

#include <gtest/gtest.h>

#include "config/errors.hpp"
#include "config/parse.hpp"
#include "unit/jobs/made_jobs.hpp"

using namespace dissent;
using namespace dissent::jobs;
using dissent::jobs::testing::jobs_of;

namespace {

using Texts = std::vector<std::string>;

std::string parsed(const std::string& key, const std::string& cell) {
  config::ConfigErrors errors;
  const auto node = config::parse_override(override_text(key, cell), errors);
  errors.raise();
  return node.table()->at(key).text();
}

std::string key_of(const std::string& text, const std::string& name) {
  for (const auto& job : jobs_of(text))
    if (job.name == name) return job.key;
  return "";
}

}  // namespace

TEST(Job, ACellIsOneValueWhateverItHolds) {
  EXPECT_EQ(override_text("x", "0.5"), "x=0.5");
  EXPECT_EQ(override_text("x", "[1, 2]"), "x=[1, 2]");
  EXPECT_EQ(override_text("x", "bf16"), "x=\"bf16\"");
  EXPECT_EQ(override_text("x", "$(touch x)"), "x=\"$(touch x)\"");
  // A newline cannot add a second key, nor can an unfinished string.
  EXPECT_EQ(parsed("x", "1\ny = 2"), "\"1\\ny = 2\"");
  EXPECT_EQ(parsed("x", "\"a"), "\"\\\"a\"");
  EXPECT_EQ(parsed("x", "a; rm -rf /"), "\"a; rm -rf /\"");
}

TEST(Job, TheCommandIsAListOfWords) {
  const auto jobs = jobs_of(
      "verb,config,set:a.b,set:c,arguments\ntrain,$(touch "
      "x).toml,1,\"two\nlines\",\"[\"\"--quiet\"\"]\"\n");
  EXPECT_EQ(jobs[0].command(), (Texts{"train", "$(touch x).toml", "--set", "a.b=1", "--set",
                                      "c=\"two\\nlines\"", "--quiet"}));
}

TEST(Job, IsKnownByWhatItComputesNotByItsRow) {
  const std::string a = "a,train,x.toml,1,2,\n", b = "b,train,x.toml,2,1,note\n",
                    head = "name,verb,config,set:s,ranks,text\n";
  EXPECT_EQ(key_of(head + a + b, "a"), key_of(head + b + a, "a"));
  EXPECT_NE(key_of(head + a + b, "a"), key_of(head + a + b, "b"));
  EXPECT_EQ(key_of(head + a, "a"),
            key_of(head + "other,train,x.toml,1,8,\n", "other"));  // ranks and names are execution
  EXPECT_TRUE(key_of(head + a, "a").starts_with("train-"));
  EXPECT_EQ(key_of(head + a, "a").size(), 6U + 16U);
}

TEST(Job, EqualRowsAreNamed) {
  EXPECT_ERROR_ALL(jobs_of("name,verb,config\na,train,x.toml\nb,train,y.toml\nc,train,x.toml\n"),
                   "s.csv:4: 'c' is the same job as 'a' of line 2");
}

TEST(Job, ErrorsOfConfigurationsNameTheRow) {
  EXPECT_ERROR_ALL(
      jobs_of("name,verb,config,ranks\na,train,bad.toml,1\nb,train,x.toml,0\nc,,x.toml,1\n"),
      "s.csv:2: a: --set: optimizer.learning_rat: unknown key",
      "s.csv:2: a: --set: training.epochs",
      "s.csv:3: b: ranks: expected an integer >= 1, found \"0\"",
      "s.csv:4: c: verb: expected the verb");
}

TEST(Job, RowsThatAreNotEnabledAreNotReadAndCountAsDone) {
  const auto jobs =
      jobs_of("name,verb,config,enabled,after\na,train,bad.toml,0,\nb,train,x.toml,yes,a\n");
  EXPECT_FALSE(jobs[0].enabled);
  EXPECT_TRUE(jobs[1].after.empty());
  EXPECT_ERROR_ALL(jobs_of("verb,enabled\nv,maybe\n"), "enabled: expected 1 or 0");
}

TEST(Job, AfterNamesRowsBeforeOrAfterExpansionOrByPattern) {
  const auto jobs = jobs_of(
      "name,verb,config,after,set:s\ntrain,train,x.toml,,{1..3}\ne1,evaluate,e.toml,train,1\ne2,"
      "evaluate,e.toml,train-2,2\ne3,evaluate,e.toml,train-* e1,3\n");
  EXPECT_EQ(jobs[3].after.size(), 3U);
  EXPECT_EQ(jobs[4].after, (Texts{jobs[1].key}));
  EXPECT_EQ(jobs[5].after.size(), 4U);
  EXPECT_ERROR_ALL(jobs_of("name,verb,config,after\nrun,train,x.toml,\ne,evaluate,e.toml,ran\n"),
                   "s.csv:3: after: expected the name of a row, found 'ran'; did you mean 'run'?");
  EXPECT_ERROR_ALL(
      jobs_of("name,verb,config,after\na,train,x.toml,b\nb,train,y.toml,a\nc,train,z.toml,\n"),
      "wait for each other: ");
  EXPECT_ERROR_ALL(jobs_of("name,verb,config,after\na,train,x.toml,a\n"), "wait for each other: a");
}

TEST(Job, TheSignalBeforeTheTimeLimitMayComeEarlier) {
  for (const char* cell : {"600", "B:USR1@600", "USR1@600", "B:SIGUSR1@600"}) {
    const auto jobs = jobs_of(std::string("verb,config,slurm:signal\ntrain,x.toml,") + cell + "\n");
    EXPECT_EQ(jobs[0].slurm, Texts{"--signal=B:USR1@600"}) << cell;
    EXPECT_EQ(jobs[0].signal_s, 600) << cell;
  }
  for (const char* cell : {"TERM@600", "5", "ten", "70000", "USR1"})
    EXPECT_ERROR_ALL(jobs_of(std::string("verb,config,slurm:signal\ntrain,x.toml,") + cell + "\n"),
                     "slurm:signal: expected the number of seconds",
                     std::string("found \"") + cell + "\"");
}

TEST(Job, OptionsOfSbatchAreWordsAndSomeAreOurs) {
  const auto jobs = jobs_of("verb,config,slurm:time,slurm:mem\ntrain,x.toml,01:00:00,$(touch x)\n");
  EXPECT_EQ(jobs[0].slurm, (Texts{"--mem=$(touch x)", "--time=01:00:00"}));
  for (const char* own : {"wrap", "array", "dependency", "output", "export"})
    EXPECT_ERROR_ALL(jobs_of(std::string("verb,config,slurm:") + own + "\ntrain,x.toml,1\n"),
                     "set by dissent itself");
  EXPECT_ERROR_ALL(jobs_of("verb,config,slurm:-t\ntrain,x.toml,1\n"),
                   "expected the long name of an option of sbatch");
  EXPECT_ERROR_ALL(jobs_of("verb,config,template\ntrain,x.toml,../x\n"),
                   "template: expected the name of a batch script");
}
