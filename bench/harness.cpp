#include "harness.hpp"

#include <algorithm>
#include <boost/program_options.hpp>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <dissent/error.hpp>

#include "core/launcher.hpp"
#include "core/parallel.hpp"
#include "core/torch_failure.hpp"

namespace dissent::bench {
namespace {

namespace po = boost::program_options;

// A measurement as "key value, key value" after its name.
void print_for_readers(const Source& source, const std::string& what,
                       const std::vector<Value>& values) {
  std::string line = fmt::format("{}: {}:", source.bench, what);
  if (source.peer != "dissent") line += fmt::format(" peer {},", source.peer);
  for (const auto& value : values) line += fmt::format(" {} {},", value.key, value.json);
  line.pop_back();
  fmt::print(stderr, "{}\n", line);
}

void print_json(const Source& source, const std::string& what, const std::vector<Value>& values) {
  std::string line = fmt::format("{{\"bench\": {}, \"peer\": {}, \"what\": {}",
                                 nlohmann::json(source.bench).dump(),
                                 nlohmann::json(source.peer).dump(), nlohmann::json(what).dump());
  for (const auto& value : values)
    line += fmt::format(", {}: {}", nlohmann::json(value.key).dump(), value.json);
  fmt::print("{}}}\n", line);
  std::fflush(stdout);
}

}  // namespace

Options::Options(std::string program, std::string description)
    : program_(std::move(program)),
      description_(std::move(description)),
      options_(std::make_unique<po::options_description>("Options")) {
  options_->add_options()("help,h", po::bool_switch(), "this text");
  number("threads", threads_, "threads of each rank");
}

Options::~Options() = default;

Options& Options::number(const char* name, int64_t& value, const char* meaning, int64_t at_least) {
  // 0 stands for a default that is not known yet (threads).
  auto* option = po::value<int64_t>(&value)->notifier([name, at_least](int64_t found) {
    DISSENT_CHECK(found >= at_least, kUsage, "--{}: expected an integer >= {}, found {}", name,
                  at_least, found);
  });
  if (value >= at_least) option->default_value(value);
  options_->add_options()(name, option, meaning);
  return *this;
}

Options& Options::number(const char* name, double& value, const char* meaning) {
  options_->add_options()(
      name, po::value<double>(&value)->default_value(value)->notifier([name](double found) {
        DISSENT_CHECK(found > 0, kUsage, "--{}: expected a number above 0, found {}", name, found);
      }),
      meaning);
  return *this;
}

Options& Options::text(const char* name, std::string& value, const char* meaning) {
  options_->add_options()(name, po::value<std::string>(&value)->default_value(value), meaning);
  return *this;
}

Options& Options::choice(const char* name, std::string& value,
                         const std::vector<std::string>& values, const char* meaning) {
  const auto check = [name, values, initial = value](const std::string& found) {
    const bool known = std::find(values.begin(), values.end(), found) != values.end();
    DISSENT_CHECK(known || found == initial, kUsage, "--{}: expected one of {}; found '{}'", name,
                  fmt::join(values, ", "), found);
  };
  const auto text = fmt::format("{}: {}", meaning, fmt::join(values, ", "));
  options_->add_options()(name,
                          po::value<std::string>(&value)
                              ->default_value(value, value.empty() ? "all" : value)
                              ->notifier(check),
                          text.c_str());
  return *this;
}

Options& Options::flag(const char* name, bool& value, const char* meaning) {
  options_->add_options()(name, po::bool_switch(&value), meaning);
  return *this;
}

bool Options::parse(int argc, char** argv) {
  try {
    // No abbreviations, and no positional arguments: what is misspelt is an error.
    constexpr int style =
        po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
    po::variables_map values;
    po::store(po::command_line_parser(argc, argv)
                  .options(*options_)
                  .positional(po::positional_options_description())
                  .style(style)
                  .run(),
              values);
    if (values["help"].as<bool>()) {
      std::ostringstream text;
      text << *options_;
      if (is_first_rank())
        fmt::print("usage: {} [options]\n\n{}\n\n{}", program_, description_, text.str());
      return false;
    }
    po::notify(values);
  } catch (const po::error& error) {
    DISSENT_FAIL(kUsage, "{} (--help lists the options)", error.what());
  }
  return true;
}

int run(Options& options, int argc, char** argv, const std::function<void()>& benchmark) {
  try {
    if (options.parse(argc, argv)) benchmark();
    return 0;
  } catch (...) {
    const auto failure = current_failure();
    if (!failure.agreed || is_first_rank())
      fmt::print(stderr, "{}: {}\n", argv[0], failure.message);
    return exit_code(failure.kind);
  }
}

Value::Value(std::string key, int64_t number) : key(std::move(key)), json(std::to_string(number)) {}
Value::Value(std::string key, double number)
    : key(std::move(key)), json(fmt::format("{:.6g}", number)) {}
Value::Value(std::string key, const std::string& text)
    : key(std::move(key)), json(nlohmann::json(text).dump()) {}

void report(const Source& source, const std::string& what, double milliseconds,
            const std::vector<Value>& values) {
  std::vector<Value> all{
      {"ranks", int64_t{source.ranks}}, {"threads", int64_t{threads()}}, {"ms", milliseconds}};
  all.insert(all.end(), values.begin(), values.end());
  report_values(source, what, all);
}

void report_values(const Source& source, const std::string& what,
                   const std::vector<Value>& values) {
  print_json(source, what, values);
  print_for_readers(source, what, values);
}

double seconds_of(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return seconds_since(start);
}

double least_ms(const std::function<void()>& work) {
  // The first call allocates memory and starts threads, the second one gives the number of calls
  // per window.
  work();
  const double once = std::max(seconds_of(work), 1e-6);
  const auto calls = std::clamp<int64_t>(static_cast<int64_t>(0.03 / once), 1, 1000);

  std::vector<double> windows;
  for (int window = 0; window < 10; ++window)
    windows.push_back(seconds_of([&] {
                        for (int64_t i = 0; i < calls; ++i) work();
                      }) /
                      static_cast<double>(calls) * 1e3);
  return *std::min_element(windows.begin(), windows.end());
}

}  // namespace dissent::bench
