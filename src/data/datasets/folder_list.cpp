#include "data/datasets/folder_list.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <dissent/error.hpp>
#include <filesystem>
#include <iterator>
#include <set>
#include <sstream>
#include <tuple>
#include <utility>

#include "core/edited_text.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostClassesNamed = 10;

struct Image {
  int64_t label;
  std::string path, name;  // name: its class
};

std::string in_lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool is_image(const std::string& ending) {
  return ending == ".jpg" || ending == ".jpeg" || ending == ".png";
}

// Hidden files, and what operating systems and file servers create in any folder.
bool is_dropping(const fs::path& path) {
  static const std::set<std::string> names{
      "thumbs.db", "ehthumbs.db", "desktop.ini",  "__macosx", "@eadir",
      "#recycle",  "lost+found",  "$recycle.bin", "icon\r",   "system volume information"};
  const auto name = path.filename().string();
  return name.starts_with('.') || names.contains(in_lower_case(name));
}

// Contents of the folders.
struct Found {
  std::vector<Image> images;
  std::set<std::string> subfolders;
  std::map<std::string, FolderList::Skipped> skipped;  // by subfolder
};

void count_skipped(const fs::path& file, const std::string& ending, FolderList::Skipped& skipped) {
  ++skipped.files;
  ++skipped.endings[ending];
  const auto path = file.string();
  if (skipped.first.empty() || path < skipped.first) skipped.first = path;
}

// "12 files with other suffixes: .webp 11, .txt 1"
std::string text_of(const FolderList::Skipped& skipped) {
  // Counts are negative, so that sorting puts the most frequent first, and names break ties.
  std::vector<std::pair<int64_t, std::string>> endings;
  for (const auto& [ending, count] : skipped.endings)
    endings.emplace_back(-count, fmt::format("{} {}", ending.empty() ? "none" : ending, count));
  std::sort(endings.begin(), endings.end());

  // The most frequent suffixes first, at most four.
  std::vector<std::string> texts;
  for (const auto& [count, text] : endings) texts.push_back(text);
  if (texts.size() > 4) texts.resize(4), texts.push_back("..");
  return fmt::format("{} file{} with other suffixes: {}", skipped.files,
                     skipped.files == 1 ? "" : "s", fmt::join(texts, ", "));
}

// The folder's path in the list, relative to the root.
std::string below_root(const std::string& folder, const std::string& root) {
  if (root.empty()) return fs::path(folder).lexically_normal().string();
  // Both absolute, since either may be given relative to the working directory.
  const auto relative = fs::absolute(folder).lexically_normal().lexically_relative(
      fs::absolute(root).lexically_normal());
  DISSENT_CHECK(!relative.empty() && *relative.begin() != "..", kData,
                "{0}: expected a folder below the root {1}, found another", folder, root);
  return relative == "." ? "" : relative.string();
}

// The n-th part of a file's name, split at "_".
std::string name_part(const fs::path& file, int64_t n) {
  std::istringstream parts(file.stem().string());
  std::string part;
  int64_t found = 0;
  while (found < n && std::getline(parts, part, '_')) ++found;
  DISSENT_CHECK(found == n && !part.empty(), kData,
                "{}: expected its class as part {} of its name, split at \"_\", found {} part{}",
                file.string(), n, found, found == 1 ? "" : "s");
  return part;
}

void add_images(const std::string& folder, const FolderListOptions& options, Found& found) {
  // prefix: the folder as the list shall name it; start: length of the folder's own path, which is
  // cut off each entry's path.
  DISSENT_CHECK(fs::is_directory(folder), kData, "{}: no such folder", folder);
  std::string prefix = below_root(folder, options.root);
  if (!prefix.empty() && prefix.back() != '/') prefix += '/';
  const size_t before = found.images.size(), start = folder.size() + (folder.back() == '/' ? 0 : 1);
  int64_t others = 0;

  // Links to folders are followed: data sets are often assembled from them.
  for (auto entry = fs::recursive_directory_iterator(
           folder, fs::directory_options::follow_directory_symlink);
       entry != fs::recursive_directory_iterator(); ++entry) {
    const auto& path = entry->path();
    if (is_dropping(path)) {
      entry.disable_recursion_pending();
      continue;
    }

    const std::string inside = path.string().substr(start);
    if (entry->is_directory()) {
      // A direct subfolder is a class, even if it turns out to have no image.
      if (entry.depth() == 0) found.subfolders.insert(inside);
      continue;
    }

    // Files that are not images are counted by class: a class whose images have an unknown suffix
    // would otherwise be missing silently.
    const size_t slash = inside.find('/');
    const auto subfolder = slash == std::string::npos ? "" : inside.substr(0, slash);
    const auto ending = in_lower_case(path.extension().string());
    if (!is_image(ending)) {
      count_skipped(path, ending, found.skipped[subfolder]);
      ++others;
      continue;
    }

    // The list has one image per line.
    DISSENT_CHECK(inside.find('\n') == std::string::npos, kData,
                  "{}/{}: expected a name without a line break, found one", folder, inside);
    DISSENT_CHECK(
        options.label || options.class_field > 0 || slash != std::string::npos, kData,
        "{}/{}: expected the image in a subfolder named after its class, found it in none; set the "
        "label of such images (--label)",
        folder, inside);

    // The class of an image is fixed now, its number only when the names of all classes are known.
    std::string name;
    if (!options.label)
      name = options.class_field > 0 ? name_part(path, options.class_field) : subfolder;
    found.images.push_back({options.label.value_or(0), prefix + inside, std::move(name)});
  }

  DISSENT_CHECK(found.images.size() > before, kData,
                "{}: expected files *.jpg, *.jpeg or *.png below it, found none{}", folder,
                others > 0 ? fmt::format(" ({} with other suffixes)", others) : "");
}

// Raises for subfolders without an image, with what they contain instead.
void check_empty(const FolderList& list, const FolderListOptions& options, size_t subfolders) {
  // What it has instead of images tells the cause: an unpacked archive, another format.
  if (list.empty.empty() || options.allow_empty) return;
  std::vector<std::string> texts;
  for (const auto& name : list.empty) {
    if (texts.size() == kMostClassesNamed) {
      texts.push_back(fmt::format("and {} more", list.empty.size() - texts.size()));
      break;
    }
    const auto skipped = list.skipped.find(name);
    texts.push_back(fmt::format(
        "{} ({})", name, skipped == list.skipped.end() ? "no files" : text_of(skipped->second)));
  }

  DISSENT_FAIL(
      kData,
      "{}: expected images (*.jpg, *.jpeg, *.png) in each subfolder, found none in {} of "
      "{}: {}; add images or remove these subfolders, or allow them as classes without rows "
      "(allow_empty)",
      fmt::join(options.folders, ", "), list.empty.size(), subfolders, fmt::join(texts, "; "));
}

// The number of each class, and the names by number.
std::map<std::string, int64_t> class_numbers(const Found& found, const FolderListOptions& options,
                                             std::vector<std::string>& names) {
  std::set<std::string> sorted;
  if (options.classes.empty() && options.class_field == 0) sorted = found.subfolders;
  if (options.classes.empty() && options.class_field > 0)
    for (const auto& image : found.images) sorted.insert(image.name);

  // A class file fixes the numbers; without one classes are numbered in alphabetical order.
  names = options.classes;
  names.insert(names.end(), sorted.begin(), sorted.end());
  std::map<std::string, int64_t> numbers;
  for (const auto& name : names) {
    DISSENT_CHECK(name.find('\n') == std::string::npos, kData,
                  "class {}: expected a name without a line break, found one", name);
    numbers.emplace(name, std::ssize(numbers));
  }
  return numbers;
}

}  // namespace

FolderList list_folders(const FolderListOptions& options) {
  Found found;
  FolderList list;
  try {
    for (const auto& folder : options.folders) add_images(folder, options, found);
  } catch (const fs::filesystem_error& error) {
    DISSENT_FAIL(kData, "{}: cannot list: {}", error.path1().string(), error.code().message());
  }

  list.skipped = std::move(found.skipped);

  // Classes are numbered in the order of their names over all folders together.
  if (!options.label) {
    auto empty = found.subfolders;
    for (const auto& image : found.images) empty.erase(image.name);
    if (options.class_field == 0) list.empty.assign(empty.begin(), empty.end());
    check_empty(list, options, found.subfolders.size());

    const auto numbers = class_numbers(found, options, list.classes);
    for (auto& image : found.images) {
      const auto number = numbers.find(image.name);
      DISSENT_CHECK(number != numbers.end(), kData,
                    "{0}: {1} {2}: expected one of the {3} classes, found another name", image.path,
                    options.class_field > 0 ? "its name's part" : "the subfolder", image.name,
                    options.classes.size());
      image.label = number->second;
    }
  }

  // The order of a directory listing depends on the file system; the list must not.
  std::sort(found.images.begin(), found.images.end(), [](const Image& a, const Image& b) {
    return std::tie(a.label, a.path) < std::tie(b.label, b.path);
  });
  for (const auto& image : found.images)
    list.text += fmt::format("{} {}\n", image.path, image.label);
  list.images = std::ssize(found.images);
  return list;
}

void log_skipped(const FolderList& list, const std::string& place) {
  // A folder may have thousands of classes: ten are named, the others counted.
  int64_t files = 0;
  size_t named = 0;
  for (const auto& [name, skipped] : list.skipped) {
    files += skipped.files;
    if (++named > kMostClassesNamed) continue;
    warn_once(fmt::format("event=files_skipped place={} class={} first={} reason=\"{}\"", place,
                          name.empty() ? "none" : name, skipped.first, text_of(skipped)));
  }

  if (named > kMostClassesNamed)
    warn_once(fmt::format("event=files_skipped place={} classes={} files={}", place, named, files));
  if (!list.empty.empty())
    warn_once(fmt::format("event=classes_without_images place={} classes={} of={} first={}", place,
                          list.empty.size(), list.classes.size(), list.empty[0]));
}

std::string class_file_of(const std::string& list) {
  const auto path = fs::path(list);
  return (path.parent_path() / path.stem()).string() + ".classes.txt";
}

std::string class_file_text(const std::vector<std::string>& names) {
  return fmt::format("{}\n", fmt::join(names, "\n"));
}

std::vector<std::string> read_class_file(const std::string& path) {
  // The number of a class is its place among the names, so a name that occurs twice would have two.
  std::vector<std::string> names;
  std::set<std::string> seen;
  std::istringstream lines(edited_text(read_text(path), path));
  int64_t line = 0;
  for (std::string name; std::getline(lines, name);) {
    ++line;
    while (!name.empty() && name.back() == ' ') name.pop_back();
    if (name.empty()) continue;
    DISSENT_CHECK(seen.insert(name).second, kData,
                  "{}:{}: expected each class once, found {} twice", path, line, name);
    names.push_back(name);
  }
  DISSENT_CHECK(!names.empty(), kData, "{}: expected names of classes, found none", path);
  return names;
}

}  // namespace dissent
