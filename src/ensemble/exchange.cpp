#include "ensemble/exchange.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <array>
#include <cstdint>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/grid.hpp"

namespace dissent {
namespace {

constexpr int64_t kMostDims = 8;

// Places in a header.
enum Number : int64_t {
  kMembers,
  kRows,
  kData,
  kDefined,
  kType,
  kDevice,
  kDims,
  kSizes,
  kNumbers = kSizes + kMostDims
};

// Shape, dtype and device of a rank's part, and the sizes of the whole field as this rank knows
// them. All ranks compare the headers of all ranks, so that all come to the same result.
using Header = std::array<int64_t, kNumbers>;

// A rank's part of a field, with D data ranks (innermost): rank r has members
// part_of(members, size / D, r / D) in the first dimension and rows part_of(rows, D, r % D) in the
// second.
struct FieldPart {
  std::string name;
  at::Tensor local;
  int64_t members;  // M, or -1: as many as rank 0 has
  int64_t rows;     // B, or -1
  int64_t data;     // D
};

Header header_of(const FieldPart& field) {
  // What is not set stays 0, so two headers can be compared as a whole.
  Header header{field.members, field.rows, field.data};
  const auto& tensor = field.local;
  if (!tensor.defined()) return header;

  header[kDefined] = 1;
  header[kType] = static_cast<int64_t>(tensor.scalar_type());
  header[kDevice] = static_cast<int64_t>(tensor.device().type());
  header[kDims] = tensor.dim();
  for (int64_t d = 0; d < std::min(tensor.dim(), kMostDims); ++d)
    header[kSizes + d] = tensor.size(d);
  return header;
}

std::string text(const Header& header) {
  if (header[kDefined] == 0) return "nothing";
  if (header[kDims] > kMostDims) return fmt::format("{} dimensions", header[kDims]);

  // -1: the caller does not fix this number.
  const auto number = [](int64_t value) {
    return value < 0 ? std::string("any number of") : std::to_string(value);
  };
  return fmt::format(
      "[{}] {} {} of {} members x {} rows",
      fmt::join(header.begin() + kSizes, header.begin() + kSizes + header[kDims], ", "),
      c10::toString(static_cast<at::ScalarType>(header[kType])),
      c10::DeviceTypeName(static_cast<at::DeviceType>(header[kDevice]), true),
      number(header[kMembers]), number(header[kRows]));
}

// Headers of all ranks, [ranks, fields], by one all-gather of integers.
std::vector<std::vector<Header>> all_headers(Communicator& group,
                                             const std::vector<FieldPart>& fields) {
  const auto count = static_cast<int64_t>(fields.size()) * kNumbers;
  auto own = at::empty({count}, at::kLong);
  auto* number = own.data_ptr<int64_t>();
  for (const auto& field : fields) number = std::ranges::copy(header_of(field), number).out;

  // NCCL exchanges device memory only.
  const bool on_device = group.backend() == Backend::kNccl;
  const auto all = group
                       .all_gather(on_device ? own.to(at::kCUDA) : own,
                                   std::vector<int64_t>(group.size(), count))
                       .cpu();

  const auto* from = all.const_data_ptr<int64_t>();
  std::vector<std::vector<Header>> headers(group.size(), std::vector<Header>(fields.size()));
  for (auto& of_rank : headers)
    for (auto& header : of_rank) {
      std::copy_n(from, kNumbers, header.begin());
      from += kNumbers;
    }
  return headers;
}

// Throws Error::kUsage on every rank of the group unless the parts of all ranks fit together. One
// small message for all fields, since each message over NCCL synchronises a stream.
void check_parts(Communicator& group, const std::string& caller,
                 const std::vector<FieldPart>& fields) {
  const auto headers = all_headers(group, fields);
  for (size_t f = 0; f < fields.size(); ++f) {
    // Rank 0 defines what is expected of the others.
    const auto& first = headers[0][f];
    const int64_t least_dims = first[kRows] >= 0 ? 2 : 1, data = first[kData];
    const bool usable =
        first[kDefined] != 0 && first[kDims] >= least_dims && first[kDims] <= kMostDims;
    DISSENT_CHECK(usable, kUsage,
                  "{}: {}: rank 0: expected a tensor of {} .. {} dimensions, found {}", caller,
                  fields[f].name, least_dims, kMostDims, text(first));

    // part_of gives the size that each rank should hold, so only what it does hold is sent.
    for (int64_t rank = 0; rank < group.size(); ++rank) {
      auto expected = first;

      // Ranks are numbered with data parts innermost: rank = member part * data + data part.
      if (first[kMembers] >= 0)
        expected[kSizes] = part_of(first[kMembers], group.size() / data, rank / data).count;
      if (first[kRows] >= 0) expected[kSizes + 1] = part_of(first[kRows], data, rank % data).count;
      const auto& found = headers[rank][f];
      DISSENT_CHECK(found == expected, kUsage, "{}: {}: rank {}: expected {}, found {}", caller,
                    fields[f].name, rank, text(expected), text(found));
    }
  }
}

// The whole tensor from the ranks' parts of dimension `dim`, of `total` elements: part_of decides
// who has which. Each rank knows the sizes of all parts, so one gather is enough.
at::Tensor gather(Communicator& ranks, const at::Tensor& local, int64_t dim, int64_t total) {
  const auto own = local.contiguous();
  if (ranks.size() == 1) return own;

  std::vector<std::vector<int64_t>> shapes(ranks.size(), own.sizes().vec());
  std::vector<int64_t> counts;
  for (int64_t rank = 0; rank < ranks.size(); ++rank) {
    shapes[rank][dim] = part_of(total, ranks.size(), rank).count;
    counts.push_back(c10::multiply_integers(shapes[rank]));
  }

  // Parts of other ranks are constants; the own part replaces its copy, to keep its graph.
  auto parts = ranks.all_gather(own.detach(), counts).split_with_sizes(counts);
  for (int64_t rank = 0; rank < ranks.size(); ++rank)
    parts[rank] = rank == ranks.rank() ? own : parts[rank].view(shapes[rank]);
  return at::cat(parts, dim);
}

}  // namespace

std::vector<at::Tensor> gather_fields(const EnsembleSplit& split, const std::string& caller,
                                      const std::vector<SplitField>& fields) {
  using Of = SplitField::Of;
  std::vector<FieldPart> parts;
  for (const auto& field : fields)
    parts.push_back({.name = field.name,
                     .local = field.local,
                     .members = field.of == Of::kBatch ? -1 : split.total,
                     .rows = field.rows,
                     .data = split.data.size()});
  check_parts(split.run, caller, parts);

  std::vector<at::Tensor> whole;
  for (const auto& field : fields) {
    const auto members = field.of == Of::kAllMembers
                             ? gather_members(split.members, field.local, split.total)
                             : field.local;
    whole.push_back(gather(split.data, members, 1, field.rows));
  }
  return whole;
}

at::Tensor gather_members(Communicator& members, const at::Tensor& local, int64_t total) {
  return gather(members, local, 0, total);
}

at::Tensor all_members(Communicator& members, const at::Tensor& local, int64_t total,
                       const std::string& name) {
  check_parts(members, "all_members",
              {{.name = name, .local = local, .members = total, .rows = -1, .data = 1}});
  return gather_members(members, local, total);
}

at::Tensor whole_batch(Communicator& data, const at::Tensor& local, int64_t rows,
                       const std::string& name) {
  check_parts(data, "whole_batch",
              {{.name = name, .local = local, .members = -1, .rows = rows, .data = data.size()}});
  return gather(data, local, 1, rows);
}

}  // namespace dissent
