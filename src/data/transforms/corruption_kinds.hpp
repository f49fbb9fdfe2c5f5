#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "core/random.hpp"

/// The corruptions of corruption_table(): image [H, W, 3] u8, `row` the parameters at one severity,
/// named behind each function.
namespace dissent::corruptions {

using Row = std::vector<double>;

at::Tensor gaussian_noise(const at::Tensor& image, const Row& row, Random& random);  ///< deviation
at::Tensor shot_noise(const at::Tensor& image, const Row& row,
                      Random& random);  ///< photons at white
at::Tensor impulse_noise(const at::Tensor& image, const Row& row,
                         Random& random);  ///< part of the values

at::Tensor defocus_blur(const at::Tensor& image, const Row& row,
                        Random& random);  ///< radius, blur of the disk's edge
at::Tensor glass_blur(const at::Tensor& image, const Row& row,
                      Random& random);  ///< sigma, furthest neighbour, rounds
at::Tensor motion_blur(const at::Tensor& image, const Row& row, Random& random);  ///< radius, sigma
at::Tensor zoom_blur(const at::Tensor& image, const Row& row,
                     Random& random);  ///< number of factors from 1 on, step

at::Tensor snow(
    const at::Tensor& image, const Row& row,
    Random& random);  ///< mean, deviation, zoom, threshold, radius, sigma, weight of the image
at::Tensor frost(
    const at::Tensor& image, const Row& row,
    Random& random);  ///< weight of the image, of the frost, pixels of a photograph a pixel
at::Tensor fog(const at::Tensor& image, const Row& row,
               Random& random);  ///< density, decay of the fractal

at::Tensor brightness(const at::Tensor& image, const Row& row,
                      Random& random);  ///< added to the value of HSV
at::Tensor contrast(const at::Tensor& image, const Row& row,
                    Random& random);  ///< factor about the mean
at::Tensor elastic_transform(
    const at::Tensor& image, const Row& row,
    Random& random);  ///< displacement, its sigma, shift of the corners; pixels
at::Tensor pixelate(const at::Tensor& image, const Row& row,
                    Random& random);  ///< part of each edge
at::Tensor jpeg_compression(const at::Tensor& image, const Row& row, Random& random);  ///< quality

}  // namespace dissent::corruptions
