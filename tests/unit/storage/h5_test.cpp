#include <map>
#include <utility>

#include <fmt/format.h>

#include "storage/h5.hpp"

#include "self.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {
using dissent::testing::self;
}

TEST(H5, EveryDtypeComesBack) {
  TempFolder folder(*self);
  const std::string path = folder / "types.h5";
  std::map<std::string, at::Tensor> values;
  for (const auto dtype :
       {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kInt, at::kLong, at::kByte})
    values[fmt::format("group/{}", at::toString(dtype))] =
        at::arange(12).reshape({4, 3}).mul(7).to(dtype);
  auto file = h5_create(path);
  for (const auto& [name, tensor] : values) {
    h5_add_dataset(file, name, tensor.sizes(), tensor.scalar_type(), path);
    h5_write_rows(file, name, 0, tensor, *self, path);
  }
  file.close(path);
  file = h5_open(path);
  EXPECT_EQ(h5_dataset_names(file, "group", path).size(), values.size());
  for (const auto& [name, tensor] : values) {
    const auto info = h5_info(file, name, path);
    EXPECT_EQ(info.dtype, tensor.scalar_type());
    EXPECT_EQ(info.shape, tensor.sizes().vec());
    EXPECT_GT(info.offset, 0);
    EXPECT_TRUE(at::equal(h5_read(file, name, path), tensor)) << name;
    EXPECT_TRUE(at::equal(h5_read(file, name, 1, 2, path), tensor.narrow(0, 1, 2))) << name;
    EXPECT_EQ(h5_read(file, name, 4, 0, path).numel(), 0);
  }
}

// Readers such as h5py choose their type by these fields: 16 bits, 8 of exponent, 7 of mantissa,
// bias 127.
TEST(H5, BFloat16IsAFloatTypeThatHdf5Understands) {
  const auto type = h5_type(at::kBFloat16);
  size_t sign = 0, exponent = 0, exponent_bits = 0, mantissa = 0, mantissa_bits = 0;
  ASSERT_GE(H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits), 0);
  EXPECT_EQ(H5Tget_class(type), H5T_FLOAT);
  EXPECT_EQ(H5Tget_size(type), 2u);
  EXPECT_EQ(H5Tget_precision(type), 16u);
  EXPECT_EQ(sign, 15u);
  EXPECT_EQ(exponent, 7u);
  EXPECT_EQ(exponent_bits, 8u);
  EXPECT_EQ(mantissa, 0u);
  EXPECT_EQ(mantissa_bits, 7u);
  EXPECT_EQ(H5Tget_ebias(type), 127u);
  EXPECT_EQ(h5_dtype(type, "type"), at::kBFloat16);
}

TEST(H5, Hdf5ConvertsHalvesToFloatsExactly) {
  TempFolder folder(*self);
  for (const auto dtype : {at::kHalf, at::kBFloat16}) {
    const std::string path = folder / "half.h5";
    const auto values = at::tensor({1.0, -2.5, 3.140625, 65280.0, 1e-5, 0.0}).to(dtype);
    auto file = h5_create(path);
    h5_add_dataset(file, "x", {6}, dtype, path);
    h5_write_rows(file, "x", 0, values, *self, path);
    auto read = at::empty({6}, at::kFloat);
    h5_read_rows(file, "x", 0, 6, read.data_ptr(), at::kFloat, path);
    EXPECT_TRUE(at::equal(read, values.to(at::kFloat))) << read;
  }
}

TEST(H5, AttributesAndTexts) {
  TempFolder folder(*self);
  const std::string path = folder / "attributes.h5", text = fmt::format("{:x<100000}\nmünchen", "");
  auto file = h5_create(path);
  h5_add_group(file, "group", path);
  h5_write_attribute(file, "/", "name", "ünï", path);
  h5_write_attribute(file, "group", "count", int64_t{-7}, path);
  h5_write_attribute(file, "group", "value", 0.1, path);
  h5_write_attribute(file, "group", "empty", "", path);
  h5_write_text(file, "text", text, path);
  file.close(path);
  file = h5_open(path);
  EXPECT_EQ(h5_read_attribute(file, "/", "name", path), H5Value("ünï"));
  EXPECT_EQ(h5_read_attribute(file, "group", "count", path), H5Value(int64_t{-7}));
  EXPECT_EQ(h5_read_attribute(file, "group", "value", path), H5Value(0.1));
  EXPECT_EQ(h5_read_attribute(file, "group", "empty", path), H5Value(""));
  EXPECT_EQ(h5_attribute_names(file, "group", path),
            (std::vector<std::string>{"count", "empty", "value"}));
  EXPECT_EQ(h5_read_text(file, "text", path), text);
  EXPECT_TRUE(h5_has(file, "text"));
  EXPECT_FALSE(h5_has(file, "no/such/thing"));
}

TEST(H5, ErrorsCarryHdf5sReasonAndTheFile) {
  TempFolder folder(*self);
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { h5_open(folder / "none.h5"); }),
                  "none.h5: cannot open: No such file or directory");
  atomic_write_text(folder / "text.h5", "this is no HDF5 file");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { h5_open(folder / "text.h5"); }),
                  "text.h5: expected an HDF5 file, found another");
  auto file = h5_create(folder / "empty.h5");
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { h5_info(file, "embed", "empty.h5"); }),
                  "empty.h5: expected a dataset 'embed', found none");
}

TEST(H5, HandlesMoveAndCloseOnce) {
  TempFolder folder(*self);
  static int closed = 0;
  const auto count = [](hid_t) -> herr_t {
    ++closed;
    return 0;
  };
  {
    UniqueHandle first(1, count);
    UniqueHandle second(std::move(first));
    EXPECT_FALSE(first.valid());
    second = UniqueHandle(2, count);
    EXPECT_EQ(closed, 1);
    second.close("place");
    second.close("place");
    EXPECT_EQ(closed, 2);
  }
  EXPECT_EQ(closed, 2);
  // A collective handle may not be closed by one rank while it unwinds.
  try {
    UniqueHandle shared(3, count, true);
    DISSENT_FAIL(kData, "unwind");
  } catch (const Error&) {
  }
  EXPECT_EQ(closed, 2);
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData,
               [] { UniqueHandle(4, [](hid_t) -> herr_t { return -1; }).close("file.h5"); }),
      "file.h5: ");
}
