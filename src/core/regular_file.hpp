#pragma once
#include <string>

namespace dissent {

// Every reader of a file asks here first: a FIFO would be waited for without end, a device may
// never end, and a folder gives the system's least helpful message.

/// What lies at a path that is no regular file: "a folder", "a FIFO", "a character device", "a
/// block device", "a socket". Empty for a file, and where nothing can be seen (the reader says
/// why).
std::string other_than_a_file(const std::string& path);
/// Error::kData "PATH: expected a file, found a FIFO" if something else lies there.
void expect_regular_file(const std::string& path);
/// Opens a regular file for reading, closed on exec; never waits for a FIFO's writer. Error::kData:
/// something else, or the system's reason. Whoever calls closes the descriptor.
int open_regular_file(const std::string& path);

}  // namespace dissent
