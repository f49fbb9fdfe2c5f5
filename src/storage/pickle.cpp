#include "storage/pickle.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace dissent {
namespace {

using Kind = PickleValue::Kind;
using Pointer = PickleValue::Pointer;

// Opcodes of Python's pickle (Lib/pickle.py), by their bytes.
// clang-format off
enum Op : uint8_t {
  kMark = '(', kStop = '.', kPop = '0', kPopMark = '1', kDup = '2', kBinFloat = 'G', kBinInt = 'J',
  kBinInt1 = 'K', kBinInt2 = 'M', kNone = 'N', kBinPersId = 'Q', kReduce = 'R', kBinString = 'T',
  kShortBinString = 'U', kBinUnicode = 'X', kAppend = 'a', kBuild = 'b', kGlobal = 'c', kDict = 'd',
  kAppends = 'e', kBinGet = 'h', kLongBinGet = 'j', kList = 'l', kBinPut = 'q', kLongBinPut = 'r',
  kSetItem = 's', kTuple = 't', kSetItems = 'u', kEmptyDict = '}', kEmptyList = ']',
  kEmptyTuple = ')', kBinBytes = 'B', kShortBinBytes = 'C', kProto = 0x80, kNewObj = 0x81,
  kTuple1 = 0x85, kTuple2 = 0x86, kTuple3 = 0x87, kNewTrue = 0x88, kNewFalse = 0x89, kLong1 = 0x8a,
  kShortBinUnicode = 0x8c, kEmptySet = 0x8f, kAddItems = 0x90, kNewObjEx = 0x92,
  kStackGlobal = 0x93, kMemoize = 0x94, kFrame = 0x95, kLong4 = 0x8b, kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e, kFrozenSet = 0x91, kByteArray8 = 0x96,
};
// clang-format on

// A pickle is a program for a machine with a stack, marks on it and a memo of numbered values. The
// reader runs the instructions that build data, and keeps every call as a value of kind kOther.
class Reader {
 public:
  Reader(const std::string& bytes, const std::string& source,
         const std::function<at::Tensor(const PickleValue&)>& storage)
      : bytes_(bytes), source_(source), storage_(storage) {}

  Pointer read() {
    for (;;) {
      const auto op = number<uint8_t>();
      if (op == kStop) return pop();
      if (!literal(op) && !container(op) && !memo(op) && !object(op))
        fail(fmt::format("opcode {:#04x} at byte {}{}", op, place_ - 1,
                         bytes_.starts_with('\x80')
                             ? ""
                             : ": expected protocol 2 to 5, found an older one, or not a pickle"));
    }
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    DISSENT_FAIL(kData, "{}: its pickle cannot be read: {}", source_, what);
  }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - place_) fail("unexpected end");
    const std::string_view part(bytes_.data() + place_, count);
    place_ += count;
    return part;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view line() {
    const auto end = bytes_.find('\n', place_);
    if (end == std::string::npos) fail("unexpected end");
    const auto part = take(end - place_);
    ++place_;
    return part;
  }

  static Pointer make(Kind kind) {
    auto value = std::make_shared<PickleValue>();
    value->kind = kind;
    return value;
  }
  bool push(Pointer value) {
    stack_.push_back(std::move(value));
    return true;
  }
  bool push_integer(int64_t integer) {
    auto value = make(Kind::kInteger);
    value->integer = integer;
    return push(value);
  }
  bool push_text(std::string_view text, Kind kind = Kind::kText) {
    auto value = make(kind);
    value->text = text;
    return push(value);
  }
  bool push_sequence(std::vector<Pointer> items) {
    auto value = make(Kind::kSequence);
    value->items = std::move(items);
    return push(value);
  }
  // A value below the last mark belongs to the container that is being built: it cannot be popped.
  Pointer pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("its stack is empty");
    auto value = stack_.back();
    stack_.pop_back();
    return value;
  }
  Pointer top() {
    auto value = pop();
    stack_.push_back(value);
    return value;
  }
  std::vector<Pointer> pop_mark() {
    if (marks_.empty()) fail("a mark is missing");
    std::vector<Pointer> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()),
                               stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }

  // Each group of opcodes below returns false for an opcode of another group.
  bool literal(uint8_t op) {
    switch (op) {
      // The version and the lengths of frames say nothing about values.
      case kProto: take(1); return true;
      case kFrame: take(8); return true;

      case kNone: return push(make(Kind::kNone));
      case kNewTrue: return push_integer(1);
      case kNewFalse: return push_integer(0);
      case kBinInt: return push_integer(number<int32_t>());
      case kBinInt1: return push_integer(number<uint8_t>());
      case kBinInt2: return push_integer(number<uint16_t>());
      case kLong1: return push_long(take(number<uint8_t>()));
      case kLong4: return push_long(take(number<uint32_t>()));
      case kBinFloat: take(8); return push(make(Kind::kOther));

      // Texts and byte strings are the same here; their lengths have 1, 4 or 8 bytes.
      case kBinUnicode: return push_text(take(number<uint32_t>()));
      case kShortBinUnicode: return push_text(take(number<uint8_t>()));
      case kBinUnicode8:
      case kBinBytes8:
      case kByteArray8: return push_text(take(number<uint64_t>()));
      case kBinString:
      case kBinBytes: return push_text(take(number<uint32_t>()));
      case kShortBinString:
      case kShortBinBytes: return push_text(take(number<uint8_t>()));
      default: return false;
    }
  }

  // Integers of more than 8 bytes are not needed by any reader.
  bool push_long(std::string_view bytes) {
    return bytes.size() > 8 ? push(make(Kind::kOther)) : push_integer(long_integer(bytes));
  }

  // Little-endian two's complement of at most 8 bytes.
  static int64_t long_integer(std::string_view bytes) {
    if (bytes.empty()) return 0;
    uint64_t value = (bytes.back() & 0x80) != 0 ? ~uint64_t{0} : 0;
    for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
    return static_cast<int64_t>(value);
  }

  // Containers are built on the stack: from the values above a mark, or by appending to one that
  // the memo may already refer to.
  bool container(uint8_t op) {
    switch (op) {
      case kMark: marks_.push_back(stack_.size()); return true;
      case kPop: pop(); return true;
      case kPopMark: pop_mark(); return true;
      case kDup: return push(top());
      case kEmptyDict: return push(make(Kind::kDict));
      case kEmptyList:
      case kEmptyTuple:
      case kEmptySet: return push_sequence({});
      case kTuple:
      case kFrozenSet:
      case kList: return push_sequence(pop_mark());
      case kTuple1: return push_sequence({pop()});
      // The last item is on top of the stack.
      case kTuple2:
      case kTuple3: {
        std::vector<Pointer> items(op == kTuple2 ? 2 : 3);
        for (size_t i = items.size(); i-- > 0;) items[i] = pop();
        return push_sequence(items);
      }

      // The container is below its new items, and is changed in place: it may be in the memo.
      case kAppend:
      case kAppends:
      case kAddItems: {
        const auto items = op == kAppend ? std::vector<Pointer>{pop()} : pop_mark();
        auto& own = top()->items;
        own.insert(own.end(), items.begin(), items.end());
        return true;
      }
      case kDict:
      case kSetItem:
      case kSetItems: return set_items(op);
      default: return false;
    }
  }

  // The items are key, value, key, value, ...
  bool set_items(uint8_t op) {
    std::vector<Pointer> items;
    if (op == kSetItem) {
      const auto value = pop(), key = pop();
      items = {key, value};
    } else {
      items = pop_mark();
    }

    if (op == kDict) push(make(Kind::kDict));
    if (items.size() % 2 != 0) fail("a key has no value");
    for (size_t i = 0; i < items.size(); i += 2) top()->pairs.emplace_back(items[i], items[i + 1]);
    return true;
  }

  bool memo(uint8_t op) {
    switch (op) {
      case kBinPut: memo_[number<uint8_t>()] = top(); return true;
      case kLongBinPut: memo_[number<uint32_t>()] = top(); return true;
      // Protocol 4: the key is the number of entries so far.
      case kMemoize: {
        auto value = top();
        memo_.emplace(memo_.size(), std::move(value));
        return true;
      }
      case kBinGet: return push(remembered(number<uint8_t>()));
      case kLongBinGet: return push(remembered(number<uint32_t>()));
      default: return false;
    }
  }
  Pointer remembered(uint64_t key) const {
    const auto found = memo_.find(key);
    if (found == memo_.end()) fail(fmt::format("unknown memo entry {}", key));
    return found->second;
  }

  bool object(uint8_t op) {
    switch (op) {
      case kGlobal: {
        const std::string module(line());
        return push_text(module + "." + std::string(line()), Kind::kGlobal);
      }
      case kStackGlobal: {
        // Only of plain texts: a name made from a name would double its length with every
        // instruction.
        const auto name = pop(), module = pop();
        constexpr size_t kMostName = 1000;
        if (module->kind != Kind::kText || name->kind != Kind::kText ||
            module->text.size() + name->text.size() > kMostName)
          fail(
              fmt::format("expected the name of a class as two texts of at most {} characters, "
                          "found other values",
                          kMostName));
        return push_text(module->text + "." + name->text, Kind::kGlobal);
      }

      case kBinPersId: return push(storage_of(*pop()));
      case kReduce: {
        const auto arguments = pop(), function = pop();
        return push(called(*function, *arguments));
      }
      case kNewObj:
        pop();
        pop();
        return push(make(Kind::kOther));
      case kNewObjEx:
        pop();
        pop();
        pop();
        return push(make(Kind::kOther));
      case kBuild: return build(*pop());
      default: return false;
    }
  }

  // The persistent id that torch.save writes for a storage: ('storage', torch.FloatStorage, key,
  // device, elements). The device is ignored: all tensors are read to the host.
  Pointer storage_of(const PickleValue& id) const {
    static const std::map<std::string, at::ScalarType> types{
        {"torch.FloatStorage", at::kFloat}, {"torch.DoubleStorage", at::kDouble},
        {"torch.HalfStorage", at::kHalf},   {"torch.BFloat16Storage", at::kBFloat16},
        {"torch.LongStorage", at::kLong},   {"torch.IntStorage", at::kInt},
        {"torch.ShortStorage", at::kShort}, {"torch.CharStorage", at::kChar},
        {"torch.ByteStorage", at::kByte},   {"torch.BoolStorage", at::kBool}};
    if (id.items.size() < 5)
      fail("expected a storage as written by torch.save, found another object");

    // Tensors of other types (quantised, complex) are ignored like other unknown objects.
    const auto type = types.find(id.items[1]->text);
    if (type == types.end()) return make(Kind::kOther);

    auto value = make(Kind::kStorage);
    value->text = id.items[2]->text;
    value->integer = id.items[4]->integer;
    value->dtype = type->second;
    return value;
  }

  Pointer called(const PickleValue& function, const PickleValue& arguments) const {
    const auto& given = arguments.items;

    // What torch.save writes.
    if (function.text == "collections.OrderedDict") return make(Kind::kDict);
    if (function.text == "torch._utils._rebuild_parameter" && !given.empty()) return given[0];
    if (function.text == "torch._utils._rebuild_tensor_v2" && given.size() >= 4 &&
        given[0]->kind == Kind::kStorage)
      return tensor_of(given);

    // Protocol 2 has no byte strings: Python 3 writes them as Latin-1 text.
    if (function.text == "_codecs.encode" && given.size() == 2 && given[1]->text == "latin1")
      return latin1_of(given[0]->text);

    // Scalars and arrays of numpy.
    if (function.text.ends_with("multiarray.scalar") && given.size() == 2)
      if (auto array = array_of(*given[0], {}, false, given[1]->text)) {
        auto value = make(Kind::kInteger);
        value->integer = array->tensor.item<int64_t>();
        return value;
      }

    // The form of arrays in protocol 5.
    if (function.text.ends_with("numeric._frombuffer") && given.size() == 4)
      if (auto array = array_of(*given[1], given[2]->items, given[3]->text == "F", given[0]->text))
        return array;

    // Every other call is kept by name, and never executed.
    auto value = make(Kind::kOther);
    value->text = function.text;
    value->items = given;
    return value;
  }

  // The Latin-1 bytes of a UTF-8 text, one byte per character.
  Pointer latin1_of(const std::string& text) const {
    auto value = make(Kind::kText);
    for (size_t i = 0; i < text.size(); ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      if (byte < 0x80) {
        value->text += text[i];
        continue;
      }

      // U+0080 .. U+00FF: two bytes, of which the first is 0xc2 or 0xc3.
      if ((byte & 0xfe) != 0xc2 || ++i == text.size())
        fail("expected Latin-1 text, found other characters");
      value->text += static_cast<char>((byte & 3) << 6 | (text[i] & 0x3f));
    }
    return value;
  }

  // A numpy array of this dtype: u1 as u8, other integers as i64; null for other dtypes, which no
  // reader needs.
  Pointer array_of(const PickleValue& dtype, const std::vector<Pointer>& extents, bool fortran,
                   const std::string& bytes) const {
    if (dtype.text != "numpy.dtype" || dtype.items.empty()) return nullptr;
    const auto& type = dtype.items[0]->text;
    const bool known = type.size() == 2 && (type[0] == 'u' || type[0] == 'i' || type == "b1") &&
                       std::string_view("1248").find(type[1]) != std::string_view::npos;
    if (!known) return nullptr;

    // The shape comes from the file: multiply in 128 bits, and compare with the bytes that exist.
    const int64_t width = type[1] - '0';
    std::vector<int64_t> shape;
    __int128 values = 1;
    for (const auto& extent : extents) {
      shape.push_back(extent->integer);
      values = extent->integer < 0 || values > (int64_t{1} << 40) ? -1 : values * extent->integer;
    }
    if (values * width != static_cast<__int128>(bytes.size()))
      fail(fmt::format("expected the bytes of an array [{}], found {} bytes",
                       fmt::join(shape, ", "), bytes.size()));

    // Fortran order is C order of the reversed shape; the dimensions are permuted back at the end.
    if (fortran) std::reverse(shape.begin(), shape.end());

    auto value = make(Kind::kTensor);
    auto& tensor = value->tensor;
    tensor = at::empty(shape, type == "u1" ? at::kByte : at::kLong);
    if (type == "u1") {
      std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
    } else {
      auto* out = tensor.data_ptr<int64_t>();
      for (int64_t i = 0; i < tensor.numel(); ++i) {
        std::string number = bytes.substr(static_cast<size_t>(i * width), width);
        if (dtype.integer == '>') std::reverse(number.begin(), number.end());
        if (type[0] != 'i' && width < 8) number += '\0';  // no sign
        out[i] = long_integer(number);
      }
    }

    if (fortran && shape.size() > 1) {
      std::vector<int64_t> order(shape.size());
      for (size_t d = 0; d < order.size(); ++d)
        order[d] = static_cast<int64_t>(shape.size() - 1 - d);
      tensor = tensor.permute(order).contiguous();
    }
    return value;
  }

  // The state of an object. For a numpy array: (version, shape, dtype, Fortran order, bytes). For a
  // dtype: (version, byte order, ...), stored in its `integer`. For other objects, such as the
  // versions in a module's state dict, it is ignored.
  bool build(const PickleValue& state) {
    auto& value = *top();
    const auto& given = state.items;

    if (value.kind != Kind::kOther) return true;
    if (value.text == "numpy.dtype" && given.size() > 1 && given[1]->text.size() == 1)
      value.integer = given[1]->text[0];
    if (!value.text.ends_with("multiarray._reconstruct")) return true;

    // The array changes its kind in place, since the memo may refer to it already.
    const bool fits =
        given.size() == 5 && given[2]->text == "numpy.dtype" && !given[2]->items.empty();
    if (!fits) fail("expected an array as written by numpy, found another object");
    if (const auto array =
            array_of(*given[2], given[1]->items, given[3]->integer != 0, given[4]->text)) {
      value.kind = Kind::kTensor;
      value.tensor = array->tensor;
    }
    return true;
  }

  // The arguments of torch._utils._rebuild_tensor_v2: (storage, offset, shape, strides, ...), in
  // elements.
  Pointer tensor_of(const std::vector<Pointer>& given) const {
    std::vector<int64_t> shape, strides;
    for (const auto& extent : given[2]->items) shape.push_back(extent->integer);
    for (const auto& stride : given[3]->items) strides.push_back(stride->integer);

    // A tensor is a view of its storage: its last element, offset + sum over d of (shape[d] - 1)
    // strides[d], has to lie inside. 128 bits, since a damaged file may hold any numbers.
    const auto storage = storage_(*given[0]);
    const int64_t offset = given[1]->integer;
    const bool counts =
        offset >= 0 && shape.size() == strides.size() &&
        std::all_of(shape.begin(), shape.end(), [](int64_t n) { return n >= 0; }) &&
        std::all_of(strides.begin(), strides.end(), [](int64_t n) { return n >= 0; });
    const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
    __int128 last = offset;
    for (size_t d = 0; counts && d < shape.size(); ++d)
      last += static_cast<__int128>(shape[d] - 1) * strides[d];

    if (!counts || (!empty && last >= storage.numel()))
      fail(fmt::format("a tensor [{}] is outside its storage of {} elements",
                       fmt::join(shape, ", "), storage.numel()));

    auto value = make(Kind::kTensor);
    value->tensor =
        empty ? at::empty(shape, storage.options()) : storage.as_strided(shape, strides, offset);
    return value;
  }

  const std::string& bytes_;
  const std::string& source_;
  const std::function<at::Tensor(const PickleValue&)>& storage_;
  size_t place_ = 0;
  std::vector<Pointer> stack_;
  std::vector<size_t> marks_;
  std::map<uint64_t, Pointer> memo_;
};

}  // namespace

PickleValue::~PickleValue() {
  // Without recursion: a file may nest values deeper than the stack allows.
  std::vector<Pointer> left;
  const auto take = [&left](PickleValue& value) {
    std::move(value.items.begin(), value.items.end(), std::back_inserter(left));
    for (auto& [key, held] : value.pairs) {
      left.push_back(std::move(key));
      left.push_back(std::move(held));
    }
    value.items.clear();
    value.pairs.clear();
  };
  take(*this);

  while (!left.empty()) {
    const auto value = std::move(left.back());
    left.pop_back();
    if (value && value.use_count() == 1) take(*value);
  }
}

PickleValue::Pointer read_pickle_values(
    const std::string& bytes, const std::string& source,
    const std::function<at::Tensor(const PickleValue& storage)>& storage) {
  return Reader(bytes, source, storage).read();
}

}  // namespace dissent
