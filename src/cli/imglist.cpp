#include <spdlog/spdlog.h>

#include <algorithm>
#include <dissent/error.hpp>
#include <filesystem>
#include <optional>
#include <sstream>

#include "cli/light_verbs.hpp"
#include "data/datasets/folder_list.hpp"
#include "storage/atomic_file.hpp"

namespace dissent::cli {
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

void check_imglist(const CommandLine& line, Files& files) {
  DISSENT_CHECK(!line.get<std::string>("output").empty(), kUsage,
                "--output: expected the file of the list, found nothing");
  DISSENT_CHECK(!line.has("label") || line.get<int64_t>("label") >= -1, kUsage,
                "--label: expected -1 or more, found {}", line.get<int64_t>("label"));
  DISSENT_CHECK(line.get<int64_t>("class-field") >= 0, kUsage,
                "--class-field: expected 1 or more, found {}", line.get<int64_t>("class-field"));
  files.find("--classes", line.get<std::string>("classes"));
  for (const auto& folder : line.positional()) files.find_below("FOLDER", folder);
}

int run_imglist(const CommandLine& line) {
  Files own;
  check_imglist(line, own);
  FolderListOptions options{.folders = line.positional(),
                            .root = line.get<std::string>("root"),
                            .classes = {},
                            .class_field = line.get<int64_t>("class-field"),
                            .label = std::nullopt};
  if (line.has("label")) options.label = line.get<int64_t>("label");
  if (const auto names = line.get<std::string>("classes"); !names.empty())
    options.classes = class_names(names);
  const auto output = line.get<std::string>("output");
  const auto text = list_folders(options);
  if (const auto folder = std::filesystem::path(output).parent_path(); !folder.empty())
    make_folder(folder.string());
  atomic_write_text(output, text);
  spdlog::info("event=list_written path={} images={}", output,
               std::count(text.begin(), text.end(), '\n'));
  return 0;
}

}  // namespace dissent::cli
