#include <cstdio>
#include <string>

#include <fmt/format.h>

#include "cli/checks.hpp"
#include "cli/compute.hpp"
#include "evaluate/subjects/export_ensemble.hpp"

namespace dissent::cli {

void check_export(const CommandLine& line, Files& files) {
  const auto names = line.get<std::string>("names");
  DISSENT_CHECK(!line.get<std::string>("output").empty(), kUsage,
                "--output: expected a folder to write into, found none");
  DISSENT_CHECK(names == "own" || names == "timm", kUsage,
                "--names: expected own or timm, found {}", names);
  files.reads("RUN", line.positional()[0]);
}

int run_export(Runtime& runtime, const CommandLine& line) {
  agree(runtime.world(), [&] {
    const auto names = line.get<std::string>("names"), output = line.get<std::string>("output");
    Files own;
    check_export(line, own);

    if (runtime.world().rank() != 0) return;
    const auto paths = export_ensemble(line.positional()[0], output,
                                       names == "timm" ? ExportNames::kTimm : ExportNames::kOwn);
    for (const auto& path : paths) fmt::print("{}\n", path);
  });
  return 0;
}

}  // namespace dissent::cli
