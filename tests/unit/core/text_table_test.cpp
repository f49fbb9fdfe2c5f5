#include <optional>

#include "core/text_table.hpp"

#include <gtest/gtest.h>

#include "core/enum_names.hpp"

namespace dissent {
namespace {

const TableRows kRows{{"name", "value"}, {"ß", "1.5"}, {"longer name", "-"}};

TEST(TextTable, ColumnsAreAlignedByCharacters) {
  EXPECT_EQ(plain_table(kRows, left_then_right(1, 1), 2),
            "  name         value\n"
            "  ß              1.5\n"
            "  longer name      -\n");
}

TEST(TextTable, BlanksAtTheEndOfLinesAreLeftOut) {
  EXPECT_EQ(plain_table({{"a", "b"}, {"c", ""}}, left_then_right(2, 0)), "a  b\nc\n");
}

TEST(TextTable, MarkdownHasTheAlignmentBelowTheHeader) {
  EXPECT_EQ(markdown_table({{"a", "b"}, {"c", "10.25"}}, left_then_right(1, 1)),
            "| a   |     b |\n"
            "|-----|------:|\n"
            "| c   | 10.25 |\n");
}

enum class Colour { kRed, kBlue };
constexpr EnumName<Colour> kColours[] = {{Colour::kRed, "red"}, {Colour::kBlue, "blue"}};

TEST(EnumNames, OneTableGivesNamesAndValues) {
  EXPECT_STREQ(name_in(kColours, Colour::kBlue), "blue");
  EXPECT_EQ(value_in(kColours, "red"), Colour::kRed);
  EXPECT_EQ(value_in(kColours, "green"), std::nullopt);
  EXPECT_EQ(names_in(kColours), "red, blue");
}

}  // namespace
}  // namespace dissent
