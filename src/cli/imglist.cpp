#include "cli/verb.hpp"
#include "data/datasets/image_folders.hpp"
#include "storage/atomic_file.hpp"

namespace dissent::cli {

namespace po = boost::program_options;

namespace {

std::vector<std::string> class_names(const std::string& path) {
  std::vector<std::string> names;
  std::istringstream lines(read_text(path));
  for (std::string name; std::getline(lines, name);) {
    while (!name.empty() && (name.back() == '\r' || name.back() == ' ')) name.pop_back();
    if (name.empty()) continue;
    DISSENT_CHECK(std::find(names.begin(), names.end(), name) == names.end(), kData,
                  "{}: the class {} is there twice", path, name);
    names.push_back(name);
  }
  DISSENT_CHECK(!names.empty(), kData, "{}: no name of a class in it", path);
  return names;
}

}  // namespace

int run_imglist(Runtime& runtime, const std::vector<std::string>& arguments) {
  CommandLine line(verb("imglist"),
                   "Lists the images (*.jpg, *.jpeg, *.png) below each FOLDER in OpenOOD's layout, "
                   "`path label` a line, sorted. The class of an image is the subfolder\n"
                   "of FOLDER in which it lies; classes are numbered in the order of the "
                   "subfolders' names, or of --classes.",
                   "FOLDER...", -1);
  line.add()("output", po::value<std::string>()->default_value(""),
             "the list that is written, whole or not at all")(
      "root", po::value<std::string>()->default_value(""),
      "folder that the list's paths are to be below (data.root of who reads it); default: paths as "
      "given")("classes", po::value<std::string>()->default_value(""),
               "file with the name of a class a line, in the order of their numbers: gives the "
               "images of some classes (ImageNet-A) the labels of all")(
      "label", po::value<int64_t>(),
      "one label for all images instead of classes; -1: unknown, as of out-of-distribution sets");
  if (!line.parse(runtime, arguments)) return 0;
  agree(runtime.world(), [&] {
    if (runtime.world().rank() != 0) return;
    FolderListOptions options{.folders = line.positional(),
                              .root = line.get<std::string>("root"),
                              .classes = {},
                              .label = std::nullopt};
    if (line.has("label")) options.label = line.get<int64_t>("label");
    if (const auto names = line.get<std::string>("classes"); !names.empty())
      options.classes = class_names(names);
    const auto output = line.get<std::string>("output");
    DISSENT_CHECK(!output.empty(), kUsage,
                  "--output: expected the file of the list, found nothing");
    DISSENT_CHECK(!options.label || *options.label >= -1, kUsage,
                  "--label: expected -1 or more, found {}", *options.label);
    const auto text = list_folders(options);
    atomic_write_text(output, text);
    spdlog::info("event=list_written path={} images={}", output,
                 std::count(text.begin(), text.end(), '\n'));
  });
  return 0;
}

}  // namespace dissent::cli
