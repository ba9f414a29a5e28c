// What somebody else sees of the processes that use a database: this process, or the command. And
// what lies in the sidecar, as the kernel tells.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace lockscope::testing {

using Json = nlohmann::ordered_json;

// The rows of one look at a table ("locks") by a connection of this process that has no database.
Json SeenHere(const std::string& table, const std::string& path);

// Those in which `column` is `value`.
Json Where(const Json& rows, const std::string& column, const Json& value);
inline Json OfPid(const Json& rows, pid_t pid) { return Where(rows, "pid", pid); }
inline Json FromShim(const Json& rows) { return Where(rows, "source", "shim"); }
inline Json FromKernel(const Json& rows) { return Where(rows, "source", "kernel"); }
// What the rows have in a column, sorted, each once.
std::vector<Json> Values(const Json& rows, const std::string& column);

std::string Sidecar(const std::string& path);
// The numbers of the sidecar's blocks that somebody holds; none where there is no sidecar.
std::vector<std::uint32_t> BlocksHeld(const std::string& path);
// The descriptors of this process that are the sidecar; of its name, also where that is gone.
std::vector<int> SidecarDescriptors(const std::string& path);

// LOCKSCOPE_ROUNDS of the environment, else `otherwise`.
int RoundsOr(int otherwise);
// LOCKSCOPE_SEED of the environment, else another one each time; printed.
std::uint64_t Seed();

// Dead, with all its threads: nobody of that number, or one that is only waited for.
bool IsDead(pid_t pid);

}  // namespace lockscope::testing
