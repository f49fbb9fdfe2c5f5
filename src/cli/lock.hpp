#pragma once
#include <memory>
#include <string>

#include "comm/communicator.hpp"
#include "jobs/folder_lock.hpp"

namespace dissent::cli {

/// The lock of what the ranks of `comm` write together: the first rank holds it (jobs::FolderLock),
/// the others have nullptr, and wait for as long as it takes. Makes the lock's folder. Collective.
std::unique_ptr<jobs::FolderLock> lock_folder(Communicator& comm, const std::string& place,
                                              const std::string& what, const std::string& other);

}  // namespace dissent::cli
