#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "report/gnuplot.hpp"

namespace dissent::report {

/// Draws a row of pictures for each chosen image of a saliency file: the image, then the maps of all members over it, side by side, with label and prediction.
/// Maps are brought to the image's size (bilinear), each scaled from its smallest to its largest value (a constant map is 0 all over), coloured by viridis and laid
/// over the grey image with weight 0.6. images: places in the file; empty: the first four. most: members that are shown at most.
///
/// A saliency file is an HDF5 file with the attribute format = "dissent-saliency", version = 1 and the datasets
///   image       u8  [N, H, W, 3]  or [N, H, W, 1]
///   maps        f32 [N, M, h, w]  of the true class, before any scaling
///   label       i64 [N]           -1: unknown
///   prediction  i64 [N]           of the ensemble
/// Throws Error::kData naming file and dataset for another shape or type, Error::kUsage for an image that is not there.
void draw_saliency(const std::string& path, const std::vector<int64_t>& images, int64_t most, Canvas canvas);

/// Colour of viridis (matplotlib; S. van der Walt, N. Smith) at 0 .. 1: red, green, blue of 0 .. 255, between 16 samples of it.
void viridis(double value, uint8_t* rgb);

}  // namespace dissent::report
