#include "data/datasets/folder_list.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <dissent/error.hpp>
#include <filesystem>
#include <map>
#include <sstream>
#include <tuple>

namespace dissent {
namespace {

namespace fs = std::filesystem;

struct Image {
  int64_t label;
  std::string path, name;  // name: of its class
};

bool is_image(const fs::path& path) {
  std::string end = path.extension().string();
  std::transform(end.begin(), end.end(), end.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return end == ".jpg" || end == ".jpeg" || end == ".png";
}

// The path as the list has it.
std::string below_root(const std::string& folder, const std::string& root) {
  if (root.empty()) return fs::path(folder).lexically_normal().string();
  const auto relative = fs::absolute(folder).lexically_normal().lexically_relative(
      fs::absolute(root).lexically_normal());
  DISSENT_CHECK(!relative.empty() && *relative.begin() != "..", kData, "{}: not below the root {}",
                folder, root);
  return relative == "." ? "" : relative.string();
}

// The n-th part of a file's name, cut at "_".
std::string name_part(const fs::path& file, int64_t n) {
  std::istringstream parts(file.stem().string());
  std::string part;
  int64_t found = 0;
  while (found < n && std::getline(parts, part, '_')) ++found;
  DISSENT_CHECK(found == n && !part.empty(), kData,
                "{}: expected its class as part {} of its name, cut at \"_\", found {} part{}",
                file.string(), n, found, found == 1 ? "" : "s");
  return part;
}

void add_images(const std::string& folder, const FolderListOptions& options,
                std::vector<Image>& images) {
  DISSENT_CHECK(fs::is_directory(folder), kData, "{}: no such folder", folder);
  std::string prefix = below_root(folder, options.root);
  if (!prefix.empty() && prefix.back() != '/') prefix += '/';
  const size_t before = images.size(), start = folder.size() + (folder.back() == '/' ? 0 : 1);
  for (const auto& entry :
       fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink)) {
    if (!is_image(entry.path()) || entry.is_directory()) continue;
    const std::string inside = entry.path().string().substr(start);
    DISSENT_CHECK(inside.find('\n') == std::string::npos, kData,
                  "{}/{}: a list cannot hold a name with a line break", folder, inside);
    const size_t slash = inside.find('/');
    DISSENT_CHECK(
        options.label || options.class_field > 0 || slash != std::string::npos, kData,
        "{}/{}: in no subfolder, whose name would be its class; give the label of such images",
        folder, inside);
    std::string name;
    if (!options.label)
      name = options.class_field > 0 ? name_part(entry.path(), options.class_field)
                                     : inside.substr(0, slash);
    images.push_back({options.label.value_or(0), prefix + inside, std::move(name)});
  }
  DISSENT_CHECK(images.size() > before, kData, "{}: no files *.jpg, *.jpeg or *.png below it",
                folder);
}

// Classes without an image are counted where their folder is there: of a part of ImageNet in the
// folders of all 1,000 synsets the numbers are ImageNet's.
void add_empty_classes(const std::string& folder, std::map<std::string, int64_t>& numbers) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (name[0] != '.' && entry.is_directory() && fs::is_empty(entry.path()))
      numbers.emplace(name, 0);
  }
}

std::map<std::string, int64_t> class_numbers(const std::vector<Image>& images,
                                             const FolderListOptions& options) {
  const auto& given = options.classes;
  std::map<std::string, int64_t> numbers;
  for (const auto& name : given) numbers.emplace(name, std::ssize(numbers));
  if (!given.empty()) return numbers;
  for (const auto& image : images) numbers.emplace(image.name, 0);
  if (options.class_field == 0)
    for (const auto& folder : options.folders) add_empty_classes(folder, numbers);
  int64_t next = 0;
  for (auto& [name, label] : numbers) label = next++;
  return numbers;
}

}  // namespace

std::string list_folders(const FolderListOptions& options) {
  std::vector<Image> images;
  try {
    for (const auto& folder : options.folders) add_images(folder, options, images);
  } catch (const fs::filesystem_error& error) {
    DISSENT_FAIL(kData, "{}: cannot be listed: {}", error.path1().string(), error.code().message());
  }
  if (!options.label) {
    const auto numbers = class_numbers(images, options);
    for (auto& image : images) {
      const auto found = numbers.find(image.name);
      DISSENT_CHECK(found != numbers.end(), kData, "{}: {} {} is none of the {} classes",
                    image.path, options.class_field > 0 ? "its name's part" : "the subfolder",
                    image.name, options.classes.size());
      image.label = found->second;
    }
  }
  std::sort(images.begin(), images.end(), [](const Image& a, const Image& b) {
    return std::tie(a.label, a.path) < std::tie(b.label, b.path);
  });
  std::string text;
  for (const auto& image : images) text += fmt::format("{} {}\n", image.path, image.label);
  return text;
}

}  // namespace dissent
