// What the tests of jobs share: errors of several lines, a folder of their own, a resolver without
// configurations.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include <dissent/error.hpp>

#include "jobs/job.hpp"

namespace dissent::jobs::testing {

/// Runs f and expects an Error whose message holds every text.
template <class F>
void expect_texts(const std::vector<std::string>& texts, F f) {
  try {
    f();
    ADD_FAILURE() << "no error; expected one with '" << texts[0] << "'";
  } catch (const Error& error) {
    for (const auto& text : texts)
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos)
          << "'" << text << "' is not in:\n"
          << error.what();
  }
}
#define EXPECT_ERROR_ALL(expression, ...) \
  ::dissent::jobs::testing::expect_texts({__VA_ARGS__}, [&] { static_cast<void>(expression); })

/// A folder that goes with the test.
struct Folder {
  Folder() {
    static int count = 0;
    path = (std::filesystem::temp_directory_path() /
            ("dissent_jobs_test." + std::to_string(::getpid()) + "." + std::to_string(count++)))
               .string();
    std::filesystem::create_directories(path);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
};

/// A configuration is its name and overrides; "bad.toml" has two errors. A training has one run,
/// runs/<hash>.
inline Resolution resolve_text(const std::string& verb, const std::string& config,
                               const std::vector<std::string>& overrides,
                               const std::vector<std::string>&) {
  DISSENT_CHECK(config != "bad.toml", kUsage,
                "--set: optimizer.learning_rat: unknown key; did you mean 'learning_rate'?\n--set: "
                "training.epochs: expected an integer >= 1, found 0");
  std::string hash = config;
  for (const auto& text : overrides) hash += " " + text;
  Resolution out{.hash = hash, .place = "results", .runs = {}, .hashes = {}, .inputs = {}};
  if (verb == "train") out.runs = {"runs/" + as_name(hash)}, out.hashes = {hash};
  return out;
}

inline std::vector<Job> jobs_of(const std::string& text) {
  return make_jobs(parse_sheet("s.csv", text), resolve_text);
}

}  // namespace dissent::jobs::testing
