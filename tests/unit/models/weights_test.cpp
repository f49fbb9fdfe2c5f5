#include "models/weights/load.hpp"

#include <caffe2/serialize/inline_container.h>
#include <fmt/format.h>
#include <unistd.h>
#include <dissent/error.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>

#include "core/random.hpp"
#include "expect_error.hpp"
#include "models/networks/registry.hpp"
#include "models/networks/vision_transformer.hpp"
#include "storage/pickle.hpp"

using namespace dissent;
using dissent::testing::expect_error;

namespace {

class Weights : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::temp_directory_path() / fmt::format("dissent_weights_{}", ::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::filesystem::path folder_;
};

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string safetensors(const std::string& header, const std::string& values) {
  const uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), sizeof size) + header + values;
}

void put(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// A file that torch.save wrote, kept with the tests.
std::string data(const std::string& name) {
  const char* root = std::getenv("DISSENT_SOURCE_DIR");
  return std::string(root ? root : ".") + "/tests/data/weights/" + name;
}

struct Flat {
  std::unique_ptr<ImageNetwork> network;
  at::Tensor values, buffers;
};

Flat made(const std::string& name, uint64_t seed, int64_t classes = 10,
          at::ScalarType dtype = at::kFloat) {
  Flat flat{make_image_network(name, {.classes = classes}), {}, {}};
  flat.values = at::empty({flat.network->layout().size()}, dtype);
  flat.buffers = at::empty({flat.network->buffer_layout().size()}, dtype);
  flat.network->initialise(flat.values, seed, 0);
  flat.network->initialise_buffers(flat.buffers);
  if (flat.buffers.numel() > 0) flat.buffers.add_(static_cast<double>(seed));
  return flat;
}

bool same(const Flat& one, const Flat& two) {
  const auto equal = [](const ParameterLayout& layout, const at::Tensor& a, const at::Tensor& b) {
    return std::all_of(layout.entries().begin(), layout.entries().end(), [&](const auto& entry) {
      return at::equal(parameter(a, entry), parameter(b, entry));
    });
  };
  return equal(one.network->layout(), one.values, two.values) &&
         equal(one.network->buffer_layout(), one.buffers, two.buffers);
}

}  // namespace

TEST_F(Weights, SafetensorsRoundTripEveryType) {
  StateDict tensors;
  for (const auto dtype : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kInt,
                           at::kShort, at::kChar, at::kByte, at::kBool, at::kUInt16, at::kUInt32,
                           at::kUInt64, at::kFloat8_e4m3fn, at::kFloat8_e5m2})
    tensors[std::string("t.") + at::toString(dtype)] =
        at::arange(6, at::kFloat).view({2, 3}).to(dtype);
  tensors["scalar"] = at::scalar_tensor(2.5, at::kFloat);
  tensors["empty"] = at::empty({0, 4}, at::kFloat);
  tensors["strided"] = at::arange(6, at::kFloat).view({2, 3}).t();
  write_safetensors(path("all"), tensors, {{"format", "pt"}});
  const auto read = read_state_dict(path("all"));
  ASSERT_EQ(read.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(read.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(read.at(name), tensor)) << name;
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1)
      << "a temporary file is left";
}

// The format's own example, byte for byte.
TEST_F(Weights, SafetensorsLayoutIsTheFormats) {
  write_safetensors(path("one"), {{"a", at::tensor({1.0f, -2.0f})}});
  const std::string header = R"({"a":{"data_offsets":[0,8],"dtype":"F32","shape":[2]}})";
  const auto padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  EXPECT_EQ(bytes_of(path("one")), safetensors(padded, std::string("\0\0\x80\x3f\0\0\0\xc0", 8)));
}

TEST_F(Weights, DamagedSafetensorsAreNamed) {
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                    values(8, '\0');
  const auto expect = [&](const std::string& bytes, const std::string& text) {
    put(path("bad"), bytes);
    expect_error(ErrorKind::kData, text, [&] { read_safetensors(path("bad")); });
  };
  expect(safetensors(good, values.substr(1)),
         "a: expected bytes inside 0 .. 7, found 0 .. 8: the file is truncated or damaged");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", values),
         "a: expected a shape that fits the file, found [3]");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", values),
         "a: expected 4 bytes for [1] F32, found 8");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", values),
         "expected lists of counts");
  expect(
      safetensors(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}})",
                  values),
      "expected a shape that fits the file");
  // The format's rule: no gap, no overlap, nothing behind the last one.
  const auto two = [&](const char* first, const char* second) {
    return fmt::format(R"({{"a":{{"dtype":"U8","shape":[4],"data_offsets":[{}]}},)"
                       R"("b":{{"dtype":"U8","shape":[4],"data_offsets":[{}]}}}})",
                       first, second);
  };
  put(path("bad"), safetensors(two("4,8", "0,4"), values));  // any order
  EXPECT_EQ(read_safetensors(path("bad")).size(), 2u);
  expect(safetensors(two("0,4", "2,6"), values.substr(2)),
         "b: expected its values at byte 4, directly after the previous ones, found 2 .. 6: they "
         "overlap");
  expect(safetensors(two("0,4", "0,4"), values.substr(4)), "they overlap");
  expect(safetensors(two("0,4", "5,9"), values + " "), "found 5 .. 9: there is a gap");
  expect(safetensors(two("1,5", "5,9"), values + " "), "found 1 .. 5: there is a gap");
  expect(safetensors(good, values + "more"), "expected 8 bytes of values by its header, found 12");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                     R"("a":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}})",
                     values),
         "expected each tensor once, found a twice");
  expect(safetensors("{\"a\":", values), "expected a header that is a JSON object");
  expect(std::string("\xff\xff\xff\xff\xff\xff\xff\xff", 8) + "{", "not a safetensors file");
  expect_error(ErrorKind::kData, "cannot open", [&] { read_state_dict(path("no_such_file")); });
  put(path("bad"), "something else");
  expect_error(ErrorKind::kData, "expected a safetensors file or one of torch.save",
               [&] { read_state_dict(path("bad")); });
  put(path("bad"), std::string("\x80\x02\x8a\nl\xfc\x9c"
                               "F\xf9 j",
                               11));
  expect_error(ErrorKind::kData, "of PyTorch 1.6 or later", [&] { read_state_dict(path("bad")); });
}

TEST_F(Weights, TorchsOwnFilesAreRead) {
  // Made by PyTorch 2.11: plain: the state_dict() of a module; nested: {"model": OrderedDict (f16),
  // "epoch": 3}; objects: {"model": ..., "args": argparse.Namespace()}.
  const auto plain = read_state_dict(data("plain.pth")),
             nested = read_state_dict(data("nested.pth"));
  EXPECT_TRUE(at::equal(plain.at("fc.weight"), at::arange(6, at::kFloat).view({2, 3})));
  EXPECT_TRUE(at::equal(plain.at("bn.num_batches_tracked"), at::scalar_tensor(7, at::kLong)));
  EXPECT_TRUE(at::equal(nested.at("fc.weight"), at::arange(6, at::kHalf).view({2, 3})));
  EXPECT_EQ(nested.size(), 2u);
  const auto objects = read_state_dict(data("objects.pth"));
  EXPECT_TRUE(at::equal(objects.at("fc.weight"), plain.at("fc.weight")));
  const auto bytes = bytes_of(data("plain.pth"));
  for (const size_t length : {size_t{20}, bytes.size() / 2, bytes.size() - 1}) {
    put(path("cut.pth"), bytes.substr(0, length));
    expect_error(ErrorKind::kData,
                 "cut.pth: expected a file of torch.save, found another format or damage (a zip "
                 "archive with no directory at its end)",
                 [&] { read_state_dict(path("cut.pth")); });
  }
}

// torch.save's archives have a CRC-32 of each record, which LibTorch does not look at.
TEST_F(Weights, ChangedBytesOfTorchsFilesAreFound) {
  const auto bytes = bytes_of(data("plain.pth"));
  const auto whole = read_state_dict(data("plain.pth"));
  const std::string file = path("changed.pth");
  auto flipped = bytes;
  const auto values = bytes.find(std::string("\0\0\x80\x3f\0\0\0\x40", 8));  // 1, 2 of fc.weight
  ASSERT_NE(values, std::string::npos);
  flipped[values] ^= 1;
  put(file, flipped);
  expect_error(ErrorKind::kData, "damaged: expected CRC-32", [&] { read_state_dict(file); });
  int errors = 0;
  for (size_t place = 0; place < bytes.size(); ++place) {
    flipped = bytes;
    flipped[place] ^= 0x10;
    put(file, flipped);
    try {
      const auto found = read_state_dict(file);
      EXPECT_EQ(found.size(), whole.size()) << place;
      for (const auto& [name, tensor] : found)
        EXPECT_TRUE(at::equal(tensor, whole.at(name))) << place << " " << name;
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(ErrorKind::kData)) << error.what();
      ++errors;
    }
  }
  EXPECT_GT(errors, 100);
}

// What others write in addition to the weights: types that are not read are left out, and missed
// only by name.
TEST_F(Weights, TensorsOfUnknownTypesAreLeftOut) {
  put(path("odd"), safetensors(R"({"scale":{"dtype":"F4","shape":[8],"data_offsets":[0,4]},)"
                               R"("w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                               std::string("\0\0\0\0\0\0\x80\x3f", 8)));
  const auto read = read_state_dict(path("odd"));
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read.at("w").item<float>(), 1);
}

// torch.save on a machine whose bytes are the other way round: the record `byteorder` says so.
TEST_F(Weights, BytesOfTheOtherOrderAreTurned) {
  const std::string pickle = "\x80\x02}q\x01X\x01" + std::string(3, '\0') +
                             "actorch._utils\n_rebuild_tensor_v2\n((X\x07" + std::string(3, '\0') +
                             "storagectorch\nFloatStorage\nX\x01" + std::string(3, '\0') +
                             "0X\x03" + std::string(3, '\0') + "cpuK\x02tQK" +
                             std::string(1, '\0') + "K\x02\x85K\x01\x85\x89)tRs.";
  const std::string values("\x3f\x80\0\0\xc0\0\0\0", 8);  // 1, -2
  const auto write = [&](const std::string& order) {
    caffe2::serialize::PyTorchStreamWriter writer(path("big.pth"));
    writer.writeRecord("data.pkl", pickle.data(), pickle.size());
    if (!order.empty()) writer.writeRecord("byteorder", order.data(), order.size());
    writer.writeRecord("data/0", values.data(), values.size());
    writer.writeEndOfFile();
  };
  write("big");
  EXPECT_TRUE(at::equal(read_state_dict(path("big.pth")).at("a"), at::tensor({1.0f, -2.0f})));
  for (const char* order : {"little", ""}) {
    write(order);
    EXPECT_FALSE(at::equal(read_state_dict(path("big.pth")).at("a"), at::tensor({1.0f, -2.0f})));
  }
  write("middle");
  expect_error(ErrorKind::kData, "big.pth: byteorder: expected little or big, found 'middle'",
               [&] { read_state_dict(path("big.pth")); });
}

// {"a": tensor [2, 2] of a storage of 6 from 2 on, strides 2 and 1}, as torch.save writes it;
// `part` is the tensor's place.
TEST_F(Weights, PicklesOfDamagedFilesAreErrors) {
  const auto storage = at::arange(6, at::kFloat);
  const auto pickled = [](const std::string& place) {
    return "\x80\x02}q\x01X\x01" + std::string(3, '\0') +
           "actorch._utils\n_rebuild_tensor_v2\n((X\x07" + std::string(3, '\0') +
           "storagectorch\nFloatStorage\nX\x01" + std::string(3, '\0') + "0X\x03" +
           std::string(3, '\0') + "cpuK\x06tQ" + place + "\x89)tRs.";
  };
  const auto read = [&](const std::string& bytes) {
    return read_pickle_values(bytes, "made.pth", [&](const PickleValue&) { return storage; });
  };
  const auto good = pickled("K\x02K\x02K\x02\x86K\x02K\x01\x86");
  const auto value = read(good);
  ASSERT_EQ(value->pairs.size(), 1u);
  EXPECT_TRUE(at::equal(value->pairs[0].second->tensor, storage.narrow(0, 2, 4).view({2, 2})));
  expect_error(ErrorKind::kData, "a tensor [2, 2] is outside its storage of 6",
               [&] { read(pickled("K\x03K\x02K\x02\x86K\x02K\x01\x86")); });
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_THROW(read(good.substr(0, length)), Error) << length;
  // A million tuples in each other end without a stack of as many calls.
  read("\x80\x02)" + std::string(1'000'000, '\x85') + ".");
  // Whatever a byte is changed to, the reader ends with a value or an error.
  for (size_t i = 0; i < good.size(); ++i)
    for (const char byte : {'\0', '\xff', '(', 't', 'R', 'b', '0', 'q', 'h'}) {
      auto bad = good;
      bad[i] = byte;
      try {
        read(bad);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kData);
      }
    }
}

// A tuple in a tuple, a million deep: deleting them one inside of the other would end the stack.
TEST_F(Weights, NestedPicklesEndWithoutAnOverflow) {
  const auto read = [&](const std::string& bytes) {
    return read_pickle_values(bytes, "made.pth", [](const PickleValue&) { return at::Tensor(); });
  };
  const auto value = read("\x80\x02)" + std::string(1000000, '\x85') + ".");
  EXPECT_EQ(value->items.size(), 1u);
  expect_error(ErrorKind::kData, "unexpected end",
               [&] { read("\x80\x02)" + std::string(300000, '\x85')); });
  std::string dicts = "\x80\x02";  // {None: {None: ...}}
  for (int i = 0; i < 300000; ++i) dicts += "}N";
  EXPECT_EQ(read(dicts + "N" + std::string(300000, 's') + ".")->pairs.size(), 1u);
}

TEST_F(Weights, NetworksRoundTrip) {
  for (const char* name : {"lenet", "resnet18_32x32"}) {
    const auto from = made(name, 1);
    auto to = made(name, 2);
    EXPECT_FALSE(same(from, to));
    write_safetensors(path(name), state_dict(*from.network, from.values, from.buffers));
    load_weights(*to.network, to.values, to.buffers, read_state_dict(path(name)), {}, name);
    EXPECT_TRUE(same(from, to)) << name;
  }
}

TEST_F(Weights, NamesOfTimmTorchvisionAndWrappersAreKnown) {
  const VisionTransformer network(
      {.classes = 3, .image_size = 8, .patch_size = 4, .dim = 8, .depth = 2, .attention_heads = 2});
  auto from = at::empty({network.layout().size()}, at::kFloat), to = at::zeros_like(from);
  network.initialise(from, 1, 0);
  const auto timm = state_dict(network, from, {}, Naming::kTimm);
  EXPECT_EQ(timm.count("blocks.1.ls2.gamma"), 1u);
  EXPECT_EQ(timm.count("blocks.1.gamma_2"), 0u);
  load_weights(network, to, {}, timm, {}, "timm");
  EXPECT_TRUE(at::equal(from, to));

  const auto resnet = made("resnet18_32x32", 1);
  StateDict wrapped;
  for (auto [name, tensor] : state_dict(*resnet.network, resnet.values, resnet.buffers)) {
    std::string other = name;
    if (const auto at = other.find(".shortcut."); at != std::string::npos)
      other.replace(at, 10, ".downsample.");
    if (!other.ends_with("num_batches_tracked")) wrapped["module.nets.1." + other] = tensor;
    wrapped["module.nets.0." + other] = tensor + 1;
  }
  auto target = made("resnet18_32x32", 1);
  target.values.zero_();
  load_weights(*target.network, target.values, target.buffers, wrapped, {.prefix = "nets.1."},
               "wrapped");
  EXPECT_TRUE(same(resnet, target));
}

// DataParallel's and torch.compile's prefixes are known; others are proposed.
TEST_F(Weights, PrefixesOfOtherProgramsAreProposed) {
  const auto resnet = made("resnet18_32x32", 1);
  const auto own = state_dict(*resnet.network, resnet.values, resnet.buffers);
  const auto behind = [&](const std::string& prefix) {
    StateDict weights;
    for (const auto& [name, tensor] : own) weights[prefix + name] = tensor;
    return weights;
  };
  auto target = made("resnet18_32x32", 2);
  const auto load = [&](const StateDict& weights, const std::string& prefix = "") {
    load_weights(*target.network, target.values, target.buffers, weights,
                 {.prefix = prefix, .prefix_key = "trunk.prefix"}, "file.pth");
  };
  for (const char* prefix : {"module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."}) {
    target.values.zero_();
    load(behind(prefix));
    EXPECT_TRUE(same(resnet, target)) << prefix;
  }
  for (const char* prefix : {"model.", "state.encoder.", "_orig_mod.model."}) {
    const std::string wanted = prefix == std::string("_orig_mod.model.") ? "model." : prefix;
    expect_error(ErrorKind::kData,
                 fmt::format("; names in the file look like {}bn1.bias: set trunk.prefix = \"{}\"",
                             prefix, wanted),
                 [&] { load(behind(prefix)); });
    target.values.zero_();
    load(behind(prefix), wanted);
    EXPECT_TRUE(same(resnet, target)) << prefix;
  }
  expect_error(ErrorKind::kData, "set trunk.prefix = \"net.\"",
               [&] { load(behind("net."), "nets."); });
  expect_error(ErrorKind::kData, "; the file has names such as embedding.weight",
               [&] { load({{"embedding.weight", at::zeros({2})}}); });
  expect_error(ErrorKind::kData, "; the file has no tensors", [&] { load({}); });
}

TEST_F(Weights, OtherTypesAreConverted) {
  const auto from = made("lenet", 1);
  auto half = state_dict(*from.network, from.values, from.buffers);
  for (auto& [name, tensor] : half) tensor = tensor.to(at::kBFloat16);
  auto to = made("lenet", 2, 10, at::kDouble);
  load_weights(*to.network, to.values, to.buffers, half, {}, "bf16");
  const auto& entry = *to.network->layout().find("fc.weight");
  EXPECT_TRUE(at::equal(parameter(to.values, entry),
                        parameter(from.values, entry).to(at::kBFloat16).to(at::kDouble)));
}

TEST_F(Weights, MisfitsAreNamedAndNothingIsCopied) {
  const auto from = made("lenet", 1, 10);
  auto weights = state_dict(*from.network, from.values, from.buffers);
  auto to = made("lenet", 2, 7);
  const auto before = to.values.clone();
  const auto load = [&](const LoadOptions& options) {
    load_weights(*to.network, to.values, to.buffers, weights, options, "file.pth");
  };
  expect_error(ErrorKind::kData,
               "file.pth: fc.weight is [10, 84] in the file, [7, 84] in this network; fc.bias is "
               "[10] in the file, [7] in this network",
               [&] { load({}); });
  EXPECT_TRUE(at::equal(to.values, before));
  load({.prefix = "", .classifier = false});
  const auto value = [&](const char* name) {
    return parameter(to.values, *to.network->layout().find(name));
  };
  EXPECT_TRUE(at::equal(value("block1.0.weight"), weights.at("block1.0.weight")));
  EXPECT_TRUE(
      at::equal(value("fc.weight"), parameter(before, *to.network->layout().find("fc.weight"))));
  weights.erase("block2.0.bias");
  weights["block9.weight"] = at::ones({2, 2});
  to = made("lenet", 2, 10);
  expect_error(ErrorKind::kData,
               "block2.0.bias [16] is not in the file; block9.weight [2, 2] is not in this network",
               [&] { load({}); });
  weights.erase("block9.weight");
  weights["block2.0.bias"] = at::ones({16});
  auto trunk = made("lenet", 2, 0);
  load_weights(*trunk.network, trunk.values, trunk.buffers, weights, {},
               "a trunk takes files with a classifier");
}

// Bytes changed, left out and put in anywhere: a file is read, or refused in our own words with its
// name. Never a text of a library alone, never another kind of error.
TEST_F(Weights, BrokenFilesAreRefusedInOurOwnWords) {
  auto tensors = read_state_dict(data("plain.pth"));
  write_safetensors(path("plain.safetensors"), tensors);
  const auto at_path = path("broken");
  int64_t refused = 0, read = 0;
  for (const auto& source :
       {data("plain.pth"), data("nested.pth"), data("objects.pth"), path("plain.safetensors")}) {
    const auto whole = bytes_of(source);
    for (uint64_t seed = 0; seed < 400; ++seed) {
      std::mt19937_64 random(seed);
      const auto below = [&](uint64_t bound) { return random() % bound; };
      auto bytes = whole;
      // Half of the changes in the headers: of zip at the end, of the others at the start.
      const auto place = [&] {
        const uint64_t near = std::min<uint64_t>(bytes.size(), 400);
        switch (below(4)) {
          case 0: return below(near);
          case 1: return bytes.size() - 1 - below(near);
          default: return below(bytes.size());
        }
      };
      for (uint64_t change = 1 + below(3); change > 0; --change) switch (below(4)) {
          case 0: bytes[place()] = static_cast<char>(below(256)); break;
          case 1: bytes[place()] ^= static_cast<char>(1 << below(8)); break;
          case 2: bytes.resize(1 + place()); break;
          default: bytes.insert(place(), 1 + below(8), static_cast<char>(below(256))); break;
        }
      put(at_path, bytes);
      try {
        const auto weights = read_state_dict(at_path);
        for (const auto& [name, tensor] : weights) tensor.sum();  // every value is there
        ++read;
      } catch (const Error& error) {
        const std::string text = error.what();
        EXPECT_EQ(error.kind(), ErrorKind::kData) << text;
        EXPECT_TRUE(text.starts_with(at_path + ": ")) << text;
        EXPECT_EQ(text.find('\n'), std::string::npos) << text;
        const auto library = text.find("Exception raised");
        EXPECT_EQ(library, std::string::npos) << text;
        ++refused;
      } catch (const std::exception& error) {
        ADD_FAILURE() << source << ", seed " << seed << ": " << error.what();
      }
    }
  }
  EXPECT_GT(refused, 800);
  EXPECT_GT(read, 20);
}
