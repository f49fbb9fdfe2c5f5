#include "cli/verb.hpp"
#include "data/datasets/image_folders.hpp"
#include "storage/atomic_file.hpp"

namespace dissent::cli {

namespace po = boost::program_options;

int run_imglist(Runtime& runtime, const std::vector<std::string>& arguments) {
  CommandLine line(verb("imglist"), "Lists the images (*.jpg, *.jpeg, *.png) below each FOLDER in OpenOOD's layout, `path label` a line, sorted. The class of an image is the subfolder\n"
                   "of FOLDER in which it lies; classes are numbered in the order of the subfolders' names.", "FOLDER...", -1);
  line.add()("output", po::value<std::string>()->default_value(""), "the list that is written, whole or not at all")(
      "root", po::value<std::string>()->default_value(""), "folder that the list's paths are to be below (data.root of who reads it); default: paths as given")(
      "label", po::value<int64_t>(), "one label for all images instead of classes; -1: unknown, as of out-of-distribution sets");
  if (!line.parse(runtime, arguments)) return 0;
  agree(runtime.world(), [&] {
    if (runtime.world().rank() != 0) return;
    FolderListOptions options{.folders = line.positional(), .root = line.get<std::string>("root"), .label = std::nullopt};
    if (line.has("label")) options.label = line.get<int64_t>("label");
    const auto output = line.get<std::string>("output");
    DISSENT_CHECK(!output.empty(), kUsage, "--output: expected the file of the list, found nothing");
    DISSENT_CHECK(!options.label || *options.label >= -1, kUsage, "--label: expected -1 or more, found {}", *options.label);
    const auto text = list_folders(options);
    atomic_write_text(output, text);
    spdlog::info("event=list_written path={} images={}", output, std::count(text.begin(), text.end(), '\n'));
  });
  return 0;
}

}  // namespace dissent::cli
