#include "verify/case.hpp"

#include <dissent/metrics/accuracy.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <variant>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "storage/h5.hpp"

namespace dissent::verify {
namespace {

// Floating-point values as f64, integers as i64.
at::Tensor read_tensor(hid_t file, const std::string& name, const std::string& path) {
  const auto info = h5_info(file, name, path);
  const auto dtype = at::isFloatingType(info.dtype) ? at::kDouble : at::kLong;
  if (!info.shape.empty()) return h5_read(file, name, path).to(dtype);

  // h5_read reads arrays only; a dataset without dimensions is read here.
  const std::string place = path + ": " + name;
  auto value = at::empty({}, dtype);
  const UniqueHandle dataset(DISSENT_H5(H5Dopen2(file, name.c_str(), H5P_DEFAULT), place),
                             H5Dclose);
  DISSENT_H5(H5Dread(dataset, h5_type(dtype), H5S_ALL, H5S_ALL, H5P_DEFAULT, value.data_ptr()),
             place);
  return value;
}

template <class T>
T attribute(hid_t file, const std::string& key, const std::string& name, const std::string& path) {
  const auto value = h5_read_attribute(file, key, name, path);
  DISSENT_CHECK(std::holds_alternative<T>(value), kData, "{}: attribute {} of {}: expected {}",
                path, name, key,
                std::is_same_v<T, double> ? "a floating-point number" : "a string");
  return std::get<T>(value);
}

Case read_attributes(hid_t file, const std::string& key, const std::string& path) {
  Case read;
  read.file = path;
  read.key = key;
  read.kind = attribute<std::string>(file, key, "kind", path);
  read.name = attribute<std::string>(file, key, "name", path);

  // Only some writers explain their cases.
  const auto names = h5_attribute_names(file, key, path);
  if (std::find(names.begin(), names.end(), "note") != names.end())
    read.note = attribute<std::string>(file, key, "note", path);

  // Each case brings its own tolerance, |x - y| <= atol + rtol |y|, since f32 references and sums
  // that cancel need wider ones. Parameters are JSON because each kind has others.
  read.rtol = attribute<double>(file, key, "rtol", path);
  read.atol = attribute<double>(file, key, "atol", path);
  read.params =
      nlohmann::json::parse(attribute<std::string>(file, key, "params", path), nullptr, false);
  DISSENT_CHECK(read.params.is_object(), kData,
                "{}: attribute params of {}: expected a JSON object", path, key);
  return read;
}

// The largest finite absolute value, but at least the limit of Tolerance::of_largest.
double largest_size(const at::Tensor& values) {
  double largest = values.dim() == 0 ? 1 : 1e-3;
  for (int64_t i = 0; i < values.numel(); ++i) {
    const double size = std::abs(values.data_ptr<double>()[i]);
    if (std::isfinite(size)) largest = std::max(largest, size);
  }
  return largest;
}

}  // namespace

std::vector<Case> read_cases(const std::string& path) {
  const auto file = h5_open(path);
  std::map<std::string, Case> cases;
  for (const auto& name : h5_dataset_names(file, "/", path)) {
    // Names of tensors may contain slashes; only the first two separate case and group.
    const auto first = name.find('/'), second = name.find('/', first + 1);
    DISSENT_CHECK(first != std::string::npos && second != std::string::npos, kData,
                  "{}: dataset '{}': expected <case>/in|out|grad/<name>", path, name);

    // The attributes belong to the group of the case, so they are read with its first tensor.
    const auto key = name.substr(0, first), group = name.substr(first + 1, second - first - 1);
    if (cases.count(key) == 0) cases.emplace(key, read_attributes(file, key, path));
    auto& read = cases.at(key);

    const bool known = group == "in" || group == "out" || group == "grad";
    DISSENT_CHECK(known, kData, "{}: dataset '{}': expected <case>/in|out|grad/<name>", path, name);
    auto& tensors = group == "in" ? read.in : group == "out" ? read.out : read.grad;
    tensors.emplace(name.substr(second + 1), read_tensor(file, name, path));
  }

  // A file without cases would pass every check.
  DISSENT_CHECK(!cases.empty(), kData, "{}: expected a reference case, found none", path);
  std::vector<Case> list;
  for (auto& [key, read] : cases) list.push_back(std::move(read));
  return list;
}

const at::Tensor& Case::input(const std::string& input) const {
  const auto found = in.find(input);
  DISSENT_CHECK(found != in.end(), kData, "{}: case {}: expected in/{}, found none", file, key,
                input);
  return found->second;
}

const at::Tensor& Case::host_input(const std::string& name) const {
  const auto found = host_in.find(name);
  return found != host_in.end() ? found->second : input(name);
}

at::Tensor Case::differentiable(const std::string& name) const {
  return input(name).clone().set_requires_grad(true);
}

void Checker::output(const std::string& name, double value) {
  output(name, at::scalar_tensor(value, at::kDouble));
}

void Checker::host_output(const std::string& name, const at::Tensor& value) {
  compare("out", case_.out, name, value, {case_.rtol, case_.atol});
}

void Checker::value(const at::Tensor& value,
                    const std::vector<std::pair<std::string, at::Tensor>>& leaves) {
  output("value", value);

  // A constant value has no graph, and some leaves may not be part of it: their gradients are 0, as
  // in the reference.
  std::vector<at::Tensor> inputs;
  for (const auto& [name, leaf] : leaves) inputs.push_back(leaf);
  std::vector<at::Tensor> gradients(inputs.size());
  if (value.requires_grad())
    gradients = torch::autograd::grad({value}, inputs, {}, std::nullopt, false, true);

  for (size_t i = 0; i < leaves.size(); ++i)
    gradient(leaves[i].first,
             gradients[i].defined() ? gradients[i] : at::zeros_like(leaves[i].second));
}

void Checker::compare(const std::string& group, const NamedTensors& references,
                      const std::string& name, const at::Tensor& value, const Tolerance& allowed) {
  const auto found = references.find(name);
  if (found == references.end()) return;

  // Noted before the comparison: an output with a wrong shape must not be reported as missing too.
  const std::string output = group + "/" + name;
  compared_.insert(output);
  DISSENT_CHECK(value.sizes() == found->second.sizes(), kCheck,
                "{0}: expected the shape [{2}] of the reference, found ours of [{1}]", output,
                fmt::join(value.sizes(), ", "), fmt::join(found->second.sizes(), ", "));

  // Compared in f64 on the host, so that the comparison itself adds no rounding.
  const auto ours = value.detach().to(at::kCPU, at::kDouble).contiguous(),
             reference = found->second.to(at::kDouble).contiguous();
  const double largest = largest_size(reference);

  // Only the largest difference is kept, measured in tolerances: it decides whether the case
  // passes.
  for (int64_t i = 0; i < ours.numel(); ++i) {
    // NaN and infinities have to be equal; any other difference that is not finite exceeds every
    // tolerance.
    const double x = ours.data_ptr<double>()[i], expected = reference.data_ptr<double>()[i];
    if (x == expected || (std::isnan(x) && std::isnan(expected))) continue;

    const double tolerance =
        allowed.absolute + allowed.relative * std::abs(expected) + allowed.of_largest * largest;
    const double difference = std::abs(x - expected);
    const double excess = std::isfinite(difference) ? difference / tolerance
                                                    : std::numeric_limits<double>::infinity();
    if (largest_ && excess <= largest_->excess) continue;
    largest_ = Difference{ours.dim() == 0 ? output : fmt::format("{}[{}]", output, i), x, expected,
                          tolerance, excess};
  }
}

std::vector<std::string> Checker::missing() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : case_.out)
    if (compared_.count("out/" + name) == 0) names.push_back("out/" + name);
  for (const auto& [name, tensor] : case_.grad)
    if (compared_.count("grad/" + name) == 0) names.push_back("grad/" + name);
  return names;
}

double accuracy(const at::Tensor& predictions, const at::Tensor& labels) {
  metrics::Accuracy state;
  state.update(predictions, labels);
  return state.finish();
}

}  // namespace dissent::verify
