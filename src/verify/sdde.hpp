#pragma once
#include <dissent/losses/dice.hpp>

#include <vector>

#include "losses/weighted_sum.hpp"
#include "verify/case.hpp"

namespace dissent::verify {

/// The objective of a case of sdde_losses.h5 from its parameters, which have SDDE's names.
std::vector<losses::LossTerm> sdde_terms(const Case& reference);
losses::DiceOptions dice_options(const Case& reference);

}  // namespace dissent::verify
