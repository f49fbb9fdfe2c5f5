#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "config/read.hpp"
#include "config/resolved.hpp"
#include "fuzz.hpp"
#include "unit/config/sample.hpp"

using namespace dissent;
using namespace dissent::config;

// A configuration, whose includes lead to files that are not there.
DISSENT_FUZZ(toml, kOwn, "[training]", "[[evaluate.sets]]", "[loss.a2d]", "[loss.entropy]",
             "[variables]", "${", "seeds = ", "epochs = ", "threads = \"auto\"",
             "1979-05-27T07:32:00Z", "\"\"\"", "'''", "\\u00e9", "0x", "inf", "nan", " = ", "true",
             "{ ", " }", "include = [") {
  Sample sample;
  read(load_document(read_sources(fuzz::folder() + "/none/run.toml", input)), sample.schema());
  // What is printed reads back as the same.
  const auto text = to_toml(sample.schema());
  Sample again = read_sample(text);
  if (to_toml(again.schema()) != text)
    throw std::logic_error("a printed configuration reads back as another: " + text);
}

// --set, one a line.
DISSENT_FUZZ(set_option, kOwn, "training.epochs=", "loss.a2d=false", "variables.a=", "seeds=[1]",
             "evaluate.sets=[]", "\"", "=") {
  std::vector<std::string> overrides;
  for (size_t at = 0; at < input.size() && overrides.size() < 64;) {
    const auto end = std::min(input.find('\n', at), input.size());
    overrides.push_back(input.substr(at, end - at));
    at = end + 1;
  }
  read_sample("[variables]\na = 1\n", overrides);
}
