#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dissent {

/// What a list of images in folders says: `path label` a line.
struct FolderListOptions {
  std::vector<std::string> folders;
  std::string root;  ///< the paths of the list are below it; empty: as the folders are given
  std::vector<std::string> classes = {};  ///< names of subfolders in the order of their numbers;
                                          ///< empty: those that are there, sorted
  int64_t class_field = 0;  ///< n above 0: an image's class is not its subfolder but the n-th part
                            ///< of its file's name, cut at "_", without the file's ending
                            ///< (model-vs-human: 5)
  std::optional<int64_t> label;  ///< of all images; else the class is the subfolder of the folder
                                 ///< in which an image lies, however deep
  bool allow_empty = false;      ///< subfolders without an image are classes without rows, no error
};

struct FolderList {
  /// Files of a class that are no images by their endings.
  struct Skipped {
    int64_t files = 0;
    std::map<std::string, int64_t> endings;  ///< ".webp" -> 12; "" of names without one
    std::string first;                       ///< the first one's path, by name
  };
  std::string text;                        ///< the lines
  int64_t images = 0;                      ///< their number
  std::vector<std::string> classes;        ///< by number; empty where one label was given
  std::vector<std::string> empty;          ///< subfolders without an image
  std::map<std::string, Skipped> skipped;  ///< by class; "" of files in no subfolder
};

/// Lists the files *.jpg, *.jpeg and *.png (in any case) below the folders. Classes are the
/// subfolders of all folders together, whatever lies in them, numbered in the order of their names
/// (as torchvision's ImageFolder does; of ImageNet: the order of the synsets). Left out everywhere:
/// names that begin with a point, and what operating systems leave (Thumbs.db, desktop.ini,
/// __MACOSX, @eaDir, lost+found, $RECYCLE.BIN, System Volume Information). Lines are sorted by
/// label and path, byte by byte, so the same files give the same text everywhere. Error::kData: a
/// folder that is missing, has no images, is not below the root, or has images outside of
/// subfolders or in one that `classes` does not name; subfolders without an image, with counts of
/// what is in them, unless they are allowed; a name of fewer parts than `class_field`; a name with
/// a line break.
FolderList list_folders(const FolderListOptions& options);

/// Logs what was skipped, a line a class (ten of them, then their number), and the empty classes.
void log_skipped(const FolderList& list, const std::string& place);

/// The class file of a list: "train.txt" -> "train.classes.txt". A class a line, in the order of
/// their numbers.
std::string class_file_of(const std::string& list);
/// The same in a run's folder, of the classes that it was trained on.
inline constexpr const char* kRunClassFile = "classes.txt";
std::string class_file_text(const std::vector<std::string>& names);
/// Error::kData: no name, one that is there twice.
std::vector<std::string> read_class_file(const std::string& path);

}  // namespace dissent
