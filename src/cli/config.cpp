#include <dissent/metrics/registry.hpp>

#include <cstdio>

#include "cli/schemas.hpp"
#include "cli/verb.hpp"
#include "config/describe.hpp"
#include "losses/registry.hpp"
#include "scores/postprocessors.hpp"
#include "train/image_options.hpp"
#include "train/schema.hpp"

namespace dissent::cli {
namespace {
namespace po = boost::program_options;
}

int run_config(Runtime& runtime, const std::vector<std::string>& arguments) {
  CommandLine line(
      verb("config"),
      "Prints every key of a verb's configuration (VERB: train for heads on a cache, train-images "
      "for networks on images, cache or evaluate) with its type, default, range and meaning, as a "
      "TOML file to start from. `config losses`, `config scores` and `config metrics` print the "
      "tables of losses, scores and metrics.",
      "VERB", 1);
  line.add()("markdown", po::bool_switch(), "as Markdown tables");
  if (!line.parse(runtime, arguments)) return 0;
  const std::string& name = line.positional()[0];
  if (name == "losses" || name == "scores" || name == "metrics") {
    if (runtime.world().rank() == 0)
      fmt::print("{}", name == "losses"   ? losses::losses_page()
                       : name == "scores" ? scores::scores_page()
                                          : metrics::metrics_page());
    return 0;
  }
  TrainConfig train;
  ImageTrainConfig images;
  const bool known =
      name == "train" || name == "train-images" || name == "cache" || name == "evaluate";
  if (!known) {
    Error error(ErrorKind::kUsage,
                fmt::format("'{}' takes no configuration; verbs that do: train, train-images "
                            "(train with data.kind = \"images\"), cache, evaluate",
                            name),
                __FILE__, __LINE__);
    error.set_agreed();
    throw error;
  }
  const auto schema = name == "train"          ? train_schema(train)
                      : name == "train-images" ? image_train_schema(images)
                      : name == "cache"        ? cache_schema()
                                               : evaluate_schema();
  if (runtime.world().rank() == 0)
    fmt::print("{}", config::describe(schema, line.flag("markdown") ? config::Format::kMarkdown
                                                                    : config::Format::kToml));
  return 0;
}

}  // namespace dissent::cli
