#include "report/gnuplot.hpp"

#include <dissent/error.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "storage/atomic_file.hpp"

extern char** environ;

namespace dissent::report {
namespace {

// Runs gnuplot on a script file; what it says goes into a log beside it. Arguments go as they are,
// no shell is between.
void run(const std::string& script, const std::string& log) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  std::string program = "gnuplot", path = script;
  char* arguments[] = {program.data(), path.data(), nullptr};
  pid_t child = 0;
  const int code = posix_spawnp(&child, program.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  DISSENT_CHECK(
      code == 0, kData,
      "cannot run gnuplot: {}; figures are drawn by gnuplot 5.4 or later (Debian: gnuplot-nox)",
      std::strerror(code));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  const auto said = path_exists(log) ? read_text(log) : "";
  DISSENT_FAIL(kData, "gnuplot failed on {}: {}", script, said.empty() ? "it says nothing" : said);
}

std::string terminal(const Canvas& canvas, const std::string& ending) {
  if (ending == ".svg")
    return fmt::format(
        "set terminal svg size {},{} dynamic enhanced font 'DejaVu Sans,{}' background '#ffffff' "
        "linewidth 1\n",
        std::lround(canvas.width_in * 96), std::lround(canvas.height_in * 96),
        canvas.font_pt * 96 / 72);
  const double scale = canvas.dpi / 72.0;
  return fmt::format(
      "set terminal pngcairo size {},{} enhanced font 'DejaVu Sans,{}' fontscale {:.4f} linewidth "
      "{:.4f} pointscale {:.4f} dashlength 1.7 background '#ffffff'\n",
      std::lround(canvas.width_in * canvas.dpi), std::lround(canvas.height_in * canvas.dpi),
      canvas.font_pt, scale * 0.75, scale * 0.75, scale * 0.75);
}

const char* const kStyle =
    "set encoding utf8\n"
    "set border 3 linecolor rgb '#404040' linewidth 0.8\n"
    "set tics nomirror out scale 0.5 textcolor rgb '#202020'\n"
    "set grid back linetype 1 linecolor rgb '#e4e4e4' linewidth 0.6\n"
    "set format '%h'\n"
    "set key samplen 3 spacing 1.15 noenhanced textcolor rgb '#202020'\n"
    "set datafile missing 'NaN'\n";

void draw_one(const Canvas& canvas, const std::string& output, const std::string& body) {
  const std::string ending = std::filesystem::path(output).extension().string();
  DISSENT_CHECK(ending == ".png" || ending == ".svg", kUsage,
                "--output: expected a name that ends in .png or .svg, found '{}'", output);
  const std::string partial = output + ".partial", script = output + ".gp", log = output + ".log";
  const auto text = [&](const std::string& target) {
    return terminal(canvas, ending) + fmt::format("set output {}\n", quoted(target)) + style() +
           body + "unset output\n";
  };
  atomic_write_text(script, text(partial));
  try {
    run(script, log);
    sync_and_rename(partial, output);
  } catch (...) {
    for (const auto& path : {partial, log, script}) remove_file(path);
    throw;
  }
  remove_file(log);
  if (canvas.keep_script)
    atomic_write_text(script, text(output));
  else
    remove_file(script);
}

}  // namespace

const char* style() { return kStyle; }

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "''" : c == '\n' ? " " : std::string(1, c);
  return out + "'";
}

const char* series_colour(size_t index) {
  static const char* const colours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                        "#E69F00", "#56B4E9", "#000000", "#6A3D9A",
                                        "#8B4513", "#7F7F7F", "#B2182B", "#999933"};
  return colours[index % 12];
}

const char* series_dash(size_t index) {
  static const char* const dashes[] = {"solid", "(6,2)", "(2,1.5)", "(7,2,1.5,2)", "(10,3)"};
  return dashes[index % 5];
}

Header header(const Canvas& canvas, const std::vector<std::string>& names) {
  const double line = 1.5 * canvas.font_pt / 72 / canvas.height_in;  // fraction of the height
  Header out;
  double at = 1 - 0.3 * line;
  if (!canvas.title.empty()) {
    out.script = fmt::format("set label {} at screen 0.5, screen {:.4f} center noenhanced\n",
                             quoted(canvas.title), at - 0.5 * line);
    at -= 1.2 * line;
  }
  if (names.empty()) {
    out.script += "unset key\n";
  } else {
    size_t longest = 0;
    for (const auto& name : names) longest = std::max(longest, name.size());
    // A letter is about 0.62 of the font's size wide, a sample of the line eight letters; gnuplot
    // keeps the legend within the axes.
    const auto fit = static_cast<size_t>(
        canvas.width_in * 0.75 / (0.62 * canvas.font_pt / 72 * static_cast<double>(longest + 8)));
    const size_t columns = std::clamp<size_t>(fit, 1, names.size()),
                 rows = (names.size() + columns - 1) / columns;
    out.script += fmt::format(
        "set key at screen 0.5, screen {:.4f} center top horizontal maxcols {} reverse Left\n", at,
        columns);
    at -= line * static_cast<double>(rows);
  }
  out.top = at - 0.4 * line;
  return out;
}

std::string margins(double left, double right, double bottom, double top) {
  return fmt::format(
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\nset bmargin at screen "
      "{:.4f}\nset tmargin at screen {:.4f}\n",
      left, right, bottom, top);
}

void draw(const Canvas& canvas, const std::string& body) {
  for (const auto& output : canvas.outputs) draw_one(canvas, output, body);
}

}  // namespace dissent::report
