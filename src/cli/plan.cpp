#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "cli/compute.hpp"
#include "cli/plan_images.hpp"
#include "cli/plan_report.hpp"
#include "config/resolved.hpp"
#include "core/parallel.hpp"
#include "storage/atomic_file.hpp"
#include "storage/feature_cache.hpp"
#include "storage/node_memory.hpp"
#include "storage/row_subset.hpp"
#include "train/config/head_config.hpp"
#include "train/config/image_config.hpp"

namespace dissent::cli {
namespace {

namespace fs = std::filesystem;

// Shape of a cache that is there: from its manifest alone, so that its shards need not be.
std::optional<RowsShape> shape_on_disk(const std::string& path) {
  const auto shape_of = [](const CacheSpec& spec) {
    return RowsShape{spec.rows_per_pass, spec.passes, spec.dim, spec.classes,
                     static_cast<int64_t>(c10::elementSize(spec.dtype))};
  };
  for (const char* name : {kManifestName, kPartialManifestName})
    if (const std::string manifest = path + "/" + name; path_exists(manifest))
      return shape_of(parse_manifest(read_text(manifest), manifest).spec);
  if (path_exists(path)) return shape_of(FeatureCache::open(path).spec());
  return std::nullopt;
}

struct Shapes {
  RowsShape train;
  std::optional<RowsShape> validation, unlabelled;
  std::string text;  // for the report
};

// The caches of the configuration; what is not there is as the options say.
class ShapeReader {
 public:
  ShapeReader(const CommandLine& line, const CacheDataOptions& options)
      : line_(line), options_(options) {}

  Shapes read() {
    Shapes shapes;
    shapes.train = train();
    if (!options_.validation.empty())
      shapes.validation =
          other("data.validation", options_.validation, "validation-rows", shapes.train);
    if (!options_.unlabelled.empty())
      shapes.unlabelled =
          other("data.unlabelled", options_.unlabelled, "unlabelled-rows", shapes.train);
    for (const char* option :
         {"rows", "dim", "classes", "passes", "dtype", "validation-rows", "unlabelled-rows"})
      DISSENT_CHECK(!line_.has(option) || used_.count(option), kUsage,
                    "--{} is for a cache that is not there; the ones that it could be of are",
                    option);
    shapes.text = text_;
    return shapes;
  }

 private:
  int64_t number(const std::string& option) {
    used_.insert(option);
    const auto value = line_.get<int64_t>(option);
    DISSENT_CHECK(value >= 1, kUsage, "--{}: expected an integer >= 1, found {}", option, value);
    return value;
  }

  RowsShape train() {
    auto shape = shape_on_disk(options_.train);
    if (!shape) {
      DISSENT_CHECK(line_.has("rows") && line_.has("dim") && line_.has("classes"), kUsage,
                    "data.train: {} is not there; --rows, --dim and --classes (and --passes, "
                    "--dtype) give its shape",
                    options_.train);
      used_.insert("dtype");
      const auto element = static_cast<int64_t>(
          c10::elementSize(dtype_from_name(line_.get<std::string>("dtype"), "--dtype")));
      shape =
          RowsShape{number("rows"), number("passes"), number("dim"), number("classes"), element};
    }
    describe("train", options_.train, *shape);
    DISSENT_CHECK(shape->classes >= 1, kData,
                  "data.train ({}): expected labelled rows, found none: every label is -1",
                  options_.train);
    if (options_.subset.empty()) return *shape;
    const auto listed = static_cast<int64_t>(
        read_row_subset(options_.subset, options_.subset_complement).positions.size());
    shape->rows_per_pass = options_.subset_complement ? shape->rows_per_pass - listed : listed;
    DISSENT_CHECK(shape->rows_per_pass >= 1, kData,
                  "{}: expected at least one row, found none left of {}", options_.subset,
                  options_.train);
    text_ += fmt::format("    of these, data.subset: {} rows a pass\n", shape->rows_per_pass);
    return *shape;
  }

  RowsShape other(const char* key, const std::string& path, const std::string& option,
                  const RowsShape& train) {
    auto shape = shape_on_disk(path);
    if (!shape) {
      DISSENT_CHECK(line_.has(option), kUsage, "{}: {} is not there; --{} gives its number of rows",
                    key, path, option);
      shape = train;
      shape->rows_per_pass = number(option);
      shape->passes = 1;
    }
    describe(key + 5, path, *shape);
    DISSENT_CHECK(shape->dim == train.dim, kData,
                  "{}: expected {} features a row, as {} has, found {}", path, train.dim,
                  options_.train, shape->dim);
    return *shape;
  }

  void describe(const char* role, const std::string& path, const RowsShape& shape) {
    text_ += fmt::format(
        "  {} {}: {} rows x {} features of {} bytes, {} passes, {} classes, {} on disk{}\n", role,
        path, shape.rows_per_pass, shape.dim, shape.element_bytes, shape.passes, shape.classes,
        byte_text(cache_bytes(shape)),
        path_exists(path) ? "" : " (not there: the shape is that of the options)");
  }

  const CommandLine& line_;
  const CacheDataOptions& options_;
  std::set<std::string> used_;
  std::string text_;
};

std::vector<int64_t> rank_counts(const std::string& text) {
  std::vector<int64_t> counts;
  for (size_t start = 0; start <= text.size() && !text.empty();) {
    const size_t end = std::min(text.find(',', start), text.size());
    int64_t count = 0;
    const auto [stop, code] = std::from_chars(text.data() + start, text.data() + end, count);
    DISSENT_CHECK(code == std::errc() && stop == text.data() + end && count >= 1, kUsage,
                  "--ranks: expected numbers of ranks, as 1,2,8; found '{}'", text);
    counts.push_back(count);
    start = end + 1;
  }
  return counts;
}

bool same(const GridShape& a, const GridShape& b) {
  return a.runs == b.runs && a.members == b.members && a.data == b.data;
}

class Planner {
 public:
  Planner(Communicator& world, const CommandLine& line, const TrainConfig& config,
          const Shapes& shapes, int64_t config_bytes)
      : world_(world), line_(line), config_(config) {
    report_.run =
        run_shape(config, shapes.train, shapes.validation, shapes.unlabelled, config_bytes);
    report_.title = config.experiment.experiment;
    report_.data_text = shapes.text;
    report_.runs = static_cast<int64_t>(config.experiment.seeds.size());
    report_.calibrated = !line.flag("no-calibration");
    report_.cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
    const auto free = of_first(
        world_, {static_cast<double>(available_memory_bytes()),
                 static_cast<double>(path_exists("/dev/shm") ? free_bytes("/dev/shm") : 0),
                 static_cast<double>(free_bytes(
                     path_exists(config.experiment.output) ? config.experiment.output : "."))});
    report_.available_bytes = static_cast<int64_t>(free[0]);
    report_.shm_bytes = static_cast<int64_t>(free[1]);
    report_.disk_bytes = static_cast<int64_t>(free[2]);
    const auto& run = report_.run;
    report_.model = fmt::format(
        "{} members ({}, {} parameters each), {} active a step, batch {}{}, {}", run.plan.members,
        config.ensemble.model, run.head->layout().parameter_count(), run.plan.active,
        run.plan.batch_size, run.unlabelled ? " and as many unlabelled rows" : "",
        optimizer_name(config.optimizer.kind));
    read_messages();
  }

  // The configuration's own grid.
  void add_own() {
    const auto shape = resolve_grid(config_.grid, world_.size(), report_.runs,
                                    config_.ensemble.members, config_.data.batch_size);
    auto node = world_.split_by_node();
    add(world_.size(), node->size(), shape);
  }

  // The same on so many ranks.
  void add_own(int64_t ranks) {
    const auto shape = resolve_grid(config_.grid, ranks, report_.runs, config_.ensemble.members,
                                    config_.data.batch_size);
    for (const auto& grid : report_.grids)
      if (grid.ranks == ranks && same(grid.shape, shape)) return;
    add(ranks, node_ranks(ranks), shape);
  }

  // The best grid of so many ranks.
  void add_best(int64_t ranks) {
    const int64_t on_node = node_ranks(ranks);
    const auto shape =
        best_grid(report_.run, ranks, report_.runs, rates(threads_of(on_node)), report_.messages);
    for (const auto& grid : report_.grids)
      if (shape && grid.ranks == ranks && grid.ranks_per_node == on_node &&
          same(grid.shape, *shape))
        return;
    if (shape) return add(ranks, on_node, *shape);
    report_.grids.push_back(
        {.ranks = ranks,
         .ranks_per_node = on_node,
         .threads = 1,
         .problem =
             fmt::format("more ranks than work, or no split of them: {} runs, {} members, batch {}",
                         report_.runs, report_.run.plan.members, report_.run.plan.batch_size),
         .shape = {},
         .step = {},
         .memory = {},
         .data = {},
         .storage = {},
         .time = {},
         .rates = {},
         .notes = {}});
  }

  const CostReport& report() const { return report_; }

 private:
  int64_t node_ranks(int64_t ranks) const {
    return std::min(ranks,
                    line_.has("ranks-per-node") ? line_.get<int64_t>("ranks-per-node") : ranks);
  }

  void read_messages() {
    report_.messages_measured =
        world_.size() > 1 && !line_.has("latency-us") && !line_.has("bandwidth-gbs");
    if (report_.messages_measured)
      report_.messages = message_cost(world_);
    else
      report_.messages = {line_.get<double>("latency-us") * 1e-6,
                          line_.get<double>("bandwidth-gbs") * 1e9};
    const auto same =
        of_first(world_, {report_.messages.latency_s, report_.messages.bytes_per_second});
    report_.messages = {same[0], same[1]};
  }

  // As a rank of a job would choose.
  int64_t threads_of(int64_t ranks_on_node) const {
    if (config_.runtime.threads) return *config_.runtime.threads;
    if (const char* text = std::getenv("OMP_NUM_THREADS"); text && std::atoi(text) > 0)
      return std::atoi(text);
    return std::max<int64_t>(1, report_.cores / ranks_on_node);
  }

  MachineRates rates(int64_t threads) {
    if (const auto known = rates_.find(threads); known != rates_.end()) return known->second;
    MachineRates rates{80e9 * static_cast<double>(threads), 30e9 * static_cast<double>(threads)};
    if (report_.calibrated) {
      set_threads(static_cast<int>(threads));
      say_planning(
          line_.flag("quiet"), world_.rank(),
          fmt::format("measuring products and memory of this machine, threads {}", threads));
      if (world_.rank() == 0) rates = machine_rates(report_.run, {});
      const auto same = of_first(world_, {rates.flops_per_second, rates.bytes_per_second});
      rates = {same[0], same[1]};
    }
    return rates_[threads] = rates;
  }

  void add(int64_t ranks, int64_t ranks_on_node, const GridShape& shape) {
    const auto& run = report_.run;
    const auto waves = simulate_waves(run, shape.members);
    const int64_t threads = threads_of(ranks_on_node), per_run = shape.members * shape.data;
    GridCost grid{.ranks = ranks,
                  .ranks_per_node = ranks_on_node,
                  .threads = threads,
                  .problem = {},
                  .shape = shape,
                  .step = step_cost(run, shape),
                  .mean_width = waves.mean_width(),
                  .wave_speed_up = waves.speed_up(),
                  .memory = memory_cost(run, shape, waves, threads),
                  .data = data_cost(run, config_.data,
                                    (ranks_on_node + std::min(per_run, ranks_on_node) - 1) /
                                        std::min(per_run, ranks_on_node),
                                    report_.available_bytes),
                  .storage = storage_cost(run, per_run),
                  .time = {},
                  .rates = rates(threads),
                  .notes = {}};
    grid.bound_s = step_bound_s(run, shape, grid.rates);
    if (grid.node_bytes() > report_.available_bytes)
      grid.notes.push_back(fmt::format("a node needs {}, this one has {} available",
                                       byte_text(grid.node_bytes()),
                                       byte_text(report_.available_bytes)));
    if (ranks_on_node > 1 && grid.data.node_bytes > report_.shm_bytes)
      grid.notes.push_back(
          fmt::format("the data take {} of shared memory a node, /dev/shm has {} free here",
                      byte_text(grid.data.node_bytes), byte_text(report_.shm_bytes)));
    if (ranks_on_node * threads > report_.cores)
      grid.notes.push_back(
          fmt::format("{} ranks x {} threads a node, this one has {} cores: the times are those of "
                      "nodes with a core a thread",
                      ranks_on_node, threads, report_.cores));
    if (shape.data > 1)
      grid.notes.push_back(
          "the batch is split: values agree with those of other grids to a tolerance, not bit for "
          "bit");
    if (config_.training.precision == Precision::kBf16 ||
        config_.training.precision == Precision::kTf32)
      grid.notes.push_back(fmt::format("{} is for GPUs: this is the cost in f32 on CPUs",
                                       precision_name(config_.training.precision)));
    if (config_.training.precision == Precision::kF64) grid.notes.push_back(kF64Note);
    if (report_.calibrated) time(grid, waves);
    report_.grids.push_back(std::move(grid));
  }

  // As many ranks as there are here measure at the same time, each as another part of the members.
  void time(GridCost& grid, const WaveSimulation& waves) {
    const int64_t measuring = std::min<int64_t>(world_.size(), grid.ranks), rank = world_.rank();
    if (measuring * grid.memory.rank() > report_.available_bytes) {
      grid.notes.push_back("no time: its ranks do not fit the memory of this node");
      return;
    }
    set_threads(static_cast<int>(grid.threads));
    say_planning(line_.flag("quiet"), world_.rank(),
                 fmt::format("measuring steps, ranks {}, grid {} x {} x {}", grid.ranks,
                             grid.shape.runs, grid.shape.members, grid.shape.data));
    world_.barrier();
    Calibration own;
    if (rank < measuring)
      own = calibrate(config_, report_.run, grid.shape, rank % grid.shape.members,
                      line_.get<double>("seconds"));
    const auto merged = merge(world_, own, report_.run.plan.members);
    grid.time = time_cost(report_.run, grid.shape, report_.runs, waves, rank_times(merged),
                          report_.messages);
  }

  Communicator& world_;
  const CommandLine& line_;
  const TrainConfig& config_;
  CostReport report_;
  std::map<int64_t, MachineRates> rates_;
};

}  // namespace

int run_plan(Runtime& runtime, const CommandLine& line) {
  const auto document =
      load_configuration(runtime, line.positional()[0], line.get<std::vector<std::string>>("set"));
  std::vector<int64_t> counts;
  agree(runtime.world(), [&] {
    DISSENT_CHECK(
        line.get<double>("seconds") > 0 && line.get<double>("latency-us") >= 0 &&
            line.get<double>("bandwidth-gbs") > 0 && line.get<int64_t>("ranks-per-node") >= 1,
        kUsage,
        "--seconds, --latency-us, --bandwidth-gbs, --ranks-per-node: expected positive numbers");
    counts = rank_counts(line.get<std::string>("ranks"));
  });
  if (trains_images(document)) return plan_images(runtime, line, document, counts);
  auto config = read_train_config(document);
  apply_runtime(runtime, config.runtime.threads, config.runtime.timeout_s);
  auto& world = runtime.world();
  Shapes shapes;
  bool own = true;
  agree(world, [&] {
    DISSENT_CHECK(config.runtime.device != "cuda", kUsage,
                  "runtime.device = \"cuda\": the cost model is that of training on CPUs; --set "
                  "runtime.device=cpu gives it");
    shapes = ShapeReader(line, config.data).read();
    const auto fits = [&](int64_t ranks) {
      resolve_grid(config.grid, ranks, static_cast<int64_t>(config.experiment.seeds.size()),
                   config.ensemble.members, config.data.batch_size);
    };
    try {
      fits(world.size());
    } catch (const Error&) {  // a grid for other ranks than these is fine where --ranks names them
      if (counts.empty()) throw;
      own = false;
    }
    if (line.flag("own-grid"))
      for (const int64_t count : counts) fits(count);
  });
  Planner planner(world, line, config, shapes,
                  static_cast<int64_t>(config::result_toml(train_schema(config)).size()));
  if (own) planner.add_own();
  for (const int64_t count : counts) {
    if (line.flag("own-grid"))
      planner.add_own(count);
    else
      planner.add_best(count);
  }
  if (world.rank() == 0)
    fmt::print("{}",
               line.flag("json") ? report_json(planner.report()) : report_text(planner.report()));
  return 0;
}

}  // namespace dissent::cli
