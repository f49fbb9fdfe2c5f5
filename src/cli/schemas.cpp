#include "cli/schemas.hpp"

#include <dissent/metrics/registry.hpp>
#include <nlohmann/json.hpp>

#include "config/described.hpp"
#include "losses/registry.hpp"
#include "scores/postprocessors.hpp"
#include "train/config/head_config.hpp"
#include "train/config/image_config.hpp"

namespace dissent::cli {
namespace {

config::Schema declared_schema(const std::string& name) {
  // A schema points into the configuration that it was made from, so these live as long as the
  // program.
  static TrainConfig train;
  static ImageTrainConfig images;
  return name == "train"          ? train_schema(train)
         : name == "train-images" ? image_train_schema(images)
         : name == "cache"        ? cache_schema()
                                  : evaluate_schema();
}

std::string registry_page(const std::string& name) {
  return name == "losses"   ? losses::losses_page()
         : name == "scores" ? scores::scores_page()
                            : metrics::metrics_page();
}

}  // namespace

Descriptions declared() { return {declared_schema, registry_page}; }

std::string description_literal() {
  using Json = nlohmann::ordered_json;
  Json schemas = Json::object(), pages = Json::object();
  for (const char* name : {"train", "train-images", "cache", "evaluate"})
    schemas[name] = config::Description::of(declared_schema(name)).to_json();
  for (const char* name : {"losses", "scores", "metrics"}) pages[name] = registry_page(name);

  // A raw string literal, which the build compiles into `dissent`.
  return "R\"description(" + Json{{"schemas", schemas}, {"pages", pages}}.dump() +
         ")description\"\n";
}

}  // namespace dissent::cli
