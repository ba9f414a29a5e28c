#include "barrier_session.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "barrier/manifest.h"
#include "format/database_header.h"
#include "insight/summary.h"
#include "kernel/descriptors.h"
#include "lockscope.h"

namespace lockscope::tools {
namespace {

using barrier::Kind;
using std::chrono::milliseconds;

// ---- options ----

// ---- the databases ----

// Two names of one file, by hard links, are one database.
void DropOtherNames(Databases& databases) {
  std::vector<FileId> seen;
  std::erase_if(databases.found, [&seen](const Databases::Named& database) {
    const FileId id = kernel::StatPath(database.path).value_or(kernel::FileStat{}).id;
    if (!id.known()) return false;
    if (std::find(seen.begin(), seen.end(), id) != seen.end()) return true;
    seen.push_back(id);
    return false;
  });
}

bool IsUtf8(const std::string& text) {
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

// The list of files is a line each, the manifest JSON.
bool CanBeListed(const std::string& path) {
  if (path.find('\n') != std::string::npos) {
    Complain(path + ": a list of files cannot say a line feed in a name");
    return false;
  }
  if (!IsUtf8(path)) {
    Complain(path + ": JSON cannot say a name that is no UTF-8");
    return false;
  }
  return true;
}

// The first is "main", as in SQLite; the others have no names of their own.
std::vector<barrier::Member> MembersOf(const Databases& databases) {
  std::vector<barrier::Member> members;
  for (const auto& database : databases.found) {
    const std::size_t number = members.size() + 1;
    members.push_back({.schema = number == 1 ? "main" : "db" + std::to_string(number),
                       .path = database.path,
                       .vfs = {}});
  }
  return members;
}

// As long as the barrier is held this cannot change. An empty file is in no WAL mode.
bool InWalMode(const std::string& path) {
  const auto facts = kernel::StatPath(path);
  if (!facts) return false;
  const auto fd = kernel::ReadableDescriptor(path, facts->id, kernel::OpenFiles::Scan());
  if (!fd.ok()) return false;
  std::array<std::uint8_t, format::kDatabaseHeaderBytes> head{};
  const auto read = kernel::ReadAt(fd.value(), facts->id, 0, head);
  if (!read) return false;
  const auto header = format::DecodeDatabaseHeader(std::span(head).first(*read));
  return header && header->wal();
}

// ---- words ----

std::string Joined(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

int StatusOf(const Status& refused) {
  return (refused.code & 0xff) == SQLITE_BUSY ? kExitTryAgain : kExitWrong;
}

}  // namespace

void AddBarrierOptions(CLI::App& command, BarrierWords& words) {
  command
      .add_option_function<std::string>(
          "--kind",
          [&words](const std::string& text) {
            const auto kind = barrier::ParseKind(text);
            if (!kind) {
              throw CLI::ValidationError(
                  "--kind", "no kind is called '" + text + "': snapshot, write, exclusive");
            }
            words.kind = *kind;
          },
          "snapshot (writers go on, in WAL mode), write (the files stand still), exclusive; "
          "snapshot is the default")
      ->type_name("K");
  AddTimeSpan(command, "--timeout", words.timeout,
              "how long to try for: 300ms, 5s, 2m, 1h, bare = seconds; 5s is the default");
  AddTimeSpan(command, "--max-hold", words.max_hold,
              "how long to hold at most; without it, or 0: no limit");
  command.add_flag("--no-sync", words.no_sync,
                   "do not wait until what was committed is on the disk (kind snapshot)");
}

std::unique_ptr<BarrierSession> BarrierSession::Begin(const BarrierWords& words,
                                                      const std::string& label, int& status) {
  Databases databases = Find(words.databases);
  status = kExitWrong;
  if (!databases.all_found) return nullptr;
  DropOtherNames(databases);
  for (const auto& database : databases.found) {
    if (CanBeListed(database.path)) continue;
    status = kExitUsage;
    return nullptr;
  }
  if (lockscope_register(nullptr, nullptr, 0) != SQLITE_OK) {
    Complain("SQLite cannot be used");
    return nullptr;
  }
  auto acquired = barrier::Barrier::Acquire({.kind = words.kind,
                                             .members = MembersOf(databases),
                                             .timeout = words.timeout,
                                             .max_hold = words.max_hold,
                                             .label = label,
                                             .interrupted = {}});
  if (!acquired.ok()) {
    Complain(acquired.status().message);
    status = StatusOf(acquired.status());
    return nullptr;
  }
  std::unique_ptr<BarrierSession> session(new BarrierSession(words, std::move(databases)));
  session->since_ = Clock::now();
  session->barrier_ = std::move(acquired.value());
  // The other kinds have been synced.
  const bool sync = words.kind == Kind::kSnapshot && !words.no_sync;
  Status ready = sync ? session->barrier_->Sync() : Status{};
  if (ready.ok()) ready = session->barrier_->Check();
  if (!ready.ok()) {
    Complain(ready.message);
    return nullptr;
  }
  for (const auto& database : session->databases_.found) {
    (InWalMode(database.path) ? session->wal_ : session->rollback_).push_back(database.name);
  }
  const auto ms = session->barrier_->acquired_in().count();
  Complain("barrier on " + session->Names() + " in " +
           (ms > 0 ? insight::HumanDuration(ms) : "under 1 ms") + " (" + barrier::Name(words.kind) +
           "; " + session->WhatOthersDo() + ")");
  status = kExitWell;
  return session;
}

std::string BarrierSession::Names() const {
  std::vector<std::string> names;
  for (const auto& database : databases_.found) names.push_back(database.name);
  return Joined(names);
}

std::string BarrierSession::WhatOthersDo() const {
  const std::string wal = wal_.empty() || rollback_.empty() ? "" : " in " + Joined(wal_);
  const std::string rollback = wal.empty() ? "" : " in " + Joined(rollback_);
  switch (words_.kind) {
    case Kind::kSnapshot:
      if (rollback_.empty()) return "writers go on, checkpoints wait";
      if (wal_.empty()) return "readers go on, writers wait";
      return "writers go on" + wal + ", wait" + rollback;
    case Kind::kWrite:
      return "readers go on, writers wait";
    case Kind::kExclusive:
      if (rollback_.empty()) return "readers go on, writers wait";
      if (wal_.empty()) return "nobody else is in";
      return "readers go on" + wal + ", nobody else is" + rollback;
  }
  return {};
}

std::string BarrierSession::Manifest() const { return barrier::Manifest(*barrier_); }

std::string BarrierSession::FileList() const {
  std::string list;
  for (const barrier::File& file : barrier_->files()) list += file.path + "\n";
  return list;
}

std::optional<milliseconds> BarrierSession::HoldLeft() const {
  if (words_.max_hold.count() == 0) return std::nullopt;
  return std::chrono::ceil<milliseconds>(since_ + words_.max_hold - Clock::now());
}

milliseconds BarrierSession::UntilNextCheck() const {
  const auto left = HoldLeft();
  if (!left) return kHeartbeat;
  return std::clamp(*left + milliseconds(1), milliseconds(1), kHeartbeat);
}

bool BarrierSession::Stands() {
  if (failed_.ok()) failed_ = barrier_->Check();
  return failed_.ok();
}

Verdict BarrierSession::End() {
  const auto held = std::chrono::duration_cast<milliseconds>(Clock::now() - since_);
  const std::string held_for = "held " + insight::HumanDuration(held.count());
  const Status released = barrier_->Release();
  if (barrier_->state() == barrier::Barrier::State::kExpired) {
    return {kExitOver, "hold time over after " + insight::HumanDuration(words_.max_hold.count()) +
                           ", the locks were let go: throw the copy away"};
  }
  if (!released.ok()) return {kExitFailed, released.message + "; throw the copy away"};
  if (!failed_.ok()) return {kExitFailed, failed_.message + "; throw the copy away"};
  const std::size_t count = databases_.found.size();
  const std::string unchanged = count == 1   ? databases_.found.front().name
                                : count == 2 ? "both databases"
                                             : "all " + std::to_string(count) + " databases";
  return {kExitWell, held_for + ", " + unchanged + " unchanged"};
}

}  // namespace lockscope::tools
