#include "scene.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <iterator>

#include "core/session.h"  // Quote
#include "support/subprocess.h"

namespace lockscope::testing {

Host::Host(bool shim, const Options& options) : Actor(options), shim_(shim) {
  Call("pid");  // a program that is still being loaded is not to be limited or counted
  if (shim) Load("m", LOCKSCOPE_LOADABLE_FILE);
}

std::string Host::Say(std::string_view command) {
  const Reply reply = Call(command);
  std::string said = std::to_string(reply.code) + " ";
  if (!reply.ok()) return said + reply.message;
  for (const Row& row : reply.rows) {
    for (const std::string& column : row) said += column + ",";
  }
  return said;
}

Lines Host::Registry(const std::string& db) {
  Lines lines;
  const auto rows = Query("m", "select registry from lockscope_connections(" + Quote(db) +
                                   ") where source = 'shim' and pid = " + std::to_string(pid()));
  for (const Row& row : rows) lines.push_back(row[0]);
  std::sort(lines.begin(), lines.end());
  return lines;
}

Lines RegistryFromOutside(const std::string& db) {
  Host looker(true);  // it ends: what a look has opened stays open, and keeps a file system mounted
  Lines lines;
  for (const Row& row :
       looker.Query("m", "select source, registry from lockscope_connections(" + Quote(db) + ")")) {
    lines.push_back(row[0] + " " + row[1]);
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

bool Exists(const std::string& path) {
  struct stat facts = {};
  return lstat(path.c_str(), &facts) == 0;
}

Thing Thing::At(const std::string& path) {
  struct stat facts = {};
  if (lstat(path.c_str(), &facts) != 0) return {};
  Thing thing{.mode = facts.st_mode,
              .inode = facts.st_ino,
              .links = facts.st_nlink,
              .owner = facts.st_uid,
              .bytes = facts.st_size,
              .contents = {}};
  if (S_ISLNK(facts.st_mode)) thing.contents = std::filesystem::read_symlink(path);
  if (S_ISREG(facts.st_mode)) thing.contents = ReadBytes(path, 0, 1 << 20);
  return thing;
}

std::ostream& operator<<(std::ostream& stream, const Thing& thing) {
  return stream << "mode " << std::oct << thing.mode << std::dec << ", inode " << thing.inode
                << ", links " << thing.links << ", owner " << thing.owner << ", bytes "
                << thing.bytes;
}

bool Succeeds(const std::vector<std::string>& argv) {
  try {
    return RunProgram({.argv = argv}).ok();
  } catch (const std::exception&) {
    return false;
  }
}

namespace {

Lines AllLocks(const std::string& db, pid_t pid) {
  Lines locks = LocksOf(db, pid);
  for (const std::string& lock : LocksOf(db + "-shm", pid)) locks.push_back("shm " + lock);
  return locks;
}

}  // namespace

Lines UseDatabase(Host& host, const std::string& db, Seen* seen) {
  const std::array<std::string, 4> begin = {"open c " + db, "exec c create table u(x)",
                                            "exec c insert into u values (1), (2)",
                                            "exec c begin immediate; insert into u values (3)"};
  const std::array<std::string, 5> end = {
      "query d select count(*) from u", "exec d insert into u values (9)", "exec c commit",
      "exec d insert into u values (4)", "query c select sum(x) from u"};
  Lines answers;
  for (const std::string& command : begin) answers.push_back(host.Say(command));
  const Lines held = AllLocks(db, host.pid());
  answers.push_back(host.Say("open d " + db));
  if (seen != nullptr) {
    seen->registry = host.Registry(db);
    seen->from_outside = RegistryFromOutside(db);
    const Lines still = AllLocks(db, host.pid());
    std::set_difference(held.begin(), held.end(), still.begin(), still.end(),
                        std::back_inserter(seen->locks_lost));
  }
  for (const std::string& command : end) answers.push_back(host.Say(command));
  for (const char* name : {"c", "d"}) answers.push_back(host.Say(std::string("close ") + name));
  answers.push_back(Exists(db + "-wal") ? "a WAL is left" : "no WAL is left");
  answers.push_back(host.alive() ? "alive" : "dead");
  return answers;
}

Scene::Scene(const std::string& journal_mode) {
  for (const std::string& db : {stock_db_, db_}) CreateDatabase(db, {.journal_mode = journal_mode});
}

void Scene::Prepare(const Preparation& preparation) const {
  preparation(stock_db_);
  preparation(db_);
}

Seen Scene::Use(Host& with, Host& without) const {
  Seen seen;
  const Lines stock = UseDatabase(without, stock_db_);
  const Lines shim = UseDatabase(with, db_, &seen);
  EXPECT_EQ(shim, stock);
  EXPECT_EQ(seen.locks_lost, Lines());
  EXPECT_EQ(IntegrityCheck(db_), "ok");
  return seen;
}

Seen Scene::Use() const {
  Host with(true);
  Host without(false);
  return Use(with, without);
}

}  // namespace lockscope::testing
