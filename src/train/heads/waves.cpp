#include "train/heads/waves.hpp"

#include <algorithm>
#include <unordered_set>

namespace dissent {

WavePlanner::WavePlanner(const std::vector<Step>& steps, int64_t first, int64_t end,
                         int64_t look_ahead)
    : steps_(steps), look_ahead_(look_ahead), next_(first), end_(end), given_(first) {}

std::vector<int64_t> WavePlanner::next() {
  // The window holds the steps that are still to run, in the order of the plan: those that waited
  // in earlier waves, then new ones.
  while (static_cast<int64_t>(window_.size()) < look_ahead_ && next_ < end_)
    window_.push_back(next_++);

  // Steps of the window in order. A step that waits blocks its members for all later ones.
  std::vector<int64_t> wave;
  std::deque<int64_t> waiting;
  std::unordered_set<int64_t> blocked;
  for (const int64_t at : window_) {
    const auto& active = steps_[at].active;
    const bool free = std::none_of(active.begin(), active.end(),
                                   [&](int64_t member) { return blocked.contains(member); });
    if (free) {
      wave.push_back(at);
    } else {
      waiting.push_back(at);
    }

    // Members of a step that joined the wave are blocked too: a wave has each member at most once.
    blocked.insert(active.begin(), active.end());
  }

  // drain() ends the plan after the last step that a wave has contained.
  window_.swap(waiting);
  if (!wave.empty()) given_ = std::max(given_, wave.back() + 1);
  return wave;
}

void WavePlanner::drain() {
  // Later steps have not begun, so they are dropped. Earlier ones that wait stay in the window, and
  // the next waves fill the gaps.
  end_ = given_;
  while (!window_.empty() && window_.back() >= end_) window_.pop_back();
  next_ = std::min(next_, end_);
}

std::vector<std::vector<int64_t>> make_waves(const std::vector<Step>& steps, int64_t look_ahead) {
  WavePlanner planner(steps, 0, static_cast<int64_t>(steps.size()), look_ahead);
  std::vector<std::vector<int64_t>> waves;
  for (auto wave = planner.next(); !wave.empty(); wave = planner.next()) waves.push_back(wave);
  return waves;
}

}  // namespace dissent
