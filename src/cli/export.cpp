#include <cstdio>

#include "cli/verb.hpp"
#include "evaluate/export_ensemble.hpp"

namespace dissent::cli {
namespace po = boost::program_options;

int run_export(Runtime& runtime, const std::vector<std::string>& arguments) {
  CommandLine line(verb("export"),
                   "Writes the members of a trained RUN (its folder or checkpoint.h5) as "
                   "safetensors, one file a member, and ensemble.json. docs/export.md",
                   "RUN", 1);
  line.add()("output", po::value<std::string>()->default_value(""), "folder that the files go to")(
      "names", po::value<std::string>()->default_value("own"),
      "of the weights: own (torchvision, OpenOOD, DeiT) or timm (ls1.gamma)");
  if (!line.parse(runtime, arguments)) return 0;
  agree(runtime.world(), [&] {
    const auto names = line.get<std::string>("names"), output = line.get<std::string>("output");
    DISSENT_CHECK(!output.empty(), kUsage, "--output FOLDER is missing");
    DISSENT_CHECK(names == "own" || names == "timm", kUsage,
                  "--names: wanted own or timm, given {}", names);
    if (runtime.world().rank() != 0) return;
    const auto paths = export_ensemble(line.positional()[0], output,
                                       names == "timm" ? ExportNames::kTimm : ExportNames::kOwn);
    for (const auto& path : paths) fmt::print("{}\n", path);
  });
  return 0;
}

}  // namespace dissent::cli
