#include "core/toml_keys.hpp"

#include <gtest/gtest.h>

#include <string>

using namespace dissent;

namespace {

std::string dotted(int64_t parts, const std::string& part = "a") {
  std::string key = part;
  for (int64_t i = 1; i < parts; ++i) key += "." + part;
  return key;
}

}  // namespace

TEST(TomlKeys, LongOnesAreFoundWhereverAKeyMayStand) {
  for (const std::string& part :
       {std::string("a-1_"), std::string("\"a.\\\"b\""), std::string("'#'"), std::string(" a\t")}) {
    EXPECT_FALSE(long_key(dotted(kMostKeyParts, part) + " = 1\n"));
    for (const char* before :
         {"", "x = 1\ny = [\n", "x = { ", "[", "[[", "x = 'it # is' # a \"\n"}) {
      const auto key = long_key(before + dotted(100000, part) + " = 1\n");
      ASSERT_TRUE(key) << before << part;
      EXPECT_EQ(key->parts, 100000);
    }
  }
  const auto key =
      long_key("# " + dotted(40) + "\nb = '" + dotted(40) + "'\n  " + dotted(17) + " = 1");
  ASSERT_TRUE(key);
  EXPECT_EQ(key->line, 3);
  EXPECT_EQ(key->column, 3);
  EXPECT_EQ(key->parts, 17);
}

TEST(TomlKeys, OtherTextsHaveNone) {
  EXPECT_FALSE(long_key(""));
  EXPECT_FALSE(long_key(std::string(1000, '.')));
  EXPECT_FALSE(
      long_key("a = [1.5, 2.5, 3.5]\n# " + dotted(100) + "\nb = \"" + dotted(100) + "\"\n"));
  EXPECT_FALSE(long_key("a = \"open\nb = 'c\n"));
}
