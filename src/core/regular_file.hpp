#pragma once
#include <string>

namespace dissent {

// Every reader of a file checks this first: opening a FIFO blocks, a device may never end, and for
// a folder the system's message is not helpful.

/// What a path is if it is not a regular file: "a folder", "a FIFO", "a character device", "a block
/// device", "a socket". Empty for a file, and if the path does not exist or cannot be seen (the
/// reader reports why).
std::string other_than_a_file(const std::string& path);
/// Error::kData "PATH: expected a file, found a FIFO" if the path is something else.
void expect_regular_file(const std::string& path);
/// Opens a regular file for reading, close-on-exec; never blocks on a FIFO. Error::kData: not a
/// regular file, or the system's reason. The caller closes the descriptor.
int open_regular_file(const std::string& path);

}  // namespace dissent
