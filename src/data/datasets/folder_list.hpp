#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dissent {

/// Options for making a list of images from folders, one `path label` per line.
struct FolderListOptions {
  std::vector<std::string> folders;
  std::string
      root;  ///< paths in the list are relative to it; empty: paths as the folders are given
  std::vector<std::string> classes = {};  ///< names of subfolders in the order of their numbers;
                                          ///< empty: the existing subfolders, sorted
  int64_t class_field = 0;  ///< n > 0: the class of an image is not its subfolder but the n-th part
                            ///< of its file name, split at "_", without the suffix
                            ///< (model-vs-human: 5)
  std::optional<int64_t> label;  ///< label of all images; without it the class is the subfolder
                                 ///< that contains the image, at any depth
  bool allow_empty = false;      ///< subfolders without an image are classes without rows, not an
                                 ///< error
};

struct FolderList {
  /// Files of a class that are not images, by their suffix.
  struct Skipped {
    int64_t files = 0;
    std::map<std::string, int64_t> endings;  ///< ".webp" -> 12; "" for names without a suffix
    std::string first;                       ///< path of the alphabetically first one
  };
  std::string text;                        ///< the lines
  int64_t images = 0;                      ///< their number
  std::vector<std::string> classes;        ///< by number; empty if one label was given
  std::vector<std::string> empty;          ///< subfolders without an image
  std::map<std::string, Skipped> skipped;  ///< by class; "" for files outside of subfolders
};

/// Lists the files *.jpg, *.jpeg and *.png (upper or lower case) below the folders. Classes are the
/// subfolders of all folders together, whatever they contain, numbered in alphabetical order (as
/// torchvision's ImageFolder does; for ImageNet: the order of the synsets). Ignored everywhere:
/// hidden files, and what operating systems create (Thumbs.db, desktop.ini, __MACOSX, @eaDir,
/// lost+found, $RECYCLE.BIN, System Volume Information). Lines are sorted by label and path, byte
/// by byte, so the same files give the same text on every machine. Error::kData: a folder that is
/// missing, has no images, is not below the root, or has images outside of subfolders or in a
/// subfolder that is not in `classes`; subfolders without an image, with counts of their files,
/// unless allowed; a name with fewer parts than `class_field`; a name with a line break.
FolderList list_folders(const FolderListOptions& options);

/// Logs the skipped files, one line per class (up to ten, then their number), and the empty
/// classes.
void log_skipped(const FolderList& list, const std::string& place);

/// Name of a list's class file: "train.txt" -> "train.classes.txt". It has one class per line, in
/// the order of their numbers.
std::string class_file_of(const std::string& list);
/// The class file in a run's folder: the classes that the run was trained on.
inline constexpr const char* kRunClassFile = "classes.txt";
/// The text of a class file: one name per line.
std::string class_file_text(const std::vector<std::string>& names);
/// Reads a class file; blank lines are skipped. Error::kData: no name, or a name twice.
std::vector<std::string> read_class_file(const std::string& path);

}  // namespace dissent
