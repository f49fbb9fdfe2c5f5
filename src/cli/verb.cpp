#include "cli/verb.hpp"

#include <cstdio>

#include "core/options.hpp"
#include "core/parallel.hpp"

namespace dissent::cli {
namespace po = boost::program_options;
namespace {

// "; did you mean '--force'?", or nothing.
std::string nearest_option(const po::options_description& options, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& option : options.options()) names.push_back("--" + option->long_name());
  const auto near = nearest(name, names);
  return near ? fmt::format("; did you mean '{}'?", *near) : "";
}

}  // namespace

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> table{
      {"train", "train the runs that a configuration describes", run_train},
      {"plan", "what a training would cost: memory, bytes moved, storage, time", run_plan},
      {"cache", "turn an image set into a sharded feature cache", run_cache},
      {"evaluate", "accuracy and out-of-distribution detection of trained runs", run_evaluate},
      {"config", "print every key with type, default and meaning", run_config},
      {"inspect", "say what is in a cache, checkpoint or result file", run_inspect},
      {"imglist", "list the images of folders, for sets that are read from lists", run_imglist},
      {"verify", "compare this program with reference cases", run_verify_verb},
      {"export", "write a trained ensemble as safetensors, one file a member", run_export},
      {"doctor", "say whether this machine, job and folder are ready", run_doctor},
      {"tables", "tables over seeds from result files", run_tables},
      {"plot", "figures of runs and results, TensorBoard event files", run_plot},
      {"jobs", "run the experiments of a CSV sheet, here or on Slurm; their state", run_jobs_pack,
       run_jobs_alone},
      {"replay", "run again from a run's own record, and compare", nullptr, run_replay},
  };
  return table;
}

const Verb& verb(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& candidate : verbs()) {
    if (name == candidate.name) return candidate;
    names.emplace_back(candidate.name);
  }
  const auto near = nearest(name, names);
  Error error(
      ErrorKind::kUsage,
      fmt::format("unknown verb '{}'{}; verbs: {}", name,
                  near ? fmt::format("; did you mean '{}'?", *near) : "", fmt::join(names, ", ")),
      __FILE__, __LINE__);
  error.set_agreed();
  throw error;
}

CommandLine::CommandLine(const Verb& verb, const std::string& description, const char* positional,
                         int max_positional)
    : verb_(verb),
      description_(description),
      positional_name_(positional),
      max_positional_(max_positional),
      options_("Options") {
  options_.add_options()("help,h", po::bool_switch(), "this text");
}

const Verb* alone(const std::vector<std::string>& arguments) {
  for (const auto& candidate : verbs())
    if (!arguments.empty() && arguments[0] == candidate.name && candidate.run_alone &&
        !(candidate.run && arguments.size() > 1 && arguments[1] == "pack"))
      return &candidate;
  return nullptr;
}

bool CommandLine::parse(bool print, const std::vector<std::string>& arguments) {
  const std::string usage = fmt::format("usage: dissent {} [options]{}{}", verb_.name,
                                        max_positional_ == 0 ? "" : " ", positional_name_);
  try {
    po::options_description all;
    all.add(options_).add_options()("positional",
                                    po::value<std::vector<std::string>>(&positional_));
    po::positional_options_description places;
    places.add("positional", max_positional_);
    po::store(po::command_line_parser(arguments).options(all).positional(places).run(), values_);
    po::notify(values_);
    if (flag("help")) {
      std::ostringstream text;
      text << options_;
      if (print) fmt::print("{}\n\n{}\n\n{}", usage, description_, text.str());
      return false;
    }
    DISSENT_CHECK(max_positional_ == 0 || !positional_.empty(), kUsage, "{} is missing; {}",
                  positional_name_, usage);
  } catch (const po::error& error) {
    std::string near;
    if (const auto* unknown = dynamic_cast<const po::unknown_option*>(&error))
      near = nearest_option(options_, unknown->get_option_name());
    Error ours(ErrorKind::kUsage,
               fmt::format("{}{}; {} (--help lists the options)", error.what(), near, usage),
               __FILE__, __LINE__);
    ours.set_agreed();
    throw ours;
  } catch (Error& error) {
    error.set_agreed();
    throw;
  }
  return true;
}

config::Document load_configuration(Runtime& runtime, const std::string& path,
                                    const std::vector<std::string>& overrides) {
  auto& world = runtime.world();
  const std::string sources =
      broadcast_text(world, world.rank() == 0 ? config::read_sources(path) : "", 0);
  return config::load_document(sources, overrides);
}

void apply_runtime(Runtime& runtime, std::optional<int64_t> threads, double timeout_s) {
  runtime.world().wait_settings().timeout_s = timeout_s;
  set_threads(static_cast<int>(threads.value_or(runtime.default_threads())));
  spdlog::info("event=start ranks={} threads_a_rank={} host={}", runtime.world().size(),
               dissent::threads(), host_name());
}

}  // namespace dissent::cli
