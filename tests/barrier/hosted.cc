#include "barrier/hosted.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "support/subprocess.h"

namespace lockscope::testing {

int Rounds() {
  static const int rounds = [] {
    const char* text = std::getenv("LOCKSCOPE_ROUNDS");
    return text != nullptr && std::atoi(text) > 0 ? std::atoi(text) : 5;
  }();
  return rounds;
}

namespace {

std::string NewRollbackDatabase(const std::string& file) {
  CreateDatabase(file, {.journal_mode = "delete"});
  return file;
}

}  // namespace

UnreadDb::UnreadDb(const std::string& file, const std::string& journal_mode)
    : Db(NewRollbackDatabase(file)) {
  Exec("select count(*) from t");
  Actor changer;
  changer.Open("c", file);
  changer.Exec("c", "pragma journal_mode = " + journal_mode);
  changer.Quit();
}

HostProcess::HostProcess(const Options& options) : Actor(options) {
  Load("loader", LOCKSCOPE_LOADABLE_FILE);
}

std::string BarrierSql(const Barrier& barrier) {
  return "select lockscope_barrier(" + Quote(barrier.kind) + ", " +
         std::to_string(barrier.timeout_ms) + ", " + Quote(barrier.schemas) + ", " +
         std::to_string(barrier.max_hold_ms) + ")";
}

std::string Answered(const Reply& reply) {
  return reply.ok() ? reply.text() : std::to_string(reply.code) + " " + reply.message;
}

std::string Checked(Db& host, const std::string& token) {
  return Answered(host.Try("select lockscope_barrier_check(" + Quote(token) + ")"));
}

std::string Released(Db& host, const std::string& token) {
  return Answered(host.Try("select lockscope_barrier_release(" + Quote(token) + ")"));
}

std::vector<std::string> KernelLocks(const std::string& path, pid_t pid) {
  std::vector<std::string> locks = LocksOf(path, pid);
  for (const std::string& lock : LocksOf(path + "-shm", pid)) locks.push_back("shm " + lock);
  return locks;
}

// Through the manifest: the table would need the schema, which an exclusive barrier locks.
std::vector<ListedFile> ListedFiles(Db& host, const std::string& token) {
  const auto manifest =
      nlohmann::json::parse(host.Value("select lockscope_barrier_manifest(" + Quote(token) + ")"));
  std::vector<ListedFile> files;
  for (const auto& row : manifest) {
    files.push_back({.schema = row.at("schema"),
                     .path = row.at("path"),
                     .role = row.at("role"),
                     .bytes = row.at("bytes"),
                     .frames = row.at("frames").is_null() ? 0 : row.at("frames").get<int>()});
  }
  return files;
}

std::string Roles(const std::vector<ListedFile>& files) {
  std::string roles;
  for (const ListedFile& file : files) roles += (roles.empty() ? "" : " ") + file.role;
  return roles;
}

void CopyRange(const std::string& from, const std::string& to, std::int64_t start,
               std::int64_t end) {
  const ProgramResult copied =
      RunProgram({.argv = {"dd", "if=" + from, "of=" + to, "bs=64K",
                           "skip=" + std::to_string(start), "count=" + std::to_string(end - start),
                           "seek=" + std::to_string(start), "iflag=skip_bytes,count_bytes",
                           "oflag=seek_bytes", "conv=notrunc", "status=none"}});
  if (!copied.ok()) throw std::runtime_error("dd: " + copied.err);
}

std::string CopyFiles(const std::vector<ListedFile>& files, const std::string& folder, Copy how) {
  std::filesystem::create_directory(folder);
  std::string first;
  for (const ListedFile& file : files) {
    const std::string to = folder + "/" + std::filesystem::path(file.path).filename().string();
    if (how == Copy::kWhole) {
      CopyFile(file.path, to);
    } else {
      CopyRange(file.path, to, 0, file.bytes);
    }
    if (first.empty()) first = to;
  }
  return first;
}

std::string CopyListed(Db& host, const std::string& token, const std::string& folder, Copy how) {
  return CopyFiles(ListedFiles(host, token), folder, how);
}

std::string Verdict(const std::string& path) {
  Actor reader;
  reader.Open("c", path);
  std::string verdict = Answered(reader.Try("c", "pragma integrity_check"));
  verdict += " " + Answered(reader.Try("c", "select sum(v) from t"));
  verdict += " " + Answered(reader.Try("c", "select count(*) from t"));
  return verdict;
}

std::string TransactionsSql(int count) {
  std::string sql;
  for (int i = 1; i <= count; ++i) {
    const std::string amount = std::to_string(1 + i % 90);
    const std::string id = std::to_string(1 + i * 7 % 90);
    sql += "begin immediate; update t set v = v + " + amount + " where id = " + id +
           "; update t set v = v - " + amount + ", pad = randomblob(300) where id = 100 + " + id +
           "; insert into t(v, pad) values(0, randomblob(300)); commit;";
  }
  return sql;
}

}  // namespace lockscope::testing
