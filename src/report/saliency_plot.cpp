#include "report/saliency_plot.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include <fmt/format.h>

#include "core/divide_up.hpp"
#include "storage/atomic_file.hpp"
#include "storage/saliency_file.hpp"

namespace dissent::report {
namespace {

constexpr double kMapWeight = 0.5;
constexpr int64_t kPictureSide =
    168;                     // least height of a picture in pixels; the factor is an integer
constexpr int64_t kGap = 8;  // pixels between pictures

// Every 16th of viridis' 256 colours, and the last.
constexpr uint8_t kViridis[17][3] = {
    {68, 1, 84},    {72, 26, 108},  {71, 47, 125},  {65, 68, 135},  {57, 86, 140},  {49, 104, 142},
    {42, 120, 142}, {35, 136, 142}, {31, 152, 139}, {34, 168, 132}, {53, 183, 121}, {84, 197, 104},
    {122, 209, 81}, {165, 219, 54}, {210, 226, 27}, {241, 229, 29}, {253, 231, 37}};

// A map at the size of the image: bilinear, with align_corners = false.
at::Tensor enlarged(const at::Tensor& map, int64_t height, int64_t width) {
  return at::upsample_bilinear2d(map.to(at::kDouble).unsqueeze(0).unsqueeze(0), {height, width},
                                 false)[0][0];
}

// The canvas of all pictures: red, green and blue of each pixel, white between the pictures.
struct Pixels {
  int64_t width, height;
  std::string bytes;
  Pixels(int64_t w, int64_t h)
      : width(w), height(h), bytes(static_cast<size_t>(w * h * 3), '\xff') {}
  uint8_t* at(int64_t x, int64_t y) {
    return reinterpret_cast<uint8_t*>(bytes.data()) + (y * width + x) * 3;
  }
};

void put_image(Pixels& pixels, const at::Tensor& image, int64_t factor, int64_t x0, int64_t y0) {
  // Each pixel becomes a square of factor x factor; a grey image gives all three colours.
  const auto a = image.accessor<uint8_t, 3>();
  for (int64_t y = 0; y < a.size(0) * factor; ++y)
    for (int64_t x = 0; x < a.size(1) * factor; ++x)
      for (int64_t c = 0; c < 3; ++c)
        pixels.at(x0 + x, y0 + y)[c] = a[y / factor][x / factor][a.size(2) == 3 ? c : 0];
}

void put_map(Pixels& pixels, const at::Tensor& image, const at::Tensor& map, int64_t factor,
             int64_t x0, int64_t y0) {
  // Each map is scaled to its own range, so that maps of different size can be compared.
  const auto low = map.min().item<double>(), range = map.max().item<double>() - low;
  const auto large = enlarged(map, image.size(0) * factor, image.size(1) * factor);

  const auto a = large.accessor<double, 2>();
  const auto grey = image.to(at::kDouble).mean(2);
  const auto g = grey.accessor<double, 2>();
  for (int64_t y = 0; y < a.size(0); ++y)
    for (int64_t x = 0; x < a.size(1); ++x) {
      uint8_t colour[3];
      viridis(range > 0 ? (a[y][x] - low) / range : 0, colour);
      for (int c = 0; c < 3; ++c)
        pixels.at(x0 + x, y0 + y)[c] = static_cast<uint8_t>(
            std::lround(kMapWeight * colour[c] + (1 - kMapWeight) * g[y / factor][x / factor]));
    }
}

std::string palette() {
  std::string text;
  for (int i = 0; i < 17; ++i)
    text += fmt::format("{}{} '#{:02x}{:02x}{:02x}'", i ? ", " : "", i, kViridis[i][0],
                        kViridis[i][1], kViridis[i][2]);
  return text;
}

// The name of a class if it is known, else its number.
std::string class_text(const SaliencyMaps& file, int64_t value) {
  if (value < 0) return "unknown";
  const auto names = static_cast<int64_t>(file.class_names.size());
  return value < names ? file.class_names[value] : fmt::format("class {}", value);
}

// Longer names are cut at their beginning: the end of a file name says more.
constexpr size_t kLongestName = 28;
std::string ending_of(const std::string& text) {
  if (text.size() <= kLongestName) return text;
  size_t from = text.size() - kLongestName + 1;

  // Not inside of a UTF-8 character: its further bytes begin with the bits 10.
  while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xc0) == 0x80) ++from;
  return "…" + text.substr(from);
}

// The lines next to an image: class, prediction, file name.
std::vector<std::string> lines_next_to(const SaliencyMaps& file, int64_t image) {
  std::vector<std::string> lines{
      ending_of(class_text(file, file.label[image].item<int64_t>())),
      "predicted " + ending_of(class_text(file, file.prediction[image].item<int64_t>()))};
  if (!file.names.empty())
    lines.push_back(ending_of(std::filesystem::path(file.names[image]).filename().string()));
  return lines;
}

// Lines as gnuplot reads them between double quotes.
std::string double_quoted(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) {
    if (!text.empty()) text += "\\n";

    // Escaped as in C; control characters would end the label.
    for (const char c : line)
      text += c == '"' || c == '\\'                ? std::string("\\") + c
              : static_cast<unsigned char>(c) < 32 ? std::string(" ")
                                                   : std::string(1, c);
  }
  return "\"" + text + "\"";
}

// Space around the pictures, inches.
struct Room {
  double left, right, top, bottom;
};
Room room_of(const SaliencyMaps& file, const std::vector<int64_t>& images, const Canvas& canvas) {
  size_t longest = 12;
  for (const int64_t image : images)
    for (const auto& line : lines_next_to(file, image)) longest = std::max(longest, line.size());

  // gnuplot does not report the width of texts, so it is estimated from the font size.
  const double em = canvas.font_pt / 72;
  return {0.6 * em * static_cast<double>(longest), 6 * em, (canvas.title.empty() ? 1.8 : 3.6) * em,
          0.6 * em};
}

// The script: pictures from a file of raw bytes, names above and next to them, the colour scale of
// the maps on the right.
std::string script(const SaliencyMaps& file, const std::vector<int64_t>& images, int64_t members,
                   const Pixels& pixels, int64_t step_x, int64_t step_y, const std::string& raw,
                   const Canvas& canvas) {
  const auto room = room_of(file, images, canvas);
  const double right = 1 - room.right / canvas.width_in, bottom = room.bottom / canvas.height_in,
               top = 1 - room.top / canvas.height_in;
  std::string text = fmt::format(
      "unset border\nunset tics\nunset key\nunset grid\nset xrange [0:{}]\nset yrange [0:{}]\n",
      pixels.width, pixels.height);

  text += margins(room.left / canvas.width_in, right, bottom, top) + header(canvas, {}).script;
  text += fmt::format(
      "set palette defined ({})\nset cbrange [0:1]\nset cbtics ('min' 0, 'max' 1) scale 0\nset "
      "colorbox user origin screen {:.4f}, screen {:.4f} size screen 0.012, screen {:.4f}\n",
      palette(), right + 0.015, bottom + 0.25 * (top - bottom), 0.5 * (top - bottom));

  // One column per member, after the image.
  for (int64_t c = 0; c <= members; ++c)
    text += fmt::format("set label '{}' at {}, {} center offset 0,0.6\n",
                        c == 0 ? "image" : fmt::format("member {}", c - 1),
                        c * step_x + (step_x - kGap) / 2, pixels.height);

  // gnuplot's y-axis points upwards, the rows of pictures follow each other downwards.
  for (size_t r = 0; r < images.size(); ++r)
    text += fmt::format("set label {} at 0, {} right noenhanced offset -0.8,0.6\n",
                        double_quoted(lines_next_to(file, images[r])),
                        pixels.height - static_cast<int64_t>(r) * step_y - (step_y - kGap) / 2);
  return text + fmt::format(
                    "plot {} binary array=({},{}) flipy format='%uchar' using 1:2:3 with rgbimage, "
                    "NaN with lines palette\n",
                    quoted(raw), pixels.width, pixels.height);
}

}  // namespace

void viridis(double value, uint8_t* rgb) {
  // Linear between the 17 given colours.
  const double at = std::min(std::max(value, 0.0), 1.0) * 16;
  const int low = std::min(static_cast<int>(at), 15);
  for (int c = 0; c < 3; ++c)
    rgb[c] = static_cast<uint8_t>(
        std::lround(kViridis[low][c] + (at - low) * (kViridis[low + 1][c] - kViridis[low][c])));
}

namespace {

// The indices that were given, else the first four.
std::vector<int64_t> checked_images(const std::vector<int64_t>& given, int64_t count) {
  auto images = given;
  if (images.empty())
    for (int64_t i = 0; i < std::min<int64_t>(4, count); ++i) images.push_back(i);
  for (const int64_t image : images)
    DISSENT_CHECK(image >= 0 && image < count, kUsage, "--images: expected 0 .. {}, found {}",
                  count - 1, image);
  return images;
}

}  // namespace

void draw_saliency(const std::string& path, const std::vector<int64_t>& chosen, int64_t max_members,
                   Canvas canvas) {
  const auto file = read_saliency(path);
  const auto images = checked_images(chosen, file.image.size(0));
  const int64_t members = std::min(file.maps.size(1), max_members);
  const int64_t height = file.image.size(1), width = file.image.size(2);

  // Small images are enlarged by an integer factor, so that their pixels stay squares.
  const int64_t factor = std::max<int64_t>(1, divide_up(kPictureSide, height));
  const int64_t step_x = width * factor + kGap, step_y = height * factor + kGap;
  Pixels pixels(step_x * (members + 1) - kGap, step_y * static_cast<int64_t>(images.size()) - kGap);
  for (size_t r = 0; r < images.size(); ++r) {
    const auto image = file.image[images[r]], maps = file.maps[images[r]];
    const int64_t y = static_cast<int64_t>(r) * step_y;
    put_image(pixels, image, factor, 0, y);
    for (int64_t m = 0; m < members; ++m)
      put_map(pixels, image, maps[m], factor, (m + 1) * step_x, y);
  }

  // The height of the canvas follows from its width and the pictures.
  const auto room = room_of(file, images, canvas);
  const double width_in = canvas.width_in - room.left - room.right;
  DISSENT_CHECK(width_in > 0.5, kUsage,
                "--width: expected space for pictures next to text of {} points, found {} inches; "
                "use a larger --width or a smaller --font",
                canvas.font_pt, canvas.width_in);
  canvas.height_in =
      width_in * static_cast<double>(pixels.height) / static_cast<double>(pixels.width) + room.top +
      room.bottom;

  // gnuplot reads the pixels from a file of bytes, which is kept next to a kept script.
  const std::string raw = canvas.outputs.at(0) + ".rgb";
  atomic_write_text(raw, pixels.bytes);
  try {
    draw(canvas, script(file, images, members, pixels, step_x, step_y, raw, canvas));
  } catch (...) {
    remove_file(raw);
    throw;
  }
  if (!canvas.keep_script) remove_file(raw);
}

}  // namespace dissent::report
