#include <cstdio>

#include "cli/compute.hpp"
#include "evaluate/export_ensemble.hpp"

namespace dissent::cli {

int run_export(Runtime& runtime, const CommandLine& line) {
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
