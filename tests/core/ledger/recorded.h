// A connection of the process's ledger, driven by hand: what the shim does, without SQLite.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "ledger/ledger.h"

namespace lockscope::ledger {

// A name that no other test uses: the ledger keeps what it knows for the life of the process.
inline std::string NewPath() {
  static std::atomic<int> number{0};
  return "/recorded/" + std::to_string(++number) + ".db";
}

inline DatabaseFilter OfPath(const std::string& path) {
  return [path](const std::string& other, const FileId&) { return other == path; };
}

// An open connection; closed with its object.
class Recorded {
 public:
  explicit Recorded(std::string path = NewPath()) : path_(std::move(path)) {
    PrepareClock();
    connection_ = Ledger::Process().Open();
    ConnectionInfo info;
    info.path = path_;
    info.opened = Now();
    Ledger::Process().Opened(*connection_, info);
  }
  ~Recorded() { Close(); }
  Recorded(const Recorded&) = delete;
  Recorded& operator=(const Recorded&) = delete;

  void Close() {
    if (connection_ != nullptr) Ledger::Process().Close(*connection_);
    connection_ = nullptr;
  }

  Connection* operator->() { return connection_; }
  const std::string& path() const { return path_; }

  ConnectionView View() const {
    const auto views = Ledger::Process().Connections(OfPath(path_));
    EXPECT_EQ(views.size(), 1U);
    return views.at(0);
  }
  ConnectionEvents Events() const {
    const auto events = Ledger::Process().Events(OfPath(path_));
    EXPECT_EQ(events.size(), 1U);
    return events.at(0);
  }
  // "lock database NONE SHARED 0", one for each event.
  std::vector<std::string> Story() const {
    std::vector<std::string> story;
    for (const RecordedEvent& recorded : Events().events) {
      const Event& event = recorded.event;
      story.push_back(std::string(Name(event.operation)) + " " + event.ResourceName() + " " +
                      Name(event.from) + " " + Name(event.to) + " " + std::to_string(event.result));
    }
    return story;
  }
  std::vector<WaitNote> Waits() const {
    const auto notes = Ledger::Process().Notes(OfPath(path_));
    EXPECT_EQ(notes.size(), 1U);
    return notes.at(0).waits;
  }
  StatCounts Stats(Resource resource, LockMode mode) const {
    const auto stats = Ledger::Process().Stats(OfPath(path_));
    EXPECT_LE(stats.size(), 1U);
    return stats.empty() ? StatCounts{} : stats[0].kinds.at(StatIndex(resource, mode));
  }

 private:
  std::string path_;
  Connection* connection_ = nullptr;
};

}  // namespace lockscope::ledger
