// A small configuration for the tests of this folder: keys at the top, a table, an optional table,
// one without keys, an array of tables.
#pragma once
#include <gtest/gtest.h>

#include <cstdint>
#include <dissent/error.hpp>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "config/document.hpp"
#include "config/read.hpp"

namespace dissent::config {

struct RunOptions {
  std::string experiment = "unnamed";
  std::vector<int64_t> seeds = {42};
};

struct TrainingOptions {
  int64_t epochs = 1;
  double learning_rate = 1e-3;
  std::string precision = "f32";
  bool nesterov = false;
  std::optional<int64_t> threads;
  std::vector<double> milestones;
  std::vector<std::string> metrics = {"accuracy"};
  double offset = 0;
};

struct A2dOptions {
  double weight = 1;
  std::string sample_weight = "none";
};

struct SetOptions {
  std::string name = "";
  std::string shift = "id";
  int64_t workers = 1;
};

struct Sample {
  RunOptions run;
  TrainingOptions training;
  A2dOptions a2d;
  bool with_a2d = false;
  bool with_entropy = false;
  std::vector<SetOptions> sets;

  Schema schema() {
    static const TableSpec run_spec =
        TableOf<RunOptions>("", "The run")
            .option("experiment", &RunOptions::experiment, {.meaning = "Name of the experiment"})
            .option("seeds", &RunOptions::seeds, {.meaning = "One run each", .min = 0});
    static const TableSpec training_spec =
        TableOf<TrainingOptions>("training", "How long and how")
            .option("epochs", &TrainingOptions::epochs,
                    {.meaning = "Epochs", .min = 1, .max = 10000})
            .option("learning_rate", &TrainingOptions::learning_rate,
                    {.meaning = "Step size", .min = 0})
            .option("precision", &TrainingOptions::precision,
                    {.meaning = "Number type | autocast", .choices = {"f32", "bf16", "f16"}})
            .option("nesterov", &TrainingOptions::nesterov, {.meaning = "Nesterov momentum"})
            .option("threads", &TrainingOptions::threads,
                    {.meaning = "Threads a rank", .scope = Scope::kExecution, .min = 1})
            .option("milestones", &TrainingOptions::milestones,
                    {.meaning = "Epochs of decay", .min = 0})
            .option("metrics", &TrainingOptions::metrics,
                    {.meaning = "What to print",
                     .scope = Scope::kExecution,
                     .choices = {"accuracy", "auroc"}})
            .option("offset", &TrainingOptions::offset, {.meaning = "Any number"});
    static const TableSpec a2d_spec =
        TableOf<A2dOptions>("loss.a2d", "Disagreement")
            .option("weight", &A2dOptions::weight, {.meaning = "Factor", .min = 0})
            .option("sample_weight", &A2dOptions::sample_weight,
                    {.meaning = "Weights of samples", .choices = {"none", "hard"}});
    static const TableSpec set_spec =
        TableOf<SetOptions>("evaluate.sets", "A set to score")
            .option("name", &SetOptions::name, {.meaning = "Shown name"})
            .option("shift", &SetOptions::shift,
                    {.meaning = "Kind of shift", .choices = {"id", "near", "far"}})
            .option("workers", &SetOptions::workers,
                    {.meaning = "Readers", .scope = Scope::kExecution, .min = 1});
    Schema out;
    out.table(training_spec, training).table(run_spec, run).optional_table(a2d_spec, a2d, with_a2d);
    out.optional_table("loss.entropy", "Entropy bonus", with_entropy).tables(set_spec, sets);
    return out;
  }
};

/// The document of a text called run.toml.
inline Document document_of(const std::string& text,
                            const std::vector<std::string>& overrides = {}) {
  return load_document(read_sources("run.toml", text), overrides);
}

inline Sample read_sample(const std::string& text, const std::vector<std::string>& overrides = {}) {
  Sample sample;
  read(document_of(text, overrides), sample.schema());
  return sample;
}

/// The lines of the usage error that f raises; one line "no error" if it raises none.
inline std::vector<std::string> error_lines(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage) << error.what();
    EXPECT_TRUE(error.agreed()) << error.what();
    std::vector<std::string> lines;
    std::istringstream in(error.what());
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }
  return {"no error"};
}

inline std::vector<std::string> sample_errors(const std::string& text,
                                              const std::vector<std::string>& overrides = {}) {
  return error_lines([&] { read_sample(text, overrides); });
}

}  // namespace dissent::config
