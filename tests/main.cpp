// main of the one-process tests.
#include <gtest/gtest.h>

#include "core/parallel.hpp"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  dissent::set_threads(1);
  return RUN_ALL_TESTS();
}
