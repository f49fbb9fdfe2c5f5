#include "cli/verb.hpp"

#include <cstdint>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>

#include "build_info.hpp"
#include "cli/exit_codes.hpp"
#include "core/options.hpp"
#include "jobs/execute.hpp"

namespace dissent::cli {
namespace {

namespace po = boost::program_options;
using Texts = std::vector<std::string>;

// An option that may be repeated.
po::typed_value<Texts>* list() { return po::value<Texts>()->composing()->default_value({}, ""); }

// Appended to the description of a verb that checks something.
std::string check_failed_text(const char* when) {
  return fmt::format("Exit code {} if {}", exit_code(ErrorKind::kCheck), when);
}

CommandLine train_line() {
  CommandLine line("train",
                   "Trains the runs described by CONFIG. Results are written to "
                   "<output>/<experiment>/seed-<n>/. `dissent config train` prints all keys.",
                   "CONFIG", 1);
  line.option("set", list(), "override a key of the file: table.key=value; may be repeated")
      .option(
          "wandb", po::value<std::string>()->default_value("", ""),
          "log to Weights & Biases during the training: online, offline, off, or auto (from the "
          "WANDB_* variables); same as --set runtime.wandb=MODE (docs/logging.md)")
      .flag("tensorboard",
            "write an event file into the folder of each run, updated after each epoch")
      .flag("force", "delete an existing run and train it again")
      .flag("again", "train an existing run again, and replace it when the new run is finished")
      .option("trace", po::value<int64_t>()->default_value(0, ""),
              "write <run>/trace.h5: initial weights and, for this number of steps, rows, members, "
              "pixels or features, and losses (docs/formats.md); one rank, CPU only")
      .flag("quiet", "no progress bar");
  return line;
}

CommandLine plan_line() {
  CommandLine line("plan",
                   "Estimates the cost of `dissent train CONFIG`: memory, communication, storage, "
                   "and time from a short measurement on this machine. Writes nothing.\n"
                   "Needs no data: the manifest of a cache is enough, images need not exist. Start "
                   "it with the number of ranks per node that the training will have: then\n"
                   "all ranks measure at the same time.",
                   "CONFIG", 1);
  line.option("set", list(), "override a key of the file: table.key=value; may be repeated");

  // Which grids are estimated.
  line.option("ranks", po::value<std::string>()->default_value("", ""),
              "numbers of ranks, e.g. 1,2,8: also estimate the fastest grid for each of them")
      .flag("own-grid", "--ranks: estimate the configuration's own grid instead")
      .option("ranks-per-node", po::value<int64_t>()->default_value(1, "all"),
              "--ranks: number of ranks per node");

  // How times are estimated.
  line.flag("no-calibration", "estimate sizes only: no measurement, no times")
      .option("seconds", po::value<double>()->default_value(2, "2"),
              "duration of the measurement per grid")
      .option("latency-us", po::value<double>()->default_value(5, "5"),
              "latency of a message; default: measured if there are several ranks")
      .option("bandwidth-gbs", po::value<double>()->default_value(1, "1"),
              "bandwidth per rank in GB/s; default: measured if there are several ranks")
      .flag("json", "print JSON, in bytes and seconds")
      .flag("quiet", "do not report on stderr what is being measured");

  // Data that does not exist yet.
  line.option("rows", po::value<int64_t>()->default_value(0, ""),
              "if data.train or the images do not exist yet: rows per pass, or number of images")
      .option("dim", po::value<int64_t>()->default_value(0, ""),
              "if data.train does not exist yet: number of features")
      .option("classes", po::value<int64_t>()->default_value(0, ""),
              "if data.train does not exist yet: number of classes")
      .option("passes", po::value<int64_t>()->default_value(1, "1"),
              "if data.train does not exist yet: number of passes")
      .option("dtype", po::value<std::string>()->default_value("f32", "f32"),
              "if data.train does not exist yet: type of the features (f32, f16, bf16)")
      .option("validation-rows", po::value<int64_t>()->default_value(0, ""),
              "if data.validation does not exist yet: its rows")
      .option("unlabelled-rows", po::value<int64_t>()->default_value(0, ""),
              "if data.unlabelled does not exist yet: its rows");
  return line;
}

CommandLine cache_line() {
  CommandLine line("cache",
                   "Writes the features of the image set described by CONFIG into a sharded "
                   "feature cache; all ranks write. A finished cache of the same configuration\n"
                   "is reused, an interrupted one is continued. `dissent config cache` prints all "
                   "keys.",
                   "CONFIG", 1);
  line.option("set", list(), "override a key of the file: table.key=value; may be repeated")
      .flag("force",
            "delete an existing cache (finished, interrupted, damaged, or of another "
            "configuration) and write it again")
      .flag("again", "write an existing cache again, and replace it when the new cache is finished")
      .flag("quiet", "no progress bar");
  return line;
}

CommandLine evaluate_line() {
  CommandLine line("evaluate",
                   "Computes accuracy, calibration and OOD detection of trained runs on the sets "
                   "described by CONFIG. Prints a table and writes <output>/<hash>.csv\n"
                   "and, before test sets are scored, <hash>.choices.toml.\n"
                   "`dissent config evaluate` prints all keys.",
                   "CONFIG", 1);
  line.option("set", list(), "override a key of the file: table.key=value; may be repeated")
      .flag("again",
            "keep all files of an earlier evaluation, <hash>.choices.toml included, until the new "
            "ones are written")
      .flag("quiet", "no progress bar");
  return line;
}

CommandLine config_line() {
  CommandLine line(
      "config",
      "Prints every key of a configuration with type, default, range and meaning, as a TOML file "
      "to start from. VERB: train (heads on a cache), train-images (networks on\n"
      "images), cache or evaluate. `config losses`, `config scores`, `config metrics` and `config "
      "exit-codes` print the tables of losses, scores, metrics and exit codes.",
      "VERB", 1);
  line.flag("markdown", "print Markdown tables");
  return line;
}

CommandLine inspect_line() {
  CommandLine line("inspect",
                   "Describes each FILE: a feature cache (a folder, or an HDF5 file of SED), a "
                   "checkpoint or run folder, or a result CSV.",
                   "FILE...", -1);
  line.flag("verify",
            "verify all checksums of a cache, a checkpoint, or another HDF5 file of Dissent")
      .flag("config", "print the configuration stored in a checkpoint");
  return line;
}

CommandLine imglist_line() {
  CommandLine line(
      "imglist",
      "Lists the images (*.jpg, *.jpeg, *.png) below each FOLDER in OpenOOD's format: sorted, one "
      "line `path label` per image. The class of an image is the subfolder\n"
      "of FOLDER that contains it; subfolders are numbered in the order of their names, or as in "
      "--classes. The names are written to a class file next to the list\n"
      "(train.txt: train.classes.txt); use it as --classes for the lists of validation and test "
      "images. Hidden files and files of operating systems (Thumbs.db,\n"
      "__MACOSX, ...) are ignored, files with other extensions are counted.",
      "FOLDER...", -1);
  line.option("output", po::value<std::string>()->default_value(""),
              "path of the list; it is written completely or not at all")
      .option("root", po::value<std::string>()->default_value(""),
              "write paths relative to this folder (data.root of the reader); default: paths as "
              "given")
      .option("classes", po::value<std::string>()->default_value(""),
              "file with one class name per line, in the order of class numbers: for a set with "
              "images of some classes only (ImageNet-A), labelled as in the full set")
      .option("class-field", po::value<int64_t>()->default_value(0),
              "take the class from this part of the file name, split at \"_\", instead of from "
              "the subfolder (5 for the images of model-vs-human); 0: from the subfolder")
      .option("label", po::value<int64_t>(),
              "one label for all images; -1: unknown, for out-of-distribution sets")
      .flag("allow-empty", "accept subfolders without images as classes without rows");
  return line;
}

CommandLine verify_line() {
  CommandLine line("verify",
                   "Computes the reference cases in each FILE and reports which of them hold. " +
                       check_failed_text("a case fails."),
                   "FILE...", -1);
  line.flag("require-all", "fail also for a case that this program does not cover")
      .option("device", po::value<std::string>()->default_value("cpu"),
              "cpu, or cuda: compute cases on the GPU in f64 and f32, with the tolerances printed "
              "at the start of the report; metrics, schedules and preprocessing stay on the host");
  return line;
}

CommandLine export_line() {
  CommandLine line("export",
                   "Writes the members of a trained RUN (its folder or checkpoint.h5) as "
                   "safetensors, one file per member, and ensemble.json (docs/export.md).",
                   "RUN", 1);
  line.option("output", po::value<std::string>()->default_value(""), "output folder")
      .option("names", po::value<std::string>()->default_value("own"),
              "names of the weights: own (torchvision, OpenOOD, DeiT) or timm (ls1.gamma)");
  return line;
}

CommandLine doctor_line() {
  CommandLine line(
      "doctor",
      "Checks machine, job and folder, and suggests fixes. Start it the way the other verbs will "
      "be started: with mpirun or srun, and the same number of ranks.\n"
      "Prints one line per check: ok, skipped, warning or failed, the finding, and a suggested "
      "fix. " +
          check_failed_text("a check failed") +
          fmt::format(", {} if a message timed out or MPI does not know the launcher.",
                      exit_code(ErrorKind::kComm)),
      "", 0);
  line.option("folder", po::value<std::string>()->default_value("."),
              "folder for trial files: on the file system of results and caches")
      .option("config", po::value<std::string>()->default_value(""),
              "also check this configuration, for this number of ranks")
      .option("set", list(), "override a key of that file: table.key=value; may be repeated")
      .option("timeout", po::value<double>()->default_value(60),
              "timeout of a collective in seconds")
      .flag("json", "print one JSON object instead of lines");
  return line;
}

CommandLine tables_line() {
  CommandLine line(
      "tables",
      "Makes tables over seeds (mean, standard deviation, count; missing seeds are marked) from "
      "result files, or from all result files below folders.\n"
      "`dissent tables layouts` lists the layouts.",
      "FILE...", -1);

  // Rows and columns.
  line.option("layout,l", po::value<std::string>(),
              "a layout from the list of `dissent tables layouts`")
      .option("rows", po::value<std::string>(),
              "result columns that name the rows, e.g. experiment,method; default: those of the "
              "layout")
      .option("columns", po::value<std::string>(),
              "without --layout: result columns whose values become the columns, e.g. dataset or "
              "dataset,metric");

  // Which results.
  line.option("metric", po::value<std::string>(),
              "one metric, e.g. auroc: same as --where metric=auroc")
      .option("score", po::value<std::string>(),
              "one score, e.g. pds; values that depend on no score are kept")
      .option("where,w", po::value<Texts>()->composing(),
              "use only results with column=value, or column=a,b for several values; may be "
              "repeated")
      .option("seeds,s", po::value<std::string>(),
              "expected seeds of every row, e.g. 1..5; default: all seeds that the row has in any "
              "column");

  // Format.
  line.option("format,f", po::value<std::string>()->default_value("markdown"),
              "csv (all digits), markdown or latex (booktabs)")
      .option("precision,p", po::value<int>(), "digits after the decimal point")
      .flag("percent", "without --layout: multiply values by 100")
      .option("deviation", po::value<std::string>()->default_value("sample"),
              "standard deviation over seeds: sample (n - 1) or population (n)");

  // Comparison with published values.
  line.option("published", po::value<std::string>(),
              "file of published values (results/published/sed.csv, sdde.csv), shown next to ours "
              "with the difference")
      .option("published-as", po::value<Texts>()->composing(),
              "ours=theirs: the published experiment to compare a row with, where the names "
              "differ")
      .option("output,o", po::value<std::string>()->default_value("-"),
              "output file; -: standard output");
  return line;
}

CommandLine plot_line() {
  CommandLine line(
      "plot",
      "Draws plots with gnuplot, or writes TensorBoard event files. KIND and its input files:\n"
      "  curves       run folders or train.csv: losses and metrics over epochs, mean and standard "
      "deviation over the runs of a folder\n"
      "  size         result files: a metric over the number of members (predictors size:<k>, "
      "ensemble, mean)\n"
      "  reliability  plot files of `dissent evaluate`: accuracy over confidence\n"
      "  roc          plot files: true positive rate over false positive rate\n"
      "  histogram    plot files: distribution of a score\n"
      "  saliency     a saliency file: maps of the members over the images\n"
      "  tensorboard  run folders: event files below the folder --output",
      "KIND FILE...", -1);
  line.option("output,o", po::value<Texts>()->composing(),
              "NAME.png or NAME.svg, may be repeated; tensorboard: a folder");

  // Layout of all kinds.
  line.option("title", po::value<std::string>()->default_value(""), "title above the plot")
      .option("width", po::value<double>(), "width in inches")
      .option("height", po::value<double>(), "height in inches")
      .option("dpi", po::value<int>()->default_value(300), "resolution of PNG files")
      .option("font", po::value<double>()->default_value(8), "font size in points")
      .flag("keep-script", "keep the gnuplot script with its data next to the plot: NAME.png.gp");

  // Options of one kind.
  line.option("columns", po::value<std::string>(),
              "curves: columns of train.csv, one panel each, e.g. total,nll")
      .option("series", po::value<std::string>()->default_value("method"),
              "size: result columns whose values become one line each")
      .option("metric", po::value<std::string>(), "size: one metric, e.g. auroc")
      .option("where,w", po::value<Texts>()->composing(),
              "size: use only results with column=value or column=a,b; may be repeated")
      .option("x-label", po::value<std::string>()->default_value(""),
              "histogram: label of the x-axis; default: the one in the files")
      .option("images", po::value<std::string>(),
              "saliency: indices of images in the file, e.g. 0,3,7; default: the first four")
      .option("members", po::value<int64_t>()->default_value(8),
              "saliency: largest number of members to show")
      .option("results", po::value<Texts>()->composing()->multitoken(),
              "tensorboard: result files (all arguments up to the next option) to add to the event "
              "files of their runs; run folders among them count as runs");
  return line;
}

CommandLine jobs_line() {
  CommandLine line(
      "jobs",
      "Runs the experiments of a CSV sheet, one per row. A job is identified by verb and resolved "
      "configuration: a sheet may be sorted or extended at any time, and no\n"
      "job runs twice, however many processes share the sheet.\n\n"
      "  jobs run SHEET       run here, as many jobs at a time as cores and GPUs allow\n"
      "  jobs submit SHEET    submit to Slurm\n"
      "  jobs status SHEET    show the state of each row\n"
      "  jobs again SHEET     run finished rows (--where) again, here or with --slurm on Slurm; "
      "the old results are kept until the new ones are finished\n"
      "  jobs import CSV      convert a sheet of SED (stuned.run_from_csv), to stdout\n"
      "  jobs exec ...        one attempt, in a batch script; jobs pack ...: many jobs in one MPI "
      "job. Both are called by the other commands\n\n"
      "Columns: verb, config, set:table.key, ranks, threads, gpus, after, enabled, name, "
      "arguments,\n"
      "retries, template, stage, slurm:flag, whether_to_run; others are free text.\n"
      "Cells may contain {a | b}, {1..5} and {column}. See docs/clusters.md.",
      "run|submit|status|again|import SHEET", -1);
  const auto text = [](const char* value) {
    return po::value<std::string>()->default_value(value, value);
  };

  // Which jobs, with which settings.
  line.option("where", list(), "use only rows with column=value, * and ? allowed; may be repeated")
      .option("set", list(),
              "table.key=value: override the sheet's cells in every row whose configuration has "
              "the key; may be repeated. Different settings define different jobs; pass the same "
              "to status")
      .option("ranks", po::value<int64_t>()->default_value(0, "the sheet's"),
              "number of ranks for every row whose verb supports several ranks")
      .flag("slurm", "again: run on Slurm, like submit")
      .option("state", text("results/jobs"),
              "folder of the jobs' states; the same for all processes that share the sheet");

  // Checks and costs before anything starts.
  line.flag("dry-run",
            "show every job, its command, grid and cost (`dissent plan`), and all errors in the "
            "sheet; start nothing")
      .flag("no-files",
            "run, submit, again: do not check whether the input files of rows exist and are valid")
      .flag("times", "--dry-run: also measure times (seconds per job)")
      .flag("no-cost", "--dry-run: no costs (those of large networks take seconds)");

  // How jobs run.
  line.option("pack", po::value<int64_t>()->default_value(0, "0"),
              "run, submit: pack jobs with fewer ranks into MPI jobs with this number of ranks")
      .option("cores", po::value<int64_t>()->default_value(0, "all"), "run: number of cores to use")
      .option("gpus", text(""), "run: GPUs to use, e.g. 0,1; none: use no GPU")
      .option("wandb", text(""),
              "run, submit: --wandb of each training: online, offline, off, auto")
      .flag("tensorboard", "run, submit: --tensorboard of each training")
      .option("mpirun", text(""), "run: launcher of jobs with several ranks");
  line.option("templates", text(""), "submit: folder of batch scripts; default: slurm/")
      .option("throttle", po::value<int64_t>()->default_value(0, "all"),
              "submit: largest number of running tasks per job array")
      .flag("no-arrays", "submit: one Slurm job per row");

  // Options of status and exec.
  line.flag("watch", "status: redraw until no job is pending or running")
      .option("seconds", po::value<double>()->default_value(5, "5"),
              "status: interval between redraws")
      .option("csv", text(""),
              "status: write the sheet with status, run folder, walltime and last metric values to "
              "this file")
      .option("list", text(""), "exec: the list of jobs")
      .flag("command", "exec: run the command after a second --, which is not a job of a sheet")
      .option("grace",
              po::value<double>()->default_value(jobs::kDefaultGraceS,
                                                 fmt::format("{}", jobs::kDefaultGraceS)),
              "exec: seconds to wait for a checkpoint before the job is queued again without one");
  return line;
}

CommandLine replay_line() {
  CommandLine line(
      "replay",
      "Trains the run recorded in the folder RUN again (config.toml; grid, ranks and threads from "
      "provenance.json), in another folder, and compares weights, optimiser\n"
      "states and train.csv: bit for bit for a run on CPUs, else with a tolerance. Names all "
      "differences. " +
          check_failed_text("there are any."),
      "RUN", 1);
  line.option("ranks", po::value<int64_t>()->default_value(0, "recorded"),
              "number of ranks; another one splits the members differently, with the same result")
      .option("tolerance", po::value<double>()->default_value(-1, "0; 1e-3 on a GPU"),
              "tolerance relative to the largest value of a tensor")
      .option("output", po::value<std::string>()->default_value("", "RUN/replay"), "output folder")
      .option("mpirun", po::value<std::string>()->default_value("mpirun", "mpirun"),
              "launcher of several ranks")
      .flag("keep", "keep the new run")
      .option("set", list(), "table.key=value, e.g. for data that have moved");
  return line;
}

}  // namespace

const std::vector<Verb>& verbs() {
  // In the order in which `dissent --help` lists them.
  static const std::vector<Verb> table{
      {"train", "train the runs described by a configuration", train_line},
      {"plan", "estimate the cost of a training: memory, communication, storage, time", plan_line},
      {"cache", "write an image set into a sharded feature cache", cache_line},
      {"evaluate", "compute accuracy, calibration and OOD detection of trained runs",
       evaluate_line},
      {"config", "print every configuration key with type, default and meaning", config_line, true},
      {"inspect", "describe a cache, checkpoint or result file", inspect_line},
      {"imglist", "list the images of folders, for image sets read from lists", imglist_line, true},
      {"verify", "compare this program with reference cases", verify_line},
      {"export", "write a trained ensemble as safetensors, one file per member", export_line},
      {"doctor", "check machine, job and folder, and suggest fixes", doctor_line},
      {"tables", "make tables over seeds from result files", tables_line, true},
      {"plot", "draw plots of runs and results, write TensorBoard event files", plot_line, true},
      {"jobs", "run the experiments of a CSV sheet, here or on Slurm; show their state", jobs_line},
      {"replay", "train a recorded run again and compare", replay_line},
  };
  return table;
}

const Verb& verb(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& candidate : verbs()) {
    if (name == candidate.name) return candidate;
    names.emplace_back(candidate.name);
  }

  // All ranks have the same arguments, so all of them have this error.
  const auto near = nearest(name, names);
  Error error(ErrorKind::kUsage,
              fmt::format("verb: expected one of {}; found '{}'{}", fmt::join(names, ", "), name,
                          near ? fmt::format("; did you mean '{}'?", *near) : ""),
              __FILE__, __LINE__);
  error.set_agreed();
  throw error;
}

std::string program_help() {
  std::string text = fmt::format(
      "dissent {}: trains, evaluates and compares diverse deep ensembles\n\n"
      "usage: [mpirun -n RANKS] dissent VERB [options] ...\n\n",
      DISSENT_VERSION);
  for (const auto& verb : verbs()) text += fmt::format("  {:<10}{}\n", verb.name, verb.summary);
  return text +
         "\n`dissent VERB --help` describes a verb. MPI is initialised if mpirun or srun started "
         "the program, or with `dissent --mpi VERB`.\n\nExit codes:\n" +
         exit_codes_lines();
}

std::string program_version() {
  return fmt::format("dissent {} (LibTorch {}, HDF5 {}, CUDA {})\n", DISSENT_VERSION,
                     DISSENT_LIBTORCH_VERSION, DISSENT_HDF5_VERSION,
                     DISSENT_WITH_CUDA ? "on" : "off");
}

}  // namespace dissent::cli
