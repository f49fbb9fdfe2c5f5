// A folder that stands for "/": files of /proc and /sys with the text that a test gives them.
#pragma once
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace dissent::testing {

struct FakeRoot {
  FakeRoot() {
    static int count = 0;
    path = (std::filesystem::temp_directory_path() /
            ("dissent_root_" + std::to_string(::getpid()) + "_" + std::to_string(count++)))
               .string();
  }
  ~FakeRoot() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path + name).parent_path());
    std::ofstream(path + name) << text;
  }
  std::string path;
};

}  // namespace dissent::testing
