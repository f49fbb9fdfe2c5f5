#include "core/edited_text.hpp"

#include <gtest/gtest.h>

#include <dissent/error.hpp>

using namespace dissent;

namespace {

std::string refusal(const std::string& bytes) {
  try {
    edited_text(bytes, "list.txt");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST(EditedText, MarksAndEndsOfLinesAreNoPartOfIt) {
  for (const char* text : {"a 1\nb 2\n",
                           "\xEF\xBB\xBF"
                           "a 1\nb 2\n",
                           "a 1\r\nb 2\r\n",
                           "\xEF\xBB\xBF"
                           "a 1\r\nb 2\r\n",
                           "a 1\rb 2\r", "a 1\r\nb 2\n"})
    EXPECT_EQ(edited_text(text, "list.txt"), "a 1\nb 2\n") << text;
  EXPECT_EQ(edited_text("", "list.txt"), "");
  EXPECT_EQ(edited_text("\xEF\xBB\xBF", "list.txt"), "");
  // A mark further on, and a CR inside a line, are the author's.
  EXPECT_EQ(edited_text("a\xEF\xBB\xBF\n", "list.txt"), "a\xEF\xBB\xBF\n");
  EXPECT_EQ(edited_text("a\rb\n", "list.txt"), "a\rb\n");
}

TEST(EditedText, OtherEncodingsAreNamed) {
  using namespace std::string_literals;
  EXPECT_EQ(
      refusal("\xFF\xFE"
              "a\0"s),
      "list.txt: expected text in UTF-8, found the mark of UTF-16 or UTF-32; save it as UTF-8");
  EXPECT_EQ(refusal("\xFE\xFF\0a"s), refusal("\xFF\xFE"));
  EXPECT_EQ(refusal("a\0b\0"s),
            "list.txt: expected text in UTF-8, found a zero byte at byte 1: the file is "
            "UTF-16 or binary; save it as UTF-8");
}
