#pragma once
#include <cstdint>
#include <deque>
#include <vector>

#include "train/heads/head_plan.hpp"

namespace dissent {

/// Groups steps into waves of steps that share no member. Such steps commute exactly: a member's
/// weights, optimiser state and step count are touched by its own steps only, and a loss couples
/// only the members of its step. Within the look-ahead window a step is taken into the wave if no
/// earlier pending step holds one of its members, so each member sees its steps in order.
class WavePlanner {
 public:
  /// Steps [first, end) of `steps`, which has to outlive this.
  WavePlanner(const std::vector<Step>& steps, int64_t first, int64_t end, int64_t look_ahead);
  /// Positions of the next wave's steps, ascending; empty when all are done.
  std::vector<int64_t> next();
  /// Ends at the shortest prefix that holds every step given out so far: the waves still to come
  /// fill its gaps.
  void drain();
  /// First position that is not part of the plan (any more): after the last wave, all steps before
  /// it are done.
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
