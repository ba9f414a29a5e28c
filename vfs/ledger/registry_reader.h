// RegistryReader: what other processes tell in the sidecar of one database.
//
// Reads with pread() only, takes no lock, changes nothing. Whoever can write to the sidecar can
// have written anything: all of it is bounds-checked, and only what a live owner holds is believed.
//
// Alive is who holds the lock on its block's byte and, where its pid means something here, is the
// process that started when it says, and no zombie. (A child that inherited the descriptor past
// every precaution holds the lock on.)
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ledger/registry_layout.h"
#include "ledger/sidecar_trust.h"
#include "ledger/views.h"
#include "model/file_id.h"

namespace lockscope::ledger {

class RegistryReader {
 public:
  // Of the database at `path`.
  RegistryReader(const std::string& path, const FileId& database);
  ~RegistryReader();
  RegistryReader(const RegistryReader&) = delete;
  RegistryReader& operator=(const RegistryReader&) = delete;

  // Why nothing can be read: "app.db-lockscope is a symbolic link". Empty where it can, and where
  // there is no sidecar: then nobody publishes.
  const std::string& unavailable() const { return unavailable_; }

  // Of all other processes that are alive now. What was in mid-update all the while is left out.
  std::vector<ConnectionView> Connections();
  // The same in less time: without the statements' texts, and the kernel is not asked which
  // processes have died and left their locks to a child.
  std::vector<ConnectionView> ConnectionsAtAGlance();
  // Whether a connection that was read here, and its process, are as they were then.
  bool Unchanged(const ConnectionView& view);
  std::vector<BarrierView> Barriers();
  // Also of closed connections whose records have not been used again.
  std::vector<ConnectionEvents> Events();
  // Likewise, of those that noted anything.
  std::vector<ConnectionNotes> Notes();
  std::vector<DatabaseStats> Stats();

 private:
  struct Owner {
    std::uint32_t block = 0;
    std::shared_ptr<const ProcessFacts> process;
  };

  HeaderState Open(const FileId& database);
  void CloseOpened(HeaderState state);
  bool ReadAt(std::uint64_t offset, void* to, std::size_t bytes) const;
  template <class Layout>
  bool ReadPublished(std::uint64_t offset, Layout& copy, int attempts = 50) const;
  void Pause() const;
  enum class Dead { kAsked, kNotAsked };
  std::vector<Owner> Owners(Dead dead);
  bool IsOf(std::uint32_t block, std::uint64_t wanted) const;
  using Alive = std::map<std::uint64_t, bool>;  // by instance
  std::shared_ptr<const ProcessFacts> OwnerOf(std::uint32_t block, Alive* alive);
  enum class Texts { kWith, kWithout };
  std::vector<ConnectionView> Views(Texts texts, Dead dead);
  template <class Found, class Read>
  std::vector<Found> OfOwners(Read read, Dead dead = Dead::kAsked);
  bool ReadTexts(std::uint64_t record, const SlotCopy& slot);
  bool ReadView(const Owner& owner, std::uint64_t record, Texts texts, ConnectionView& view);
  bool ReadBarrier(const Owner& owner, std::uint64_t record, BarrierView& barrier) const;
  bool ReadEvents(const Owner& owner, std::uint64_t record, EventRing& ring,
                  ConnectionEvents& events) const;
  bool ReadNotes(const Owner& owner, std::uint64_t record, ConnectionNotes& notes) const;
  void AddStats(std::uint64_t offset, LockStats& copy, DatabaseStats& sum) const;
  RecordState ReadIdentity(const Owner& owner, std::uint64_t record, ConnectionView& view) const;
  ConnectionView Identified(const Owner& owner, const IdentityLayout<std::uint64_t>& words) const;

  std::string path_;  // of the sidecar
  std::string database_path_;
  std::string unavailable_;
  int fd_ = -1;
  std::uint64_t own_namespace_ = 0;  // 0: pids of others mean nothing here
  mutable int pauses_left_ = 50;     // for what is in mid-update
  std::map<std::uint64_t, std::shared_ptr<const ProcessFacts>> processes_;  // by instance
  SqlCopy texts_{};  // of the record that is being read: those that it has
};

}  // namespace lockscope::ledger
