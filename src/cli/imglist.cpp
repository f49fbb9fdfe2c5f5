#include <spdlog/spdlog.h>

#include <cstdint>
#include <dissent/error.hpp>
#include <filesystem>
#include <optional>
#include <string>

#include "cli/light_verbs.hpp"
#include "data/datasets/folder_list.hpp"
#include "storage/atomic_file.hpp"

namespace dissent::cli {

void check_imglist(const CommandLine& line, Files& files) {
  // The combination of options with folders is checked by list_folders, which sees the files.
  DISSENT_CHECK(!line.get<std::string>("output").empty(), kUsage,
                "--output: expected the path of the list, found nothing");
  DISSENT_CHECK(!line.has("label") || line.get<int64_t>("label") >= -1, kUsage,
                "--label: expected an integer >= -1, found {}", line.get<int64_t>("label"));
  DISSENT_CHECK(line.get<int64_t>("class-field") >= 0, kUsage,
                "--class-field: expected an integer >= 0, found {}",
                line.get<int64_t>("class-field"));

  files.reads("--classes", line.get<std::string>("classes"));
  for (const auto& folder : line.positional()) files.reads_folder("FOLDER", folder);
}

int run_imglist(const CommandLine& line) {
  Files own;
  check_imglist(line, own);

  FolderListOptions options{.folders = line.positional(),
                            .root = line.get<std::string>("root"),
                            .classes = {},
                            .class_field = line.get<int64_t>("class-field"),
                            .label = std::nullopt,
                            .allow_empty = line.flag("allow-empty")};

  if (line.has("label")) options.label = line.get<int64_t>("label");
  if (const auto names = line.get<std::string>("classes"); !names.empty())
    options.classes = read_class_file(names);

  const auto output = line.get<std::string>("output");
  const auto list = list_folders(options);
  log_skipped(list, output);
  if (const auto folder = std::filesystem::path(output).parent_path(); !folder.empty())
    make_folder(folder.string());

  // A class file of an earlier list would be taken for that of this one.
  const auto classes = class_file_of(output);
  DISSENT_CHECK(
      !list.classes.empty() || !path_exists(classes), kUsage,
      "--output: expected no class file {}, found one: images with one label have no classes; "
      "delete it or use another name",
      classes);

  // The class file is written first: a list without it would have no class names.
  if (!list.classes.empty()) atomic_write_text(classes, class_file_text(list.classes));
  atomic_write_text(output, list.text);
  spdlog::info("event=list_written path={} images={} classes={}", output, list.images,
               list.classes.empty() ? "none" : std::to_string(list.classes.size()));
  return 0;
}

}  // namespace dissent::cli
