#include "report/saliency_plot.hpp"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "self.hpp"
#include "storage/h5.hpp"
#include "storage/saliency_file.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::report;
using namespace dissent::testing;

namespace {

using dissent::testing::self;

// One image of 84 x 84, dark on the left, white on the right; maps: constant, rising to the right,
// one value.
SaliencyMaps made() {
  auto image = at::zeros({1, 84, 84, 1}, at::kByte);
  image.slice(2, 42).fill_(255);
  auto maps = at::zeros({1, 3, 2, 2}, at::kFloat);
  maps[0][0].fill_(7);
  maps[0][1].select(1, 0).fill_(-1);
  maps[0][1].select(1, 1).fill_(3);
  maps[0][2][1][1] = 1;
  return {image, maps, at::full({1}, 3, at::kLong), at::full({1}, -1, at::kLong)};
}

bool has_gnuplot() { return std::system("gnuplot --version > /dev/null 2>&1") == 0; }

}  // namespace

TEST(Viridis, MeetsItsEnds) {
  uint8_t low[3], high[3], beyond[3], middle[3];
  viridis(0, low);
  viridis(1, high);
  viridis(2, beyond);
  viridis(0.5, middle);
  EXPECT_EQ((std::vector<int>{low[0], low[1], low[2]}), (std::vector<int>{68, 1, 84}));
  EXPECT_EQ((std::vector<int>{high[0], high[1], high[2]}), (std::vector<int>{253, 231, 37}));
  EXPECT_EQ(high[1], beyond[1]);
  EXPECT_EQ((std::vector<int>{middle[0], middle[1], middle[2]}), (std::vector<int>{31, 152, 139}));
}

TEST(SaliencyFile, ComesBackAndRefusesWhatDoesNotFit) {
  TempFolder folder(*self);
  const auto path = folder / "s.h5";
  write_saliency(path, made());
  const auto back = read_saliency(path);
  EXPECT_TRUE(at::equal(back.image, made().image) && at::equal(back.maps, made().maps) &&
              at::equal(back.label, made().label) && at::equal(back.prediction, made().prediction));
  auto wrong = made();
  wrong.maps = wrong.maps.to(at::kDouble);
  EXPECT_CONTAINS(
      error_of(ErrorKind::kUsage, [&] { write_saliency(path, wrong); }),
      "write_saliency: maps: expected Float with 4 dimensions, found Double [1, 3, 2, 2]");
  wrong = made();
  wrong.label = at::zeros({2}, at::kLong);
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [&] { write_saliency(path, wrong); }),
                  "label: expected 1 images as in the field image, found 2");
  wrong.label = at::Tensor();
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [&] { write_saliency(path, wrong); }),
                  "label: expected a tensor, found none");
  {
    auto other = h5_create(folder / "o.h5");
    h5_add_dataset(other, "image", {1, 2, 2, 3}, at::kByte, "o.h5");
  }
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { read_saliency(folder / "o.h5"); }),
                  "o.h5: not a saliency file: expected a dataset 'maps', found none");
}

// The pixels that gnuplot gets: 2 pixels for one of the image, 8 white ones between pictures.
TEST(SaliencyFigure, HasTheColoursOfImageAndMaps) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not there";
  TempFolder folder(*self);
  const auto path = folder / "s.h5", output = folder / "s.png";
  write_saliency(path, made());
  EXPECT_CONTAINS(
      error_of(ErrorKind::kUsage, [&] { draw_saliency(path, {1}, 8, {.outputs = {output}}); }),
      "--images: expected 0 .. 0, found 1");
  draw_saliency(path, {}, 8, {.outputs = {output}, .width_in = 4, .dpi = 100, .keep_script = true});
  const auto png = read_text(output), bytes = read_text(output + ".rgb"),
             script = read_text(output + ".gp");
  EXPECT_EQ(png.substr(0, 8), "\x89PNG\r\n\x1a\n");
  const int64_t width = 4 * 176 - 8;
  ASSERT_EQ(bytes.size(), static_cast<size_t>(width * 168 * 3));
  const auto pixel = [&](int64_t x, int64_t y) {
    const auto* at = reinterpret_cast<const uint8_t*>(bytes.data()) + (y * width + x) * 3;
    return std::vector<int>{at[0], at[1], at[2]};
  };
  EXPECT_EQ(pixel(83, 100), (std::vector<int>{0, 0, 0}));
  EXPECT_EQ(pixel(84, 100), (std::vector<int>{255, 255, 255}));
  EXPECT_EQ(pixel(170, 100), (std::vector<int>{255, 255, 255}));  // between
  EXPECT_EQ(pixel(176, 100),
            (std::vector<int>{34, 1, 42}));  // a constant map is 0: half of 68, 1, 84 on black
  EXPECT_EQ(pixel(176 + 160, 100), (std::vector<int>{162, 128, 170}));  // and on white
  EXPECT_EQ(pixel(2 * 176, 5),
            (std::vector<int>{34, 1, 42}));  // the rising map: lowest at the left
  EXPECT_EQ(pixel(2 * 176 + 167, 160),
            (std::vector<int>{254, 243, 146}));  // highest at the right, on white
  EXPECT_EQ(pixel(3 * 176 + 167, 167),
            (std::vector<int>{254, 243, 146}));  // the one value of the third, below right
  EXPECT_EQ(pixel(3 * 176 + 167, 0), (std::vector<int>{162, 128, 170}));
  EXPECT_CONTAINS(script, "class 3\\npredicted unknown");
  EXPECT_CONTAINS(script, "member 2");
  // With the names of classes and files, also of odd ones.
  auto named = made();
  named.prediction.fill_(1);
  named.names = {"/data/val/n01/a \"b\" of_a_name_that_is_too_long_to_stand_here.JPEG"};
  named.class_names = {"cat", "T-shirt/top", "it's", "ankle\nboot"};
  write_saliency(path, named);
  const auto back = read_saliency(path);
  EXPECT_EQ(back.names, named.names);
  EXPECT_EQ(back.class_names[3], "ankle boot");
  draw_saliency(path, {}, 8, {.outputs = {output}, .width_in = 5, .dpi = 60, .keep_script = true});
  EXPECT_CONTAINS(read_text(output + ".gp"),
                  "\"ankle boot\\npredicted T-shirt/top\\n…too_long_to_stand_here.JPEG\"");
  named.names.push_back("b");
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [&] { write_saliency(path, named); }),
                  "names: expected 1 names, one per image of the field image, found 2");
}
