#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "report/gnuplot.hpp"

namespace dissent::report {

/// Draws a row of pictures for each chosen image of a saliency file: the image, then the maps of
/// all members over it, side by side, with label and prediction. Maps are resized to the image
/// (bilinear), scaled from their smallest to their largest value (a constant map is 0 everywhere),
/// coloured by viridis and laid over the grey image with weight 0.5. The file:
/// storage/saliency_file.hpp. images: indices in the file; empty: the first four. max_members:
/// number of members that are shown. Error::kData for an invalid file, Error::kUsage for an image
/// index out of range, and for a canvas too narrow for the text next to the pictures.
void draw_saliency(const std::string& path, const std::vector<int64_t>& images, int64_t max_members,
                   Canvas canvas);

/// The colour of viridis (matplotlib; S. van der Walt, N. Smith) at 0 .. 1 as red, green, blue of 0
/// .. 255, interpolated between 17 samples of it.
void viridis(double value, uint8_t* rgb);

}  // namespace dissent::report
