#pragma once
#include <memory>
#include <string>

#include "comm/communicator.hpp"
#include "jobs/folder_lock.hpp"

namespace dissent::cli {

/// Locks a folder that the ranks of `comm` write together. Rank 0 holds the lock
/// (jobs::FolderLock); the others get nullptr and wait without a timeout. Makes the folder of the
/// lock. Collective.
std::unique_ptr<jobs::FolderLock> lock_folder(Communicator& comm, const std::string& place,
                                              const std::string& what, const std::string& other);

}  // namespace dissent::cli
