#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/image_source.hpp"
#include "data/options.hpp"

namespace dissent {

/// Where the files of the split selected by [data] are stored.
struct ImagePlace {
  std::string list;    ///< the list's file; "" for a registered set
  std::string folder;  ///< of the set or of the list's images; "": the list has absolute paths
  std::string obtain;  ///< how to get the set, for messages; "" for a list
};
/// Name of a set in identities, checkpoints and result rows: data.dataset; if that is empty, the
/// file name of the list without its suffix, or kDefaultDataset without a list.
std::string set_name(const ImageDataOptions& options);

/// Checks the options before any file is opened. Error::kUsage: unknown set or split, a set without
/// images, no root, a number of classes that is not the set's, a background that is not a colour.
/// Not collective.
ImagePlace check_image_source(const ImageDataOptions& options);

/// Opens the split selected by [data]. Error::kUsage: unknown set or split, no root. Error::kData:
/// files missing (with the path and how to get them) or damaged, different numbers of images and
/// labels, a label out of range. Not collective.
std::unique_ptr<ImageSource> open_image_source(const ImageDataOptions& options);
/// The same with the rows of data.rows only, and check_class_gaps where data.labels. Errors: see
/// open_image_source and rows_of_source. Not collective.
std::unique_ptr<ImageSource> open_images(const ImageDataOptions& options);

/// For a list whose number of classes follows from its labels: Error::kData if more than half of
/// the classes have no row, or 16 and more right below the highest label, which then is probably a
/// marker (255) and not a class; fewer are logged. Checks nothing if options.classes or a class
/// file give the number.
void check_class_gaps(const ImageSource& source, const ImageDataOptions& options);
/// Error::kData unless both sets have the same class names in the same order, or one has none.
void check_same_classes(const ImageSource& source, const std::vector<std::string>& names,
                        const std::string& of);

}  // namespace dissent
