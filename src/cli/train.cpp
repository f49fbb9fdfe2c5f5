#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "build_info.hpp"
#include "cli/checks.hpp"
#include "cli/compute.hpp"
#include "cli/live.hpp"
#include "cli/lock.hpp"
#include "cli/schemas.hpp"
#include "comm/device.hpp"
#include "config/describe.hpp"
#include "config/resolved.hpp"
#include "core/exit_codes.hpp"
#include "core/torch_failure.hpp"
#include "models/weights/load.hpp"
#include "models/weights/state_dict.hpp"
#include "storage/atomic_file.hpp"
#include "storage/checkpoint.hpp"
#include "storage/run_folder.hpp"
#include "train/config/head_config.hpp"
#include "train/heads/head_engine.hpp"
#include "train/images/image_engine.hpp"
#include "train/run/ensemble_trainer.hpp"
#include "train/run/provenance.hpp"

namespace dissent::cli {
namespace {

namespace fs = std::filesystem;

enum class Found { kNothing, kUnfinished, kFinished };

// Finds an earlier run in the folder. One of another configuration is an error.
Found find_run(const RunContext& context, int64_t epochs, const config::Schema& schema) {
  const std::string path = context.folder + "/" + kCheckpointFile;
  if (!fs::exists(path)) return Found::kNothing;
  const CheckpointReader file(path);

  // The hash leaves out keys that change no result, so another number of ranks finds its run.
  if (file.config_hash() == context.config_hash)
    return file.integer("epoch") == epochs ? Found::kFinished : Found::kUnfinished;
  DISSENT_FAIL(kUsage,
               "{}: expected no run, or one of this configuration, found one of another "
               "configuration ({}); give "
               "another `experiment`, or --force to replace it (in a sheet: column "
               "arguments, [\"--force\"])",
               context.folder,
               config::difference(file.config_text(), context.config_text, schema, path));
}

// Verifies the files of a finished run: exit code 0 means that they are valid, even if there was
// nothing left to train.
void verify_finished(const std::string& folder) {
  for (const char* name : {kCheckpointFile, kBestFile}) {
    const std::string path = fmt::format("{}/{}", folder, name);
    if (!fs::exists(path)) continue;

    // A checkpoint carries the checksum of its contents (seal); older files have none.
    const auto file = h5_open(path);
    if (const auto seal = h5_seal(file)) seal->verify();
  }
}

// Runs a training and records an error in provenance.json, so that its state does not stay
// "running". An agreed error is written by rank 0, any other by the ranks that have it: rank 0 may
// be gone.
bool recorded(const Provenance& provenance, Communicator& run,
              const std::function<bool()>& training) {
  try {
    return training();
  } catch (...) {
    const auto failure = current_failure();
    if (!failure.agreed || run.rank() == 0) provenance.write_failure(failure.message);
    throw;
  }
}

struct Flags {
  bool force = false, again = false, quiet = false;
  int64_t trace = 0;
  Live* live = nullptr;
};

// Like find_run, for --again: a run of another configuration, or one that cannot be read, is the
// rest of an earlier --again and is replaced.
Found find_begun_again(const RunContext& context, int64_t epochs) {
  const std::string path = context.folder + "/" + kCheckpointFile;
  if (!fs::exists(path)) return Found::kNothing;
  try {
    const CheckpointReader file(path);
    if (file.config_hash() != context.config_hash) return Found::kNothing;
    return file.integer("epoch") == epochs ? Found::kFinished : Found::kUnfinished;
  } catch (const Error&) {
    return Found::kNothing;
  }
}

template <class Config>
std::string run_folder(const Config& config, int64_t seed) {
  return fmt::format("{}/{}/seed-{}", config.experiment.output, config.experiment.experiment, seed);
}

// One run on the ranks of its group; false if it was stopped by a signal.
template <class Engine, class Config, class Data>
bool train_run(const Config& config, const config::Schema& schema, Data& data, Grid& grid,
               at::Device device, Flags flags, bool show_progress) {
  const int64_t seed = config.experiment.seeds[0];
  const auto folder = run_folder(config, seed);

  // With --again the new run is written next to the old one, which it replaces at the end.
  RunContext context{.folder = flags.again ? again_path(folder) : folder,
                     .config_text = config::result_toml(schema),
                     .config_hash = config::config_hash(schema),
                     .seed = static_cast<uint64_t>(seed),
                     .show_progress = show_progress,
                     .device = device,
                     .trace = flags.trace};

  // With --force an existing run counts as absent and is overwritten.
  auto found = Found::kNothing;
  const auto look = [&] {
    if (flags.again)
      found = find_begun_again(context, config.training.epochs);
    else if (!flags.force)
      found = find_run(context, config.training.epochs, schema);
    DISSENT_CHECK(
        flags.trace == 0 || found == Found::kNothing, kUsage,
        "--trace: expected no run in {} (a trace starts from the initial weights), found one; "
        "--force replaces it",
        context.folder);
  };

  // Collective: all ranks of the run make the same decision whether to resume.
  agree(*grid.run, look);

  // Nothing to train: the run's files are verified, so that exit code 0 can be relied on.
  const auto reused = [&] {
    agree(*grid.run, [&] {
      if (grid.run->rank() == 0) verify_finished(context.folder);
    });
    spdlog::info("event=run_reused folder={} config_hash={}", context.folder, context.config_hash);
    return true;
  };
  if (found == Found::kFinished) return reused();

  // A run is trained by one job at a time. Another one may have trained it while this one waited
  // for the lock.
  const auto lock = lock_folder(*grid.run, context.folder + "/lock", context.folder,
                                "give another `experiment` or `output`");
  agree(*grid.run, look);
  if (found == Found::kFinished) return reused();

  // Configuration and provenance are written before the training starts: what was about to run is
  // known even if it crashes.
  Provenance provenance(*grid.run, grid.shape, context, data.identity, found == Found::kUnfinished);
  agree(*grid.run, [&] {
    if (grid.run->rank() != 0) return;
    if (found == Found::kNothing)
      remove_file(context.folder + "/" + kTraceFile);  // of an earlier run
    atomic_write_text(context.folder + "/" + kConfigFile, config::to_toml(schema));
    provenance.write(RunStatus::kRunning);
    flags.live->begin(context, found == Found::kUnfinished, flags.force);
  });

  const bool finished = recorded(provenance, *grid.run, [&] {
    Engine engine(config, data, grid, context);
    EnsembleTrainer trainer({.epochs = config.training.epochs,
                             .optimizer = config.optimizer,
                             .schedule = config.schedule,
                             .checkpoint_minutes = config.checkpoint.every_minutes},
                            engine, grid, context);
    return trainer.train(found == Found::kUnfinished);
  });
  agree(*grid.run, [&] {
    if (grid.run->rank() == 0)
      provenance.write(finished ? RunStatus::kFinished : RunStatus::kStopped);
  });

  spdlog::info("event={} folder={} config_hash={}", finished ? "run_finished" : "run_stopped",
               context.folder, context.config_hash);
  return finished;
}

// The runs of a configuration, one per seed; the groups of ranks take every grid.shape.runs-th one.
// schema_of binds a configuration's tables. Collective; false if a signal stopped a run.
template <class Engine, class Config, class Data>
bool train_runs(const Config& config, config::Schema (*schema_of)(Config&), Data& data,
                Communicator& world, Grid& grid, at::Device device, Flags flags) {
  bool finished = true;
  for (auto r = grid.run_part; finished && r < static_cast<int64_t>(config.experiment.seeds.size());
       r += grid.shape.runs) {
    // A run has the configuration of its own seed, so its hash does not depend on the other seeds.
    Config run_config = config;
    run_config.experiment.seeds = {config.experiment.seeds[r]};
    finished = train_run<Engine>(run_config, schema_of(run_config), data, grid, device, flags,
                                 world.rank() == 0 && !flags.quiet);
  }

  // Processes that follow a run have its folder open: they end before the folder is renamed.
  const auto all = all_gather_integer(world, finished);
  const bool all_finished = std::find(all.begin(), all.end(), 0) == all.end();
  if (flags.again) flags.live->finish(!all_finished);

  // All seeds are replaced together: if the job is stopped earlier, the next start finds the seeds
  // that are finished.
  agree(world, [&] {
    if (!flags.again || !all_finished || world.rank() != 0) return;
    for (const int64_t seed : config.experiment.seeds) {
      const auto folder = run_folder(config, seed);
      replace_path(again_path(folder), folder);
      spdlog::info("event=run_replaced folder={}", folder);
    }
  });
  return all_finished;
}

template <class Config>
GridShape shape_of(const Config& config, int64_t ranks) {
  return resolve_grid(config.grid, ranks, static_cast<int64_t>(config.experiment.seeds.size()),
                      config.ensemble.members, config.data.batch_size);
}

template <class Config>
GridShape grid_of(const Config& config, Communicator& world) {
  GridShape shape;
  agree(world, [&] { shape = shape_of(config, world.size()); });
  return shape;
}

// The device that runtime.device = "auto" chose may not support the precision.
void check_device(Precision precision, bool bf16_on_cpus, at::Device device, int64_t trace) {
  DISSENT_CHECK(device.is_cpu() || precision != Precision::kF64, kUsage, "training.precision = {}",
                kF64OnGpu);

  const bool needs_gpu = precision == Precision::kTf32 || precision == Precision::kF16 ||
                         (precision == Precision::kBf16 && !bf16_on_cpus);
  DISSENT_CHECK(device.is_cuda() || !needs_gpu, kUsage,
                "training.precision = \"{}\": expected a GPU, found none",
                precision_name(precision));

  DISSENT_CHECK(device.is_cpu() || trace == 0, kUsage,
                "--trace: expected runtime.device = \"cpu\", found {}", device.str());
}

// Checks the grid, and existing runs: those of another configuration are an error.
template <class Config>
void check_runs(const CommandLine& line, Config config, config::Schema (*schema_of)(Config&),
                int64_t ranks, Files& files) {
  DISSENT_CHECK(
      !line.flag("force") || !line.flag("again"), kUsage,
      "--force, --again: expected one of them, found both (--force replaces the run at once, "
      "--again when the new one is finished)");

  // Throws if the ranks cannot be arranged as [grid] says.
  shape_of(config, ranks);

  // An existing run is replaced: there is nothing to compare with.
  if (line.flag("force") || line.flag("again")) return;
  for (const int64_t seed : std::vector<int64_t>(config.experiment.seeds)) {
    config.experiment.seeds = {seed};

    const auto schema = schema_of(config);
    const RunContext context{.folder = run_folder(config, seed),
                             .config_text = config::result_toml(schema),
                             .config_hash = config::config_hash(schema),
                             .seed = static_cast<uint64_t>(seed),
                             .show_progress = false,
                             .device = at::kCPU};

    files.check_file("output", context.folder, "",
                     [&] { find_run(context, config.training.epochs, schema); });
  }
}

void check_heads(const TrainConfig& config, Files& files) {
  // Each cache by itself, then all of them together: their features and classes have to agree.
  const auto& data = config.data;
  check_features("data.train", data.train, files);
  check_features("data.validation", data.validation, files);
  check_features("data.unlabelled", data.unlabelled, files);
  files.reads("data.subset", data.subset);

  // The subject names all that decides what opening the caches finds: equal ones are opened once.
  files.check_contents(fmt::format("caches\n{}\n{}\n{}\n{}\n{}", data.train, data.validation,
                                   data.unlabelled, data.subset, data.subset_complement),
                       [&] { check_head_data(data); });
}

void check_image_training(const ImageTrainConfig& config, Files& files) {
  // `subject` names everything that opening the sets depends on: equal ones are opened once.
  std::string subject;
  for (const auto& [table, set] : image_sets(config)) {
    check_images(table, set, files);
    subject +=
        fmt::format("\n{}\n{}\n{}\n{}\n{}\n{}\n{}", set.dataset, set.split, set.list, set.root,
                    set.classes.value_or(0),
                    set.ignore_label ? std::to_string(*set.ignore_label) : "none", set.allow_empty);
  }

  files.reads("ensemble.weights", config.ensemble.weights);
  files.check_contents(fmt::format("images{}\n{}\n{}\n{}", subject, config.data.rows,
                                   config.validation.rows, config.unlabelled.rows),
                       [&] { open_image_data(config); });

  // Weights are read as well: a name or shape that does not fit is found before the job starts.
  if (config.ensemble.weights.empty()) return;
  files.check_contents(
      fmt::format("weights\n{}\n{}\n{}{}", config.ensemble.model, config.ensemble.weights,
                  config.ensemble.prefix, subject),
      [&] {
        const auto network = image_network(config, open_image_data(config).classes);
        const auto parameters = at::zeros({network->layout().size()}, at::kFloat),
                   buffers = at::zeros({network->buffer_layout().size()}, at::kFloat);
        load_weights(*network, parameters, buffers, read_state_dict(config.ensemble.weights),
                     {.prefix = config.ensemble.prefix, .prefix_key = "ensemble.prefix"},
                     config.ensemble.weights);
      });
}

bool train_heads(Runtime& runtime, const TrainConfig& config, Flags flags) {
  auto& world = runtime.world();
  const auto shape = grid_of(config, world);
  Grid grid(world, shape);

  // Host memory is shared by the ranks of a node; a stream is read by those of them that train one
  // run.
  auto node = world.split_by_node();
  auto run_node = grid.run->split_by_node();

  // Precision and determinism are set with the device, before the first product.
  const auto device =
      choose_device(config.runtime.device, world, *node,
                    device_math(config.training.precision, config.runtime.deterministic));
  agree(world, [&] {
    check_device(config.training.precision, /*bf16_on_cpus=*/false, device, flags.trace);
    DISSENT_CHECK(device.is_cuda() || config.data.residency != Residency::kDevice, kUsage,
                  "data.residency = \"device\": expected a GPU, found none");
  });

  auto data = load_head_data(world, *node, *run_node, config.data, device);
  spdlog::info(
      "event=data rows_per_pass={} passes={} dim={} classes={} grid={}x{}x{} device={} "
      "residency={}",
      data.train.rows_per_pass(), data.train.passes(), data.dim, data.classes, shape.runs,
      shape.members, shape.data, device.str(), data.train.residency());

  const bool finished =
      train_runs<HeadEngine>(config, train_schema, data, world, grid, device, flags);

  // Collective, while all ranks are here: the node's memory is shared.
  data.close();
  return finished;
}

bool train_images(Runtime& runtime, const ImageTrainConfig& config, Flags flags) {
  auto& world = runtime.world();
  const auto shape = grid_of(config, world);

  Grid grid(world, shape);
  auto node = world.split_by_node();

  const auto device =
      choose_device(config.runtime.device, world, *node,
                    device_math(config.training.precision, config.runtime.deterministic));

  // Every rank opens the sets: it reads the images of its own rows.
  ImageData data;
  agree(world, [&] {
    check_device(config.training.precision, /*bf16_on_cpus=*/true, device, flags.trace);
    const auto& weights = config.ensemble.weights;  // before data are read, which may take minutes
    DISSENT_CHECK(weights.empty() || path_exists(weights), kData,
                  "ensemble.weights ({}): expected a safetensors or .pth file, found none",
                  weights);
    data = open_image_data(config);
  });
  spdlog::info(
      "event=data images={} classes={} validation={} unlabelled={} grid={}x{}x{} device={}",
      data.train.source->rows(), data.classes,
      data.validation ? data.validation->source->rows() : 0,
      data.unlabelled ? data.unlabelled->source->rows() : 0, shape.runs, shape.members, shape.data,
      device.str());

  return train_runs<ImageEngine>(config, image_train_schema, data, world, grid, device, flags);
}

}  // namespace

void check_train(const CommandLine& line, const config::Document& document, int64_t ranks,
                 Files& files) {
  if (trains_images(document)) {
    const auto config = read_image_train_config(document);
    check_runs(line, config, image_train_schema, ranks, files);
    check_image_training(config, files);
  } else {
    const auto config = read_train_config(document);
    check_runs(line, config, train_schema, ranks, files);
    check_heads(config, files);
  }
}

std::string train_grid_text(const config::Document& document, int64_t ranks) {
  const auto shape = trains_images(document) ? shape_of(read_image_train_config(document), ranks)
                                             : shape_of(read_train_config(document), ranks);
  return fmt::format("{} x {} x {} (runs x members x data)", shape.runs, shape.members, shape.data);
}

int run_train(Runtime& runtime, const CommandLine& line) {
  // Before anything is computed: a GPU's libraries are loaded if the configuration may choose one.
  const auto document = load_configuration(runtime, line.positional()[0], train_overrides(line));
  prepare_device(runtime, document);

  Flags flags{line.flag("force"), line.flag("again"), line.flag("quiet"),
              line.get<int64_t>("trace")};

  // The check of a sheet calls the same function, and opens the files. Here they are not opened:
  // the training does so right after.
  agree(runtime.world(), [&] {
    DISSENT_CHECK(!line.has("trace") || flags.trace >= 1, kUsage,
                  "--trace: expected an integer >= 1, found {}", flags.trace);
    DISSENT_CHECK(flags.trace == 0 || runtime.world().size() == 1, kUsage,
                  "--trace: expected one rank, found {}", runtime.world().size());
    Files own;
    check_train(line, document, runtime.world().size(), own);
  });

  // Both kinds of training run in the same frame: settings, live logging, exit code.
  const auto with = [&](const auto& config, const auto& train) {
    apply_runtime(runtime, config.runtime.threads, config.runtime.timeout_s);
    Live live(runtime.world(), config.runtime);
    flags.live = &live;

    const bool finished = train(runtime, config, flags);

    live.finish(!finished);
    return finished ? 0 : kExitStopped;
  };
  return trains_images(document) ? with(read_image_train_config(document), train_images)
                                 : with(read_train_config(document), train_heads);
}

}  // namespace dissent::cli
