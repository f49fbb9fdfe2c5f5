#include "config/document.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <variant>

#include "unit/config/sample.hpp"

using namespace dissent;
using namespace dissent::config;

namespace {

/// Files in a folder of their own, gone after the test.
class Files : public ::testing::Test {
 protected:
  Files()
      : folder_(std::filesystem::temp_directory_path() /
                ("dissent_config_test." + std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_ / "sub");
  }
  ~Files() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return path(name);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::vector<std::string> errors(const std::string& name) const {
    return error_lines([&] { load_document(read_sources(path(name))); });
  }

  std::filesystem::path folder_;
};

std::string text_at(const Document& document, const std::string& key) {
  const Node* node = document.find(key);
  return node ? node->text() + " @ " + node->source.text() : "not written";
}

}  // namespace

TEST_F(Files, IncludingFileWinsTablesMergeArraysReplace) {
  write("base.toml", "a = 1\nlist = [1, 2, 3]\n[t]\nx = 1\ny = 1\n");
  write("sub/second.toml", "include = [\"../third.toml\"]\n[t]\ny = 2\nz = 2\n");
  write("third.toml", "[t]\nz = 3\nw = 3\n");
  const std::string main = write(
      "main.toml", "include = [\"base.toml\", \"sub/second.toml\"]\nlist = [9]\n[t]\nx = 4\n");
  const Document document = load_document(read_sources(main));
  EXPECT_EQ(text_at(document, "a"), "1 @ " + path("base.toml") + ":1:5");
  EXPECT_EQ(text_at(document, "list"), "[9] @ " + main + ":2:8");
  EXPECT_EQ(text_at(document, "t.x"), "4 @ " + main + ":4:5");  // the including file wins
  EXPECT_EQ(text_at(document, "t.y"),
            "2 @ " + path("sub/second.toml") + ":3:5");  // the later include wins
  EXPECT_EQ(text_at(document, "t.z"),
            "2 @ " + path("sub/second.toml") + ":4:5");  // over what it includes itself
  EXPECT_EQ(text_at(document, "t.w"),
            "3 @ " + path("third.toml") + ":3:5");  // relative to the including file
  EXPECT_EQ(text_at(document, "include"), "not written");
}

TEST_F(Files, SourcesAloneMakeTheDocument) {
  write("base.toml", "a = 1\n");
  const std::string sources =
      read_sources(write("main.toml", "include = [\"base.toml\"]\nb = \"two\\nlines\"\n"));
  std::filesystem::remove_all(folder_);  // as on a rank that does not see the file system of rank 0
  const Document document = load_document(sources);
  EXPECT_EQ(text_at(document, "a"), "1 @ " + path("base.toml") + ":1:5");
  EXPECT_EQ(text_at(document, "b"), "\"two\\nlines\" @ " + path("main.toml") + ":2:5");
}

TEST_F(Files, MissingIncludesAreAllNamedWithTheirPlaces) {
  const std::string main = write("main.toml", "a = 1\ninclude = [\n  \"gone.toml\",\n  \"sub\"]\n");
  EXPECT_EQ(errors("main.toml"),
            (std::vector<std::string>{main + ":3:3: include: cannot read " + path("gone.toml") +
                                          ": No such file or directory",
                                      main + ":4:3: include: cannot read " + path("sub") +
                                          ": expected a file, found a folder"}));
}

TEST_F(Files, MissingMainFile) {
  EXPECT_EQ(errors("gone.toml"),
            std::vector<std::string>{path("gone.toml") +
                                     ": cannot read the configuration: No such file or directory"});
}

TEST_F(Files, AMarkAndCrlfAreNoPartOfTheText) {
  write("sub/b.toml", "\xEF\xBB\xBF[b]\r\nx = 2\r\n");
  const auto document = load_document(read_sources(
      write("main.toml",
            "\xEF\xBB\xBFinclude = [\"sub/b.toml\"]\r\na = \"\"\"\r\none\r\ntwo\"\"\"\r\n")));
  EXPECT_EQ(text_at(document, "b.x"), "2 @ " + path("sub/b.toml") + ":2:5");
  EXPECT_TRUE(text_at(document, "a").starts_with("\"one\\ntwo\""));
  write("wide.toml", std::string("\xFF\xFE"
                                 "a\0",
                                 4));
  EXPECT_EQ(errors("wide.toml"),
            std::vector<std::string>{path("wide.toml") +
                                     ": cannot read the configuration: expected text in UTF-8, "
                                     "found the mark of UTF-16 or UTF-32; save it as UTF-8"});
}

TEST_F(Files, CycleNamesItsChain) {
  write("a.toml", "include = [\"sub/b.toml\"]\n");
  write("sub/b.toml", "\ninclude = [\"../c.toml\"]\n");
  write("c.toml", "include = [\"./sub/b.toml\"]\n");
  const std::string a = path("a.toml"), b = path("sub/b.toml"), c = path("c.toml");
  EXPECT_EQ(errors("a.toml"),
            std::vector<std::string>{c + ":1:12: include: files include each other: " + a + " -> " +
                                     b + " -> " + c + " -> " + b});
}

TEST_F(Files, SameFileTwiceIsNoCycle) {
  write("base.toml", "a = 1\n");
  write("left.toml", "include = [\"base.toml\"]\n");
  write("right.toml", "include = [\"base.toml\"]\na = 2\n");
  write("main.toml", "include = [\"right.toml\", \"left.toml\"]\n");
  EXPECT_EQ(text_at(load_document(read_sources(path("main.toml"))), "a"),
            "1 @ " + path("base.toml") + ":1:5");
}

TEST_F(Files, IncludeOfAnotherType) {
  const std::string main = write("main.toml", "include = \"base.toml\"\n");
  EXPECT_EQ(errors("main.toml"),
            std::vector<std::string>{
                main + ":1:11: include: expected a list of strings, found \"base.toml\""});
  write("main.toml", "include = [1]\n");
  EXPECT_EQ(errors("main.toml"),
            std::vector<std::string>{main + ":1:12: include: expected a string, found 1"});
}

TEST_F(Files, SyntaxErrorsOfEveryFileAtOnce) {
  // An include can only be followed from a file that parses.
  const std::string one = write("1.toml", "a = 1\na = 2\n"), two = write("2.toml", "\n[b\n");
  write("main.toml", "include = [\"1.toml\", \"2.toml\", \"1.toml\"]\n");
  const auto lines = errors("main.toml");
  ASSERT_EQ(lines.size(), 2u);  // one of them included twice
  EXPECT_TRUE(lines[0].starts_with(one + ":2:") &&
              lines[0].ends_with("cannot redefine existing integer 'a'"))
      << lines[0];
  EXPECT_TRUE(lines[1].starts_with(two + ":2:3: ")) << lines[1];
}

TEST(Document, SyntaxErrorsHaveTheirPlace) {
  const auto first = [](const std::string& text) {
    return error_lines([&] { document_of(text); })[0];
  };
  EXPECT_TRUE(first("a = \n").starts_with("run.toml:1:5: ")) << first("a = \n");
  EXPECT_TRUE(first("a = 1\nb = \"open\n").starts_with("run.toml:2:10: "))
      << first("a = 1\nb = \"open\n");
  const std::string huge = first("\nn = 9223372036854775808");  // one more than an integer holds
  EXPECT_TRUE(huge.starts_with("run.toml:2:") &&
              huge.ends_with("'9223372036854775808' is not representable in 64 bits"))
      << huge;
  EXPECT_TRUE(first("a = 1\n[=]\n").starts_with("run.toml:2:2: ")) << first("a = 1\n[=]\n");
  EXPECT_EQ(first("[t]\n[t]\n"),
            "run.toml:2:1: Error while parsing table header: cannot redefine existing table 't'");
}

// A table in a table in a table: walking and deleting them takes stack for each.
TEST(Document, KeysOfManyPartsAreRefused) {
  std::string key = "a";
  for (int i = 1; i < 50000; ++i) key += ".a";
  for (const auto& text : {key + " = 1\n", "[" + key + "]\n", "a = { " + key + " = 1 }\n"})
    EXPECT_TRUE(error_lines([&] { document_of("x = 1\n" + text); })[0].ends_with(
        ": expected keys of at most 16 parts, found one of 50000"));
  EXPECT_EQ(error_lines([&] { document_of("x = 1\n  " + key.substr(0, 33) + " = 1\n"); }),
            (std::vector<std::string>{"run.toml:2:3: expected keys of at most 16 parts, found one "
                                      "of 17"}));
  const auto lines = error_lines([&] { document_of("", {key + "=1"}); });
  EXPECT_TRUE(lines[0].ends_with(": expected keys of at most 16 parts, found one of 50000"));
  // A value is no key.
  EXPECT_EQ(text_at(document_of("", {"b=" + key.substr(0, 39)}), "b"),
            "\"" + key.substr(0, 39) + "\" @ --set");
}

// Each stands for two of the one before: 40 of them for 2^40 bytes.
TEST(Document, VariablesThatDoubleEachOtherAreRefused) {
  std::string text = "y = \"${v40}\"\n[variables]\nv0 = \"b\"\n";
  for (int i = 1; i <= 40; ++i)
    text += fmt::format("v{} = \"${{v{}}}${{v{}}}\"\n", i, i - 1, i - 1);
  const auto lines = error_lines([&] { document_of(text); });
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_TRUE(lines[0].find("expected variables that stand for at most 1000 others and 65536 "
                            "bytes, found more") != std::string::npos)
      << lines[0];
  const auto wide = "y = \"${v}${v}${v}\"\n[variables]\nv = \"" + std::string(60000, 'b') + "\"\n";
  EXPECT_EQ(error_lines([&] { document_of(wide); })[0],
            "run.toml:1:5: y: expected variables that stand for at most 1000 others and 65536 "
            "bytes, found more");
}

TEST(Document, OverridesHaveTomlTypesOrAreBareStrings) {
  const Document document =
      document_of("[t]\nkept = 1\nx = 1\n",
                  {"t.x=2", "t.f=1e-3", "t.b=true", "t.s=\"3\"", "t.bare=data/in_val.cache",
                   "t.run=run#3", "t.list=[1, 2]", "new.deep.key = 7", "t.\"a=b\"=1", "t.x=5"});
  const auto text = [&](const std::string& key) { return text_at(document, key); };
  EXPECT_EQ(text("t.kept"), "1 @ run.toml:2:8");
  EXPECT_EQ(text("t.x"), "5 @ --set");  // the last one wins
  EXPECT_TRUE(std::holds_alternative<int64_t>(document.find("t.x")->data));
  EXPECT_TRUE(std::holds_alternative<double>(document.find("t.f")->data));
  EXPECT_TRUE(std::holds_alternative<bool>(document.find("t.b")->data));
  EXPECT_EQ(text("t.s"), "\"3\" @ --set");
  EXPECT_EQ(text("t.bare"), "\"data/in_val.cache\" @ --set");
  EXPECT_EQ(text("t.run"), "\"run#3\" @ --set");
  EXPECT_EQ(text("t.list"), "[1, 2] @ --set");
  EXPECT_EQ(text("new.deep.key"), "7 @ --set");
  EXPECT_EQ(text("t.a=b"), "1 @ --set");
  EXPECT_EQ(document.source_of("t.gone").text(),
            "run.toml:1:1");  // an override below does not move its table
}

TEST(Document, BadOverridesAreAllNamed) {
  const auto lines = error_lines([] {
    document_of("", {"novalue", "a..b=1", "=1", "a=", "a=[1", "a=\"x", "a=1\nb=2", "include=x"});
  });
  ASSERT_EQ(lines.size(), 8u);
  EXPECT_EQ(lines[0], "--set: \"novalue\": expected table.key=value on one line");
  EXPECT_EQ(lines[1],
            "--set: \"a..b=1\": expected a key such as loss.a2d.weight before '=', found \"a..b\"");
  EXPECT_EQ(lines[2],
            "--set: \"=1\": expected a key such as loss.a2d.weight before '=', found \"\"");
  EXPECT_EQ(lines[3], "--set: \"a=\": expected a value after '=' (the empty string is \"\")");
  EXPECT_TRUE(lines[4].starts_with("--set: \"a=[1\": Error while parsing array")) << lines[4];
  EXPECT_TRUE(lines[5].starts_with("--set: \"a=\\\"x\": Error while parsing string")) << lines[5];
  EXPECT_EQ(lines[6], "--set: \"a=1\\nb=2\": expected table.key=value on one line");
  EXPECT_EQ(lines[7], "--set: \"include=x\": expected include in a file, found it in an override");
}

TEST(Document, FindsElementsAndPlacesOfWhatIsNotWritten) {
  const Document document =
      document_of("[loss.a2d]\nweight = 1\n[[evaluate.sets]]\n[[evaluate.sets]]\nname = \"é\"\n");
  EXPECT_EQ(text_at(document, "evaluate.sets[1].name"), "\"é\" @ run.toml:5:8");
  for (const auto* key : {"evaluate.sets[0].name", "evaluate.sets[2]", "evaluate.sets[x]",
                          "loss.a2d.weight.more", "loss[0]", ".", "["})
    EXPECT_EQ(document.find(key), nullptr) << key;
  EXPECT_EQ(document.source_of("loss.a2d.from_epoch").text(), "run.toml:1:1");
  EXPECT_EQ(document.source_of("evaluate.sets[0].name").text(), "run.toml:3:1");
  EXPECT_EQ(document.source_of("grid.members").text(), "run.toml");
}

TEST_F(Files, VariablesStandForTheirValuesInAnyText) {
  write("files.toml",
        "[variables]\nfolder = \"data\"\nend = \"cache\"\nn = 4\nall = \"${folder}/x_${n}\"\n");
  const std::string main = write("main.toml",
                                 "include = [\"files.toml\"]\na = \"${all}.${end}\"\n[t]\nlist = "
                                 "[\"${folder}/*\", \"$HOME ${end}\"]\n[[s]]\npath = \"${end}\"\n");
  const auto text = [&](const Document& document, const std::string& key) {
    return document.find(key)->text();
  };
  const Document document = load_document(read_sources(main));
  EXPECT_EQ(text(document, "a"), "\"data/x_4.cache\"");
  EXPECT_EQ(text(document, "t.list"), "[\"data/*\", \"$HOME cache\"]");
  EXPECT_EQ(text(document, "s[0].path"), "\"cache\"");
  EXPECT_EQ(document.find("variables"), nullptr);
  const Document other =
      load_document(read_sources(main), {"variables.end=hdf5", "t.list=[\"${end}\"]"});
  EXPECT_EQ(text(other, "a"), "\"data/x_4.hdf5\"");
  EXPECT_EQ(text(other, "t.list"), "[\"hdf5\"]");
}

TEST_F(Files, WrongVariablesAreNamedWithTheirPlaces) {
  const std::string main =
      write("main.toml",
            "a = \"${folde}/x\"\nb = \"${open\"\n[variables]\nfolder = \"data\"\nflag = true\nx = "
            "\"${y}\"\ny = \"${x}\"\n[t]\nc = \"${x}\"\n");
  EXPECT_EQ(errors("main.toml"),
            (std::vector<std::string>{
                main + ":1:5: a: expected a variable of [variables] (flag, folder, x, y), found "
                       "'folde'; did you mean 'folder'?",
                main + ":2:5: b: expected } after '${open'",
                main + ":5:8: variables.flag: expected a string or a number, found true",
                main + ":6:5: variables.x: refers to itself: x -> y -> x"}));
  write("none.toml", "a = \"${x}\"\n");
  EXPECT_EQ(errors("none.toml"),
            (std::vector<std::string>{path("none.toml") + ":1:5: a: expected a variable of "
                                                          "[variables] (none exists), found 'x'"}));
}

// A variable of an override that no file has is one that a text refers to, or misspelt.
TEST_F(Files, AnOverrideOfAnUnknownVariableIsAnError) {
  write("files.toml", "[variables]\nformat = \"cache\"\nunread = 1\n");
  const std::string main = write("main.toml", "include = [\"files.toml\"]\na = \"x.${format}\"\n");
  const auto overridden = [&](const std::string& text) {
    return error_lines([&] { load_document(read_sources(main), {text}); });
  };
  EXPECT_EQ(overridden("variables.formt=hdf5"),
            (std::vector<std::string>{"--set: variables.formt: expected a variable of [variables] "
                                      "(format, unread), found 'formt'; did you mean 'format'?"}));
  EXPECT_NO_THROW(load_document(read_sources(main), {"variables.unread=2"}));
  EXPECT_NO_THROW(
      load_document(read_sources(main), {"variables.other=2", "a=\"${other}.${format}\""}));
}
