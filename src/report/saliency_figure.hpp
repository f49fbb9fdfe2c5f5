#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "report/gnuplot.hpp"

namespace dissent::report {

/// Draws a row of pictures for each chosen image of a saliency file: the image, then the maps of
/// all members over it, side by side, with label and prediction. Maps are brought to the image's
/// size (bilinear), each scaled from its smallest to its largest value (a constant map is 0 all
/// over), coloured by viridis and laid over the grey image with weight 0.5. The file:
/// storage/saliency_file.hpp. images: places in the file; empty: the first four. most: members that
/// are shown at most.
/// Throws Error::kData for a wrong file, Error::kUsage for an image that is not there.
void draw_saliency(const std::string& path, const std::vector<int64_t>& images, int64_t most,
                   Canvas canvas);

/// Colour of viridis (matplotlib; S. van der Walt, N. Smith) at 0 .. 1: red, green, blue of 0 ..
/// 255, between 16 samples of it.
void viridis(double value, uint8_t* rgb);

}  // namespace dissent::report
