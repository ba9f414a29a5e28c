// What a sidecar asks of the file system that it lies on, and of the process's limits, before it is
// made or grows.
#pragma once

#include <cstdint>
#include <string>

namespace lockscope::ledger {

inline constexpr const char* kCopiesOnWrite = "is on a file system that copies on write";

// Empty where a shared mapping and its locks mean the same to every process that can open the file,
// and what is allocated can be written for ever after. Of btrfs only WriteInPlace() can tell. What
// lies below an overlay cannot be seen: it is taken to be fit.
std::string WhyUnfit(const std::string& path);

// Of an empty file btrfs can be asked to write in place. True elsewhere.
bool WriteInPlace(int fd);

// Beyond the process's limit for files the kernel would send SIGXFSZ.
bool WithinFileLimit(std::uint64_t bytes);

// SQLite is to open more files yet: the last descriptors are not for us.
bool DescriptorsToSpare();

// Whether the file system has that much and more: the last room is SQLite's. Where it can be told
// before, nobody else finds it full while we try.
bool HasRoom(int fd, std::uint64_t bytes);

bool WriteZeros(int fd, std::uint64_t offset, std::uint64_t bytes);

}  // namespace lockscope::ledger
