#pragma once
#include <cstdint>
#include <deque>
#include <vector>

#include "train/heads/head_plan.hpp"

namespace dissent {

/// Groups steps into waves of steps that share no member. Such steps commute exactly: only a
/// member's own steps change its weights, optimiser state and step count, and a loss couples only
/// the active members of its step. Within the look-ahead window, a step joins the wave if none of
/// its members is active in an earlier pending step, so each member trains its steps in order.
class WavePlanner {
 public:
  /// Steps [first, end) of `steps`, which has to outlive this.
  WavePlanner(const std::vector<Step>& steps, int64_t first, int64_t end, int64_t look_ahead);
  /// Positions of the next wave's steps, ascending; empty when all are done.
  std::vector<int64_t> next();
  /// Ends the plan after the last step returned so far. The remaining waves hold the earlier steps
  /// that are still pending, so that the completed steps have no gaps.
  void drain();
  /// One past the last step of the plan: after the last wave, all steps before it are done.
  int64_t end() const { return end_; }

 private:
  const std::vector<Step>& steps_;
  int64_t look_ahead_, next_, end_, given_;
  std::deque<int64_t> window_;
};

/// All waves of the steps, for simulation and tests.
std::vector<std::vector<int64_t>> make_waves(const std::vector<Step>& steps,
                                             int64_t look_ahead = 64);

}  // namespace dissent
