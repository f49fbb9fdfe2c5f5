#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "data/datasets/npy.hpp"
#include "data/images/decode.hpp"
#include "self.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

using dissent::testing::self;

std::string data_folder() {
  return std::string(std::getenv("DISSENT_SOURCE_DIR")) + "/tests/data/images";
}

const std::vector<std::string> kNames = {"jpeg_420.jpg",       "jpeg_422.jpg",
                                         "jpeg_444.jpg",       "jpeg_cmyk.jpg",
                                         "jpeg_grey.jpg",      "jpeg_progressive.jpg",
                                         "jpeg_restart.jpg",   "png_1bit.png",
                                         "png_grey.png",       "png_grey16.png",
                                         "png_grey_alpha.png", "png_palette.png",
                                         "png_palette4.png",   "png_palette_transparent.png",
                                         "png_rgb.png",        "png_rgba.png"};

struct ImageFiles : ::testing::Test {
  TempFolder folder{*self};
  std::string error(const std::string& name, const std::string& bytes) {
    atomic_write_text(folder / name, bytes);
    return error_of(ErrorKind::kData, [&] { read_image(folder / name); });
  }
};

}  // namespace

// pixels.npy holds what Pillow reads of the same files.
TEST_F(ImageFiles, PixelsArePillows) {
  const auto expected = read_npy(data_folder() + "/pixels.npy");
  ASSERT_EQ(expected.sizes().vec(),
            (std::vector<int64_t>{static_cast<int64_t>(kNames.size()), 29, 23, 3}));
  for (size_t i = 0; i < kNames.size(); ++i) {
    auto image = read_image(data_folder() + "/" + kNames[i]);
    if (image.dim() == 2) image = image.unsqueeze(2).expand({29, 23, 3});
    ASSERT_EQ(image.sizes().vec(), (std::vector<int64_t>{29, 23, 3})) << kNames[i];
    const auto difference =
        (image.to(at::kInt) - expected[static_cast<int64_t>(i)].to(at::kInt)).abs();
    EXPECT_EQ(difference.max().item<int>(), 0)
        << kNames[i] << ": " << difference.count_nonzero().item<int64_t>() << " values differ";
  }
}

// And with a colour behind what is transparent: Pillow's paste with the image's alpha as mask.
TEST_F(ImageFiles, TransparentPixelsShowTheBackground) {
  const auto dropped = read_npy(data_folder() + "/pixels.npy"),
             expected = read_npy(data_folder() + "/pixels_over_colour.npy");
  const auto background = background_of("250,100,3");
  int64_t others = 0;
  for (size_t i = 0; i < kNames.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    auto image = read_image(data_folder() + "/" + kNames[i], nullptr, background);
    if (image.dim() == 2) image = image.unsqueeze(2).expand({29, 23, 3});
    EXPECT_TRUE(at::equal(image, expected[row])) << kNames[i];
    others += at::equal(expected[row], dropped[row]) ? 0 : 1;
  }
  EXPECT_EQ(others, 3);  // grey and RGB with alpha, and the palette with a transparent entry
  EXPECT_EQ(background_of("#fa6403"), background);
  EXPECT_EQ(background_of("white"), background_of("255,255,255"));
  EXPECT_EQ(background_of("black"), background_of("#000000"));
  EXPECT_FALSE(background_of("none"));
  for (const char* text :
       {"", "grey", "#12345", "#12345g", "1,2", "1,2,3,4", "1,2,256", "1,2,-3", "#-1-1-1"})
    EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [&] { background_of(text); }),
                    "background: expected none, white, black,")
        << text;
}

TEST_F(ImageFiles, TheFirstBytesTellTheFormat) {
  atomic_write_text(folder / "a.JPEG", read_text(data_folder() + "/png_rgb.png"));
  EXPECT_TRUE(at::equal(read_image(folder / "a.JPEG"), read_image(data_folder() + "/png_rgb.png")));
  EXPECT_CONTAINS(error("a.jpg", "GIF89a..."),
                  "a.jpg: expected JPEG or PNG, found a file that starts with 474946383961");
  EXPECT_CONTAINS(error("a.jpg", ""), "a.jpg: expected an image, found an empty file");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { read_image(folder / "none.jpg"); }),
                  "none.jpg: cannot open: No such file");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { read_image(folder.path()); }),
                  "expected a file, found a folder");
}

// Wherever a file is cut, the image is refused: no half of it is taken for the whole.
TEST_F(ImageFiles, TruncatedFilesAreNamed) {
  for (const auto& name : {"jpeg_420.jpg", "jpeg_progressive.jpg", "jpeg_restart.jpg",
                           "png_rgb.png", "png_palette.png"}) {
    const auto bytes = read_text(data_folder() + "/" + name);
    for (size_t length = 3; length + 2 < bytes.size(); length += 37) {
      const auto cut = bytes.substr(0, length);
      const auto message = error(name, cut);
      EXPECT_EQ(message, error_of(ErrorKind::kData,
                                  [&] {
                                    decode_image(cut, folder / name, [](int64_t, int64_t) {
                                      return ImagePart{0, 0, 1, 1};
                                    });
                                  }))
          << "of a part";
      EXPECT_CONTAINS(message, name);
      EXPECT_CONTAINS(message, length > 8 ? "damaged: " : ": ");
    }
  }
}

// Rows and columns that are passed over change no pixel of the part, at no place and for no way of
// subsampling.
TEST_F(ImageFiles, PartsAreThoseOfTheWhole) {
  Random random(2, Purpose::kNoise);
  for (const auto& name : kNames) {
    const auto bytes = read_text(
        (name.starts_with("jpeg_4") ? data_folder() + "/large_" : data_folder() + "/") + name);
    const auto whole = decode_image(bytes, name);
    const int64_t height = whole.size(0), width = whole.size(1);
    for (int i = 0; i < 400; ++i) {
      ImagePart part;
      part.height = 1 + random.below(static_cast<uint32_t>(height));
      part.width = 1 + random.below(static_cast<uint32_t>(i % 2 == 0 ? width : width / 4));
      part.top = random.below(static_cast<uint32_t>(height - part.height + 1));
      part.left = random.below(static_cast<uint32_t>(width - part.width + 1));
      const auto found = decode_image(bytes, name, [&](int64_t h, int64_t w) {
        EXPECT_EQ(h, height);
        EXPECT_EQ(w, width);
        return part;
      });
      ASSERT_EQ(found.sizes(), whole.sizes());
      const auto cut = [&](const at::Tensor& image) {
        return image.narrow(0, part.top, part.height).narrow(1, part.left, part.width);
      };
      ASSERT_TRUE(at::equal(cut(found), cut(whole)))
          << name << ": " << part.height << " x " << part.width << " at " << part.top << ", "
          << part.left;
    }
  }
}

TEST_F(ImageFiles, DamagedBytesNeverCrash) {
  Random random(1, Purpose::kNoise);
  for (const auto& name : kNames) {
    const auto bytes = read_text(data_folder() + "/" + name);
    for (int i = 0; i < 60; ++i) {
      auto changed = bytes;
      for (int k = 0; k < 3; ++k)
        changed[random.below(static_cast<uint32_t>(bytes.size()))] =
            static_cast<char>(random.next());
      try {
        decode_image(changed, name);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kData) << error.what();
      }
    }
  }
  auto png = read_text(data_folder() + "/png_rgb.png");
  png[60] ^= 1;  // in the compressed pixels: the checksum of the chunk tells
  EXPECT_CONTAINS(error("crc.png", png), "crc.png: damaged: ");
}

TEST_F(ImageFiles, NpyRowsAndErrors) {
  const auto path = data_folder() + "/pixels.npy";
  EXPECT_TRUE(at::equal(read_npy(path, 5, 2), read_npy(path).narrow(0, 5, 2)));
  const auto bytes = read_text(path);
  const auto message = [&](const std::string& text) {
    atomic_write_text(folder / "a.npy", text);
    return error_of(ErrorKind::kData, [&] { read_npy(folder / "a.npy"); });
  };
  EXPECT_CONTAINS(message("nothing of the kind"), "a.npy: expected a .npy file, found another");
  EXPECT_CONTAINS(message(bytes.substr(0, 40)), "a.npy: truncated: expected a complete header");
  EXPECT_CONTAINS(message(bytes.substr(0, 2000)),
                  "a.npy: expected 32016 bytes of values by its header, found 1872");
  EXPECT_CONTAINS(message(bytes + "1"),
                  "a.npy: expected 32016 bytes of values by its header, found 32017");
  auto floats = bytes;
  floats.replace(floats.find("|u1"), 3, "<f4");
  EXPECT_CONTAINS(message(floats), "a.npy: expected |u1, <i4 or <i8 in C order, found <f4");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { read_npy(path, 10, 7); }),
                  "expected rows 10 .. 16, found 16 rows");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { read_npy(folder / "b.npy"); }),
                  "b.npy: no such file");
}
