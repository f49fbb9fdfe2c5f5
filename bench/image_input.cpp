// Time from JPEG files to normalised tensors: decoding and transforms only.
// bench/peers/image_input.py does the same work on the same files.
#include <jpeglib.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <dissent/error.hpp>

#include "core/parallel.hpp"
#include "core/random.hpp"
#include "data/datasets/folder_list.hpp"
#include "data/datasets/image_list.hpp"
#include "data/image_loader.hpp"
#include "harness.hpp"

using namespace dissent;

namespace {

// Noise of six scales whose strength decreases with the frequency, as in photographs: about 5 bits
// per pixel at quality 92.
std::vector<unsigned char> picture(int64_t width, int64_t height, uint64_t number) {
  auto sum = at::zeros({1, 3, height, width});
  for (int64_t scale = 0; scale < 6; ++scale) {
    auto grid = at::empty({1, 3, (height >> (6 - scale)) + 2, (width >> (6 - scale)) + 2});
    fill_uniform(grid, -1, 1, Random(1, Purpose::kNoise, number, static_cast<uint64_t>(scale)));
    sum += at::upsample_bicubic2d(grid, {height, width}, false) *
           (90.0 / static_cast<double>(1 << scale));
  }
  auto grain = at::empty({1, 1, height, width});
  fill_uniform(grain, -8, 8, Random(1, Purpose::kNoise, number, 99));
  const auto pixels =
      (sum + grain + 128).clamp(0, 255).to(at::kByte)[0].permute({1, 2, 0}).contiguous();
  const auto* first = pixels.const_data_ptr<uint8_t>();
  return {first, first + pixels.numel()};
}

void write_jpeg(const std::string& path, std::vector<unsigned char> pixels, int64_t width,
                int64_t height) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  std::FILE* file = std::fopen(path.c_str(), "wb");
  DISSENT_CHECK(file, kData, "{}: cannot be created", path);
  jpeg_stdio_dest(&info, file);

  info.image_width = static_cast<JDIMENSION>(width);
  info.image_height = static_cast<JDIMENSION>(height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 92, TRUE);
  jpeg_start_compress(&info, TRUE);

  while (info.next_scanline < info.image_height) {
    unsigned char* row =
        pixels.data() + static_cast<size_t>(info.next_scanline) * static_cast<size_t>(3 * width);
    jpeg_write_scanlines(&info, &row, 1);
  }

  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::fclose(file);
}

// Fills the folder with pictures, a quarter of them upright, if it does not exist.
void fill(const std::string& folder) {
  constexpr int64_t kImages = 48;
  if (std::filesystem::is_directory(folder)) return;
  std::filesystem::create_directories(folder);
  for (int64_t i = 0; i < kImages; ++i) {
    const bool upright = i % 4 == 3;
    const int64_t width = upright ? 375 : 500, height = upright ? 500 : 375;
    write_jpeg(fmt::format("{}/{:02}.jpg", folder, i),
               picture(width, height, static_cast<uint64_t>(i)), width, height);
  }
}

// Milliseconds per image: median and least over repeated passes over all images, and the mean of
// the processor time, which other work on the machine changes less.
void time_transform(const ImageSource& source, const std::string& name, bool workers) {
  constexpr int64_t kRepeats = 9;
  const auto transform = find_transform(name).options;
  ImageLoader loader({.workers = workers ? threads() : 0});
  std::vector<int64_t> rows(static_cast<size_t>(source.rows()));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  const auto images = static_cast<double>(source.rows());

  // The first pass is not timed: it reads the files into the page cache.
  std::vector<double> times;
  std::clock_t used = 0;
  for (int64_t repeat = 0; repeat <= kRepeats; ++repeat) {
    if (repeat == 1) used = std::clock();
    const double seconds = bench::seconds_of(
        [&] { loader.load({&source, &transform, rows, 1, static_cast<uint64_t>(repeat)}).get(); });
    if (repeat > 0) times.push_back(seconds * 1e3 / images);
  }
  const double cpu_ms = static_cast<double>(std::clock() - used) * 1e3 / CLOCKS_PER_SEC /
                        (static_cast<double>(kRepeats) * images);

  const double image_ms = median(times);
  bench::report({.bench = "image_input"}, "jpeg to " + name, image_ms,
                {{"cpu_ms", cpu_ms},
                 {"min_ms", *std::min_element(times.begin(), times.end())},
                 {"images_per_s", 1e3 / image_ms},
                 {"images", source.rows()}});
}

}  // namespace

int main(int argc, char** argv) {
  std::string folder = "results/bench/images";
  bool workers = false;
  bench::Options options("bench_image_input",
                         "Time from JPEG files to normalised tensors: decoding and transforms.");
  options
      .text("images", folder,
            "folder of *.jpg; if it does not exist, it is filled with pictures of 500 x 375")
      .flag("workers", workers, "load with worker processes instead of threads");
  return bench::run(options, argc, argv, [&] {
    set_threads(options.threads(2));
    fill(folder);
    const ImageList source({.name = "images", .place = folder, .root = folder},
                           list_folders({.folders = {folder}, .root = folder, .label = -1}).text);
    for (const auto* name : {"imagenet_train", "imagenet_test"})
      time_transform(source, name, workers);
  });
}
