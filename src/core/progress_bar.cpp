#include "core/progress_bar.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

namespace dissent {
namespace {
constexpr double kRedrawSeconds = 0.2;
constexpr int kBarWidth = 24;

double seconds_between(std::chrono::steady_clock::time_point a,
                       std::chrono::steady_clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}
}  // namespace

std::string duration_text(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
                   : fmt::format("{}:{:02}", s / 60, s % 60);
}

ProgressBar::ProgressBar(std::string title, int64_t total, std::string unit, bool silent,
                         double plain_every_s)
    : title_(std::move(title)),
      total_(total),
      unit_(std::move(unit)),
      silent_(silent),
      terminal_(isatty(STDERR_FILENO) == 1),
      plain_every_s_(plain_every_s),
      start_(Clock::now()),
      last_(start_) {}

ProgressBar::~ProgressBar() {
  if (open_) std::fputc('\n', stderr);
}

std::string ProgressBar::line(int64_t done, const std::string& detail) const {
  const double elapsed = seconds_between(start_, Clock::now());
  // The time left assumes the mean rate so far; an empty total counts as done.
  const double share = total_ > 0 ? static_cast<double>(done) / static_cast<double>(total_) : 1;
  const double rate = elapsed > 0 ? static_cast<double>(done) / elapsed : 0;
  const std::string left = done > 0 && done < total_ ? duration_text(elapsed * (1 - share) / share)
                           : done >= total_          ? "0:00"
                                                     : "?";

  const int filled = static_cast<int>(share * kBarWidth);
  const std::string bar = terminal_ ? fmt::format(" [{}{}]", std::string(filled, '='),
                                                  std::string(kBarWidth - filled, ' '))
                                    : "";
  return fmt::format("{}{} {:3.0f}% {} {:.0f} {}/s, {} left", title_, bar, share * 100, detail,
                     rate, unit_, left);
}

void ProgressBar::update(int64_t done, const std::string& detail) {
  done_ = done;
  detail_ = detail;
  if (silent_) return;

  // Redrawing is limited, so that logs and terminals are not flooded.
  const auto now = Clock::now();
  if (seconds_between(last_, now) < (terminal_ ? kRedrawSeconds : plain_every_s_)) return;

  last_ = now;
  if (terminal_) {
    std::fprintf(stderr, "\r%s\033[K", line(done, detail).c_str());
    open_ = true;
  } else {
    std::fprintf(stderr, "%s\n", line(done, detail).c_str());
  }
  std::fflush(stderr);
}

void ProgressBar::finish() {
  if (silent_) return;
  std::fprintf(stderr, "%s%s%s\n", terminal_ ? "\r" : "", line(done_, detail_).c_str(),
               terminal_ ? "\033[K" : "");
  std::fflush(stderr);
  open_ = false;
}

}  // namespace dissent
