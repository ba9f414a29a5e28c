// Facts: what of a database must not change while a barrier holds it. Noted after the last lock,
// read again at release, and compared: that is the proof.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "barrier/kinds.h"
#include "model/file_id.h"

namespace lockscope::barrier {

struct Facts {
  FileId database;  // of the path, by stat()
  std::uint64_t database_bytes = 0;
  std::int64_t database_written_ns = 0;  // its st_mtim: whoever writes to it, with or without locks
  std::uint32_t change_counter = 0;      // of the file's header; 0 of an empty file
  bool wal = false;

  // All that follows is 0 in the rollback modes.
  FileId wal_file;
  FileId shm;
  std::uint64_t wal_file_bytes = 0;
  std::uint32_t max_frame = 0;
  std::uint32_t page_size = 0;
  std::uint32_t salt1 = 0;
  std::uint32_t salt2 = 0;
  std::uint32_t backfilled = 0;
  std::uint32_t backfill_attempted = 0;

  // Bytes of the WAL that belong to the barrier's instant; 0 without frames.
  std::uint64_t WalBytes() const;
};

// What of it changed that may not, in words; empty where nothing did. Under a snapshot writers go
// on: frames may be added, and the WAL's file may grow or lose its unused tail. Salts mean nothing
// until there is a frame: the first writer of an empty WAL chooses them.
std::string WhatChanged(const Facts& then, const Facts& now, Kind kind);

// The files of a copy. A WAL without frames is left out: a writer may have restarted the wal-index
// and not yet the file, which then still has the old header and old frames.
std::vector<File> FilesOf(const Member& member, const Facts& facts);

}  // namespace lockscope::barrier
