#pragma once

// Constants of a formula that is both a loss and a score, so that the two agree.
namespace dissent {

/// Added inside the logarithm of A2D. SED's released code has the same value.
/// Ref: SED diverse_universe/train/losses.py a2d_loss_impl.
inline constexpr double kA2dEps = 1e-9;

}  // namespace dissent
