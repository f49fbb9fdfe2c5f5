#include "cli/verb.hpp"

#include <fmt/format.h>

#include <dissent/error.hpp>

#include "build_info.hpp"
#include "cli/exit_codes.hpp"
#include "core/options.hpp"

namespace dissent::cli {
namespace {

namespace po = boost::program_options;
using Texts = std::vector<std::string>;

// An option that may be repeated.
po::typed_value<Texts>* list() { return po::value<Texts>()->composing()->default_value({}, ""); }

CommandLine train_line() {
  CommandLine line("train",
                   "Trains the runs that CONFIG describes. Results go to "
                   "<output>/<experiment>/seed-<n>/. `dissent config train` prints all keys.",
                   "CONFIG", 1);
  line.option("set", list(), "table.key=value, over the file's; may be repeated")
      .option("wandb", po::value<std::string>()->default_value("", ""),
              "live to Weights & Biases: online, offline, off, or auto, as its own variables say; "
              "the same as --set runtime.wandb=MODE (docs/logging.md)")
      .flag("tensorboard", "an event file in each run's folder, which grows with each epoch")
      .flag("force", "train anew although the run is there")
      .flag("again",
            "train anew; the run that is there stays until the new one is finished and takes its "
            "place")
      .option("trace", po::value<int64_t>()->default_value(0, ""),
              "writes <run>/trace.h5: initial weights, and of so many first steps rows, members, "
              "pixels or features and losses (docs/formats.md); one rank, CPU")
      .flag("quiet", "no progress");
  return line;
}

CommandLine plan_line() {
  CommandLine line("plan",
                   "Says what `dissent train CONFIG` would cost: memory, bytes moved, storage, and "
                   "time from a short measurement on this machine. Writes nothing;\n"
                   "needs no data: a cache's manifest is enough, images need not be there. Run it "
                   "with as many ranks as a node will have: then all measure at the same time.",
                   "CONFIG", 1);
  line.option("set", list(), "table.key=value, over the file's; may be repeated")
      .option("ranks", po::value<std::string>()->default_value("", ""),
              "numbers of ranks, as 1,2,8: the fastest grid of each, beside the configuration's "
              "own on the ranks that run this")
      .flag("own-grid", "--ranks: the configuration's own grid on each number, in its place")
      .option("ranks-per-node", po::value<int64_t>()->default_value(1, "all"),
              "ranks of --ranks on a node")
      .flag("no-calibration", "sizes only: nothing is measured, no times")
      .option("seconds", po::value<double>()->default_value(2, "2"), "to measure each grid for")
      .option("latency-us", po::value<double>()->default_value(5, "5"),
              "of a message; without it measured, if there are several ranks")
      .option("bandwidth-gbs", po::value<double>()->default_value(1, "1"),
              "GB/s of messages of a rank; the same")
      .flag("json", "as JSON: bytes and seconds")
      .flag("quiet", "does not say on stderr what is measured");
  line.option("rows", po::value<int64_t>()->default_value(0, ""),
              "rows a pass of data.train, or images, if these are not there yet")
      .option("dim", po::value<int64_t>()->default_value(0, ""), "its features")
      .option("classes", po::value<int64_t>()->default_value(0, ""), "its classes")
      .option("passes", po::value<int64_t>()->default_value(1, "1"), "its passes")
      .option("dtype", po::value<std::string>()->default_value("f32", "f32"),
              "its type: f32, f16, bf16")
      .option("validation-rows", po::value<int64_t>()->default_value(0, ""),
              "rows of data.validation, likewise")
      .option("unlabelled-rows", po::value<int64_t>()->default_value(0, ""),
              "rows of data.unlabelled, likewise");
  return line;
}

CommandLine cache_line() {
  CommandLine line("cache",
                   "Turns the image set that CONFIG names into a sharded feature cache; all ranks "
                   "write. A finished cache of the same configuration is reused,\n"
                   "a stopped one is gone on with. `dissent config cache` prints all keys.",
                   "CONFIG", 1);
  line.option("set", list(), "table.key=value, over the file's; may be repeated")
      .flag("force",
            "write anew whatever cache is there: finished, stopped, damaged, of another "
            "configuration")
      .flag("again",
            "write anew; the cache that is there stays until the new one is finished and takes its "
            "place")
      .flag("quiet", "no progress");
  return line;
}

CommandLine evaluate_line() {
  CommandLine line("evaluate",
                   "Accuracy, calibration and OOD scores of trained runs over the sets that CONFIG "
                   "names. Prints a table, writes <output>/<hash>.csv\nand, before test sets are "
                   "scored, <hash>.choices.toml.\n"
                   "`dissent config evaluate` prints all keys.",
                   "CONFIG", 1);
  line.option("set", list(), "table.key=value, over the file's; may be repeated")
      .flag("again",
            "the files of an earlier evaluation all stay until the new ones are there, "
            "<hash>.choices.toml too")
      .flag("quiet", "no progress");
  return line;
}

CommandLine config_line() {
  CommandLine line(
      "config",
      "Prints every key of a verb's configuration (VERB: train for heads on a cache, train-images "
      "for networks on images, cache or evaluate) with its type, default, range and meaning, as a "
      "TOML file to start from. `config losses`, `config scores`, `config metrics` and `config "
      "exit-codes` print the tables of losses, scores, metrics and exit codes.",
      "VERB", 1);
  line.flag("markdown", "as Markdown tables");
  return line;
}

CommandLine inspect_line() {
  CommandLine line("inspect",
                   "Says what each FILE is and holds: a feature cache (a folder, or one of SED's "
                   "HDF5 files), a checkpoint or run folder, a result CSV.",
                   "FILE...", -1);
  line.flag("verify",
            "compare all checksums: of a cache, a checkpoint, or another HDF5 file of ours")
      .flag("config", "print a checkpoint's configuration");
  return line;
}

CommandLine imglist_line() {
  CommandLine line(
      "imglist",
      "Lists the images (*.jpg, *.jpeg, *.png) below each FOLDER in OpenOOD's layout, "
      "`path label` a line, sorted. The class of an image is the subfolder\n"
      "of FOLDER in which it lies; all subfolders are numbered in the order of their "
      "names, or as --classes has them. The class file beside the list\n"
      "(train.txt: train.classes.txt) has the names; give it as --classes to the lists "
      "of validation and test images. Hidden names and what operating systems leave\n"
      "(Thumbs.db, __MACOSX, ..) are left out, files of other endings are counted.",
      "FOLDER...", -1);
  line.option("output", po::value<std::string>()->default_value(""),
              "the list that is written, whole or not at all")
      .option("root", po::value<std::string>()->default_value(""),
              "folder that the list's paths are to be below (data.root of who reads it); default: "
              "paths as "
              "given")
      .option("classes", po::value<std::string>()->default_value(""),
              "file with the name of a class a line, in the order of their numbers: gives the "
              "images of some classes (ImageNet-A) the labels of all")
      .option("class-field", po::value<int64_t>()->default_value(0),
              "the class of an image is this part of its file's name, cut at \"_\", not its "
              "subfolder; of the images of model-vs-human 5. 0: the subfolder")
      .option("label", po::value<int64_t>(),
              "one label for all images instead of classes; -1: unknown, as of out-of-distribution "
              "sets")
      .flag("allow-empty", "subfolders without an image are classes without rows, no error");
  return line;
}

CommandLine verify_line() {
  CommandLine line(
      "verify", "Runs the reference cases in FILEs and says which hold. Exit code 5 if one fails.",
      "FILE...", -1);
  line.flag("require-all", "a case that this program does not cover is a failure too")
      .option("device", po::value<std::string>()->default_value("cpu"),
              "cpu, or cuda: cases are computed on the GPU, in f64 and f32, with the tolerances "
              "that the report starts with. Metrics, schedules and preprocessing stay on the host");
  return line;
}

CommandLine export_line() {
  CommandLine line("export",
                   "Writes the members of a trained RUN (its folder or checkpoint.h5) as "
                   "safetensors, one file a member, and ensemble.json. docs/export.md",
                   "RUN", 1);
  line.option("output", po::value<std::string>()->default_value(""), "folder that the files go to")
      .option("names", po::value<std::string>()->default_value("own"),
              "of the weights: own (torchvision, OpenOOD, DeiT) or timm (ls1.gamma)");
  return line;
}

CommandLine doctor_line() {
  CommandLine line("doctor",
                   "Says whether this machine, job and folder are ready for the other verbs: start "
                   "it as they will be started, with mpirun or srun and as many ranks.\n"
                   "A line a check: ok, skipped, warning or failed, what was found, and what to "
                   "do. Exit code 5 if a check failed, 4 if a message never came or MPI does not "
                   "know the launcher.",
                   "", 0);
  line.option("folder", po::value<std::string>()->default_value("."),
              "where to try files: the file system of results and caches")
      .option("config", po::value<std::string>()->default_value(""),
              "a configuration to check too, against this number of ranks")
      .option("set", list(), "table.key=value, over that file's; may be repeated")
      .option("timeout", po::value<double>()->default_value(60),
              "seconds after which a message counts as lost")
      .flag("json", "one JSON object instead of lines");
  return line;
}

CommandLine tables_line() {
  CommandLine line(
      "tables",
      "Tables over seeds (mean, deviation, count, missing seeds) from result files, or from all "
      "result files below folders. `dissent tables layouts` lists the layouts.",
      "FILE...", -1);
  line.option("layout,l", po::value<std::string>(),
              "a layout from the list of `dissent tables layouts`")
      .option("rows", po::value<std::string>(),
              "result columns whose values name a row, as experiment,method; default: those of the "
              "layout")
      .option("columns", po::value<std::string>(),
              "without --layout: result columns whose values become the columns, as dataset or "
              "dataset,metric")
      .option("metric", po::value<std::string>(),
              "one metric, as auroc: the same as --where metric=auroc")
      .option("score", po::value<std::string>(),
              "one score, as pds; values that do not depend on a score stay");

  line.option("where,w", po::value<Texts>()->composing(),
              "column=value, or column=a,b for any of several: use only matching rows; may be "
              "repeated")
      .option("seeds,s", po::value<std::string>(),
              "seeds that every row should have, as 1..5; default: all seeds that a row has in any "
              "column")
      .option("format,f", po::value<std::string>()->default_value("markdown"),
              "csv (all digits), markdown or latex (booktabs)")
      .option("precision,p", po::value<int>(), "number of decimals")
      .flag("percent", "without --layout: multiply values by 100")
      .option("deviation", po::value<std::string>()->default_value("sample"),
              "standard deviation over seeds: sample (n - 1) or population (n)");

  line.option("published", po::value<std::string>(),
              "result rows of published values (results/published/sed.csv, sdde.csv), to be shown "
              "with the difference to ours")
      .option("published-as", po::value<Texts>()->composing(),
              "ours=theirs: name of an experiment of ours in the published rows, if it differs")
      .option("output,o", po::value<std::string>()->default_value("-"), "file; -: stdout");
  return line;
}

CommandLine plot_line() {
  CommandLine line(
      "plot",
      "Draws plots with gnuplot, or writes TensorBoard event files. KIND and its input:\n"
      "  curves       run folders or train.csv: losses and metrics over epochs, mean and deviation "
      "over the runs of a folder\n"
      "  size         result files: a metric over the number of members (predictors size:<k>, "
      "ensemble, mean)\n"
      "  reliability  plot files of `dissent evaluate`: accuracy over confidence\n"
      "  roc          plot files: true over false positives\n"
      "  histogram    plot files: distribution of a score\n"
      "  saliency     a saliency file: the maps of the members over the images\n"
      "  tensorboard  run folders: event files below the folder --output",
      "KIND FILE...", -1);
  line.option("output,o", po::value<Texts>()->composing(),
              "NAME.png or NAME.svg; may be repeated; tensorboard: a folder")
      .option("title", po::value<std::string>()->default_value(""), "title above the plot")
      .option("width", po::value<double>(), "inches")
      .option("height", po::value<double>(), "inches")
      .option("dpi", po::value<int>()->default_value(300), "resolution of PNG")
      .option("font", po::value<double>()->default_value(8), "font size in points")
      .flag("keep-script", "keep the gnuplot script, with its data, beside the plot: NAME.png.gp");

  // Options of single kinds.
  line.option("columns", po::value<std::string>(),
              "curves: columns of train.csv, one panel per column, as total,nll")
      .option("series", po::value<std::string>()->default_value("method"),
              "size: result columns; each combination of their values is a line")
      .option("metric", po::value<std::string>(), "size: one metric, as auroc")
      .option("where,w", po::value<Texts>()->composing(),
              "size: column=value or column=a,b; may be repeated")
      .option("x-label", po::value<std::string>()->default_value(""),
              "histogram: name of the x-axis; default: that of the files")
      .option("images", po::value<std::string>(),
              "saliency: indices of images in the file, as 0,3,7; default: the first four")
      .option("members", po::value<int64_t>()->default_value(8),
              "saliency: maximum number of members")
      .option(
          "results", po::value<Texts>()->composing()->multitoken(),
          "tensorboard: result files whose rows are added to their runs, up to the next option; "
          "run folders among them count as runs");
  return line;
}

CommandLine jobs_line() {
  CommandLine line(
      "jobs",
      "Runs the experiments of a CSV sheet, one per row. Rows are identified by verb and resolved\n"
      "configuration, so a sheet may be sorted or extended at any time. No job runs twice, even "
      "if\n"
      "several users or programs run the same sheet.\n\n"
      "  jobs run SHEET       runs rows on this machine, as many at a time as cores and GPUs "
      "allow\n"
      "  jobs submit SHEET    submits rows to Slurm\n"
      "  jobs status SHEET    shows the status of each row\n"
      "  jobs again SHEET     runs finished rows (--where) again, here or with --slurm on Slurm; "
      "old\n"
      "                       results stay until the new ones are complete\n"
      "  jobs import CSV      converts SED's sheets (stuned.run_from_csv), to stdout\n"
      "  jobs exec ...        runs one job in a batch script; jobs pack ...: runs many jobs in one "
      "MPI\n"
      "                       job. Both are called by run, submit and slurm/*.sbatch\n\n"
      "Columns: verb, config, set:table.key, ranks, threads, gpus, after, enabled, name, "
      "arguments,\n"
      "retries, template, stage, slurm:flag, whether_to_run; others are free text.\n"
      "Cells may contain {a | b}, {1..5} and {column}. See docs/clusters.md.",
      "run|submit|status|again|import SHEET", -1);
  const auto text = [](const char* value) {
    return po::value<std::string>()->default_value(value, value);
  };
  const auto number = [](int64_t value, const char* shown) {
    return po::value<int64_t>()->default_value(value, shown);
  };
  line.option("where", list(), "column=value: only matching rows, * and ? allowed; may be repeated")
      .option("set", list(),
              "table.key=value for every row whose configuration has the key, overriding the "
              "sheet; may be repeated. Other settings make other jobs: use the same with status")
      .option("ranks", number(0, "as in the sheet"),
              "ranks of every row whose verb runs on several ranks")
      .flag("slurm", "again: submit to Slurm")
      .option("state", text("results/jobs"),
              "folder of the jobs' states; the same for all who share the work")
      .flag("dry-run",
            "show every job with command, grid and the cost that `dissent plan` predicts, and "
            "every problem; start nothing")
      .flag("no-files", "run, submit, again: do not check the files that rows read")
      .flag("times", "--dry-run: also measure times (seconds per job)")
      .flag("no-cost", "--dry-run: no costs (those of large networks take seconds)")
      .option("pack", number(0, "0"),
              "run, submit: pack jobs of fewer ranks into MPI jobs with this number of ranks")
      .option("wandb", text(""),
              "run, submit: --wandb of each training: online, offline, off, auto")
      .flag("tensorboard", "run, submit: --tensorboard of each training");

  // Options of single actions.
  line.option("cores", number(0, "all"), "run: number of cores to use")
      .option("gpus", text(""), "run: GPUs to use, as 0,1; none: run all rows without GPUs")
      .option("mpirun", text(""), "run: launcher for several ranks")
      .option("templates", text(""), "submit: folder of batch scripts (slurm/ of this program)")
      .option("throttle", number(0, "all"), "submit: tasks of an array that run at a time")
      .flag("no-arrays", "submit: one Slurm job per row")
      .flag("watch", "status: refresh until no job is under way")
      .option("seconds", po::value<double>()->default_value(5, "5"), "status: interval of --watch")
      .option("csv", text(""),
              "status: write the sheet with status, run folder, walltime and last values to this "
              "file")
      .option("list", text(""), "exec: list of the batch")
      .flag("command", "exec: run the command after a second --, which is not a job of a sheet")
      .option("grace", po::value<double>()->default_value(100, "100"),
              "exec: seconds for writing a checkpoint before the job is requeued without one");
  return line;
}

CommandLine replay_line() {
  CommandLine line("replay",
                   "Trains again from the record in the folder RUN (config.toml, provenance.json: "
                   "grid, ranks, threads), into another folder, and compares weights, optimiser\n"
                   "states and train.csv: bit for bit on CPUs, to a tolerance on GPUs. Reports "
                   "each difference; exit code 5 if there is one.",
                   "RUN", 1);
  line.option("ranks", po::value<int64_t>()->default_value(0, "as recorded"),
              "number of ranks; another number splits the members differently, with the same bits")
      .option("tolerance", po::value<double>()->default_value(-1, "0; 1e-3 on a GPU"),
              "relative to the largest value of a tensor")
      .option("output", po::value<std::string>()->default_value("", "RUN/replay"),
              "folder of the new run")
      .option("mpirun", po::value<std::string>()->default_value("mpirun", "mpirun"),
              "launcher for several ranks")
      .flag("keep", "keep the new run")
      .option("set", list(), "table.key=value, for example where the data are now");
  return line;
}

}  // namespace

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> table{
      {"train", "train the runs that a configuration describes", train_line},
      {"plan", "what a training would cost: memory, bytes moved, storage, time", plan_line},
      {"cache", "turn an image set into a sharded feature cache", cache_line},
      {"evaluate", "accuracy and out-of-distribution detection of trained runs", evaluate_line},
      {"config", "print every key with type, default and meaning", config_line, true},
      {"inspect", "say what is in a cache, checkpoint or result file", inspect_line},
      {"imglist", "list the images of folders, for sets that are read from lists", imglist_line,
       true},
      {"verify", "compare this program with reference cases", verify_line},
      {"export", "write a trained ensemble as safetensors, one file a member", export_line},
      {"doctor", "say whether this machine, job and folder are ready", doctor_line},
      {"tables", "make tables over seeds from result files", tables_line, true},
      {"plot", "plot runs and results, or write TensorBoard event files", plot_line, true},
      {"jobs", "run the experiments of a CSV sheet, here or on Slurm", jobs_line},
      {"replay", "train again from a run's record, and compare", replay_line},
  };
  return table;
}

const Verb& verb(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& candidate : verbs()) {
    if (name == candidate.name) return candidate;
    names.emplace_back(candidate.name);
  }
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
      "dissent {}: trains, evaluates and compares diverse deep ensembles\n\nusage: [mpirun -n "
      "RANKS] "
      "dissent VERB [options] ...\n\n",
      DISSENT_VERSION);
  for (const auto& verb : verbs()) text += fmt::format("  {:<10}{}\n", verb.name, verb.summary);
  return text +
         "\n`dissent VERB --help` describes a verb. MPI is started where mpirun or srun started "
         "the "
         "program, or with `dissent --mpi VERB`.\n\nExit codes:\n" +
         exit_codes_lines();
}

std::string program_version() {
  return fmt::format("dissent {} (LibTorch {}, HDF5 {}, CUDA {})\n", DISSENT_VERSION,
                     DISSENT_LIBTORCH_VERSION, DISSENT_HDF5_VERSION,
                     DISSENT_WITH_CUDA ? "on" : "off");
}

}  // namespace dissent::cli
