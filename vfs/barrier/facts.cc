#include "barrier/facts.h"

#include <algorithm>

#include "format/wal_index.h"

namespace lockscope::barrier {
namespace {

std::string FromTo(const char* what, std::uint64_t then, std::uint64_t now) {
  return std::string(what) + " went from " + std::to_string(then) + " to " + std::to_string(now);
}

std::string WalChanged(const Facts& then, const Facts& now, Kind kind) {
  if (now.wal_file != then.wal_file) return "the -wal is another file now";
  if (now.shm != then.shm) return "the -shm is another file now";
  const bool writers_go_on = kind == Kind::kSnapshot;
  if (writers_go_on ? now.max_frame < then.max_frame : now.max_frame != then.max_frame) {
    return FromTo("the WAL's frames", then.max_frame, now.max_frame);
  }
  if (then.max_frame > 0 && (now.salt1 != then.salt1 || now.salt2 != then.salt2)) {
    return "the WAL was restarted";
  }
  if (now.backfilled != then.backfilled) {
    return FromTo("the frames checkpointed", then.backfilled, now.backfilled);
  }
  if (now.backfill_attempted != then.backfill_attempted) {
    return "a checkpoint was begun";
  }
  if (!writers_go_on && now.wal_file_bytes != then.wal_file_bytes) {
    return FromTo("the size of the WAL", then.wal_file_bytes, now.wal_file_bytes);
  }
  return {};
}

}  // namespace

std::uint64_t Facts::WalBytes() const {
  if (max_frame == 0) return 0;
  const std::uint64_t frame_bytes = format::kFrameHeaderBytes + page_size;
  return std::min(wal_file_bytes, format::kWalHeaderBytes + max_frame * frame_bytes);
}

std::string WhatChanged(const Facts& then, const Facts& now, Kind kind) {
  if (now.database != then.database) return "the database is another file now";
  if (now.wal != then.wal) return "the journal mode was changed";
  if (now.database_bytes != then.database_bytes) {
    return FromTo("the size of the database", then.database_bytes, now.database_bytes);
  }
  if (now.change_counter != then.change_counter) {
    return FromTo("the database's change counter", then.change_counter, now.change_counter);
  }
  if (now.database_written_ns != then.database_written_ns) {
    return "somebody wrote to the database's file";
  }
  return then.wal ? WalChanged(then, now, kind) : std::string();
}

std::vector<File> FilesOf(const Member& member, const Facts& facts) {
  std::vector<File> files;
  files.push_back({.database = member.path,
                   .schema = member.schema,
                   .path = member.path,
                   .role = Role::kDatabase,
                   .bytes = facts.database_bytes,
                   .frames = std::nullopt,
                   .id = facts.database});
  if (facts.max_frame > 0) {
    files.push_back({.database = member.path,
                     .schema = member.schema,
                     .path = member.path + "-wal",
                     .role = Role::kWal,
                     .bytes = facts.WalBytes(),
                     .frames = facts.max_frame,
                     .id = facts.wal_file});
  }
  return files;
}

}  // namespace lockscope::barrier
