#include "config/describe.hpp"

#include <gtest/gtest.h>

#include "config/resolved.hpp"
#include "unit/config/sample.hpp"

using namespace dissent;
using namespace dissent::config;

TEST(Describe, TomlNamesEverythingOfAKey) {
  Sample sample;
  EXPECT_EQ(describe(sample.schema(), Format::kToml), R"(# The run
experiment = "unnamed"  # Name of the experiment (string; result)
seeds = [42]            # One run each (list of integers, >= 0; result)

# How long and how
[training]
epochs = 1              # Epochs (integer, 1 .. 10000; result)
learning_rate = 0.001   # Step size (number, >= 0; result)
precision = "f32"       # Number type | autocast (string, one of f32, bf16, f16; result)
nesterov = false        # Nesterov momentum (boolean; result)
threads = "auto"        # Threads a rank (integer or "auto", >= 1; execution)
milestones = []         # Epochs of decay (list of numbers, >= 0; result)
metrics = ["accuracy"]  # What to print (list of strings, one of accuracy, auroc; execution)
offset = 0.0            # Any number (number; result)

# Disagreement (optional: enabled if present)
#: [loss.a2d]
#: weight = 1.0            # Factor (number, >= 0; result)
#: sample_weight = "none"  # Weights of samples (string, one of none, hard; result)

# Entropy bonus (optional: enabled if present)
#: [loss.entropy]

# A set to score (any number of these)
#: [[evaluate.sets]]
#: name = ""     # Shown name (string; result)
#: shift = "id"  # Kind of shift (string, one of id, near, far; result)
#: workers = 1   # Readers (integer, >= 1; execution)
)");
}

TEST(Describe, TomlLoadsAsTheDefaultsWhateverTheStructsHold) {
  Sample changed;
  changed.training.epochs = 77;
  changed.with_a2d = true;
  Sample defaults;
  Sample sample = read_sample(describe(changed.schema(), Format::kToml));
  EXPECT_EQ(to_toml(sample.schema()), to_toml(defaults.schema()));
}

TEST(Describe, TomlLoadsWithTheMarksTakenAway) {
  Sample sample;
  std::string text = describe(sample.schema(), Format::kToml);
  for (size_t at; (at = text.find("#: ")) != std::string::npos;) text.erase(at, 3);
  sample = read_sample(text);
  EXPECT_TRUE(sample.with_a2d && sample.with_entropy);
  EXPECT_EQ(sample.sets.size(), 1u);
}

TEST(Describe, MarkdownHasARowAKey) {
  Sample sample;
  const std::string text = describe(sample.schema(), Format::kMarkdown);
  EXPECT_TRUE(text.starts_with(R"(## Top-level keys

The run

| key | type | default | range | meaning | scope |
|---|---|---|---|---|---|
| `experiment` | string | `"unnamed"` |  | Name of the experiment | result |
| `seeds` | list of integers | `[42]` | >= 0 | One run each | result |

## `[training]`

How long and how
)")) << text;
  for (const auto* row :
       {"| `precision` | string | `\"f32\"` | one of f32, bf16, f16 | Number type \\| autocast | "
        "result |\n",
        "| `threads` | integer or \"auto\" | `\"auto\"` | >= 1 | Threads a rank | execution |\n",
        "## `[loss.entropy]`\n\nEntropy bonus (optional: enabled if present)\n\nNo keys.\n",
        "## `[[evaluate.sets]]`\n\nA set to score (any number of these)\n"})
    EXPECT_NE(text.find(row), std::string::npos) << row << "\nin\n" << text;
}
