// A sidecar whose header is right, whose owner lives, and whose contents are anything. Whoever
// looks gets an answer: valid UTF-8, no more rows than there is room for, soon. Groups:
//   HostileTest   whole regions of maximal values and of noise; every word by itself; full files
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "core/session.h"
#include "insight/table.h"
#include "kernel/process.h"
#include "scene.h"
#include "sidecar.h"

namespace lockscope::testing {
namespace {

using ledger::ConnectionRecord;
using ledger::kBlockByte;
using ledger::kBlockBytes;
using ledger::kBlockRecords;
using ledger::kFirstRecord;
using Json = nlohmann::ordered_json;

// The words of a block, at rest and of open connections.
class Block {
 public:
  static constexpr std::size_t kWords = kBlockBytes / 8;

  // Of a process that lives: this one's child.
  explicit Block(pid_t pid) {
    Process().pid = static_cast<std::uint64_t>(pid);
    Process().pid_namespace = kernel::OwnPidNamespace().value_or(0);
    Process().start_boottime = kernel::ProcessStartBoottimeNs(pid).value_or(0);
    Process().instance = 77;
    Process().flags = ledger::ProcessFlags{.ticks = ledger::CurrentTickSource()}.Pack();
    for (std::size_t i = 0; i < kBlockRecords; ++i) {
      Identity(i).state = 1;
      Identity(i).number = i + 1;
      Identity(i).flags = 3;
    }
  }

  std::uint64_t* words() { return words_.data(); }
  const std::uint64_t* words() const { return words_.data(); }

  using ProcessWords = ledger::ProcessLayout<std::uint64_t>;
  using IdentityWords = ledger::IdentityLayout<std::uint64_t>;
  using BarrierWords = ledger::BarrierNoteLayout<std::uint64_t>;
  ProcessWords& Process() { return At<ProcessWords>(8); }
  IdentityWords& Identity(std::size_t record) { return At<IdentityWords>(Record(record) + 8); }
  ledger::SlotCopy& Slot(std::size_t record) {
    return At<ledger::SlotCopy>(Record(record) + offsetof(ConnectionRecord, slot) + 8);
  }
  BarrierWords& Barrier(std::size_t record) {
    return At<BarrierWords>(Record(record) + offsetof(ConnectionRecord, barrier) + 8);
  }
  // Each sequence counter is that of words at rest.
  void Rest() {
    words_[0] = 0;
    for (std::size_t i = 0; i < kBlockRecords; ++i) {
      for (const std::size_t part :
           {offsetof(ConnectionRecord, identity), offsetof(ConnectionRecord, slot),
            offsetof(ConnectionRecord, barrier)}) {
        words_[(Record(i) + part) / 8] = 0;
      }
    }
  }
  void Fill(std::size_t first_byte, std::size_t bytes, std::uint64_t value) {
    std::fill_n(words_.begin() + static_cast<std::ptrdiff_t>(first_byte / 8), bytes / 8, value);
  }
  void FillRecords(std::size_t part, std::size_t bytes, std::uint64_t value) {
    for (std::size_t i = 0; i < kBlockRecords; ++i) Fill(Record(i) + part, bytes, value);
  }
  static std::size_t Record(std::size_t record) {
    return kFirstRecord + record * sizeof(ConnectionRecord);
  }

 private:
  template <class Layout>
  Layout& At(std::size_t offset) {
    return *reinterpret_cast<Layout*>(words_.data() + offset / 8);
  }

  std::vector<std::uint64_t> words_ = std::vector<std::uint64_t>(kWords);
};

bool IsUtf8(const std::string& text) {
  try {
    (void)Json(text).dump();  // strict
    return true;
  } catch (const Json::exception&) {
    return false;
  }
}

// A look at the tables from this process takes so long at most, whatever it finds.
constexpr std::chrono::seconds kPatience(10);

class HostileTest : public ::testing::TestWithParam<const char*> {
 protected:
  HostileTest() {
    CreateDatabase(db_, {.journal_mode = GetParam()});
    owner_.Open("c", db_);
    owner_.Exec("c", "begin immediate; insert into t(v) values (1)");
    sidecar_ = std::make_unique<Sidecar>(db_);
    sidecar_->WriteHeader(HeaderOf(db_));
    sidecar_->Hold(kBlockByte);
  }

  Block NewBlock() { return Block(owner_.pid()); }
  void Publish(const Block& block, std::uint32_t number = 0) const {
    sidecar_->Write(ledger::BlockOffset(number), block.words(), kBlockBytes);
  }

  // Every table, as SQL and as JSON, and what these commands say.
  void LookEverywhere(std::size_t blocks = 1, const std::vector<const char*>& commands = {}) {
    const auto begun = std::chrono::steady_clock::now();
    Db looker(":memory:");
    const std::size_t connections = blocks * kBlockRecords;
    for (const insight::Table& table : insight::AllTables()) {
      SCOPED_TRACE(table.name);
      const std::string name = std::string("lockscope_") + table.name;
      const auto rows = looker.Query("select * from " + name + "(" + Quote(db_) + ")");
      // Events are the most that a connection has.
      EXPECT_LE(rows.size(), 100 + connections * ledger::kRingEvents);
      if (table.name == std::string("blockers")) {
        EXPECT_LE(rows.size(), 10'000U);
      }
      for (const Row& row : rows) {
        for (const std::string& column : row) EXPECT_TRUE(IsUtf8(column)) << column;
      }
      const std::string json =
          looker.Query("select lockscope_json(" + Quote(name) + ", " + Quote(db_) + ")")[0][0];
      EXPECT_TRUE(IsUtf8(json));
      EXPECT_TRUE(Json::accept(json)) << json.substr(0, 1000);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begun, kPatience);
    for (const char* command : commands) {
      SCOPED_TRACE(command);
      // What the JSON has escaped, the terminal gets too.
      for (const char* form : {"--json", "--"}) {
        const ProgramResult result = RunProgram({.argv = {LOCKSCOPE_COMMAND, command, form, db_}});
        EXPECT_LE(result.exit_code, 1) << result;
        EXPECT_GE(result.exit_code, 0) << result;
        EXPECT_TRUE(IsUtf8(result.out));
        if (form == std::string("--json")) {
          EXPECT_TRUE(Json::accept(result.out)) << result;
        }
        EXPECT_EQ(result.out.find('\x1b'), std::string::npos);
      }
    }
  }

  std::size_t Connections() {
    Db looker(":memory:");
    return looker
        .Query("select 1 from lockscope_connections(" + Quote(db_) + ") where source = 'shim'")
        .size();
  }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
  Actor owner_;
  std::unique_ptr<Sidecar> sidecar_;
};
INSTANTIATE_TEST_SUITE_P(Journals, HostileTest, ::testing::Values("wal", "delete"));

constexpr std::uint64_t kMost = ~std::uint64_t{0};
// `why` looks twice, with half a second in between: not for each of them.
std::vector<const char*> WhyOf(std::uint64_t value) {
  return value == kMost ? std::vector<const char*>{"why"} : std::vector<const char*>{};
}
const std::vector<std::uint64_t> kExtremes = {kMost, kMost - 1, std::uint64_t{1} << 63,
                                              (std::uint64_t{1} << 63) - 1, 1};

TEST_P(HostileTest, WhatIsRightIsShown) {
  Publish(NewBlock());
  EXPECT_EQ(Connections(), kBlockRecords);
}

TEST_P(HostileTest, WithoutALiveOwnerNothingIsShown) {
  Publish(NewBlock());
  sidecar_->LetGo(kBlockByte);
  EXPECT_EQ(Connections(), 0U);
  // A lock of another kind, or on another byte, is nobody's life.
  sidecar_->Hold(kBlockByte + 1);
  EXPECT_EQ(Connections(), 0U);
}

TEST_P(HostileTest, AStartThatIsNotThePidsIsNobodys) {
  Block block = NewBlock();
  block.Process().start_boottime += 1;
  Publish(block);
  EXPECT_EQ(Connections(), 0U);
  for (const std::uint64_t pid : kExtremes) {
    block.Process().pid = pid == 1 ? std::uint64_t{1} << 31 : pid;
    Publish(block);
    EXPECT_EQ(Connections(), 0U) << pid;
  }
}

TEST_P(HostileTest, MaximalProcess) {
  for (const std::uint64_t value : kExtremes) {
    Block block = NewBlock();
    const auto good = block.Process();
    block.Fill(8, sizeof good, value);
    // As far as it has to be right to be believed at all.
    block.Process().instance = good.instance;
    block.Process().flags = good.flags;
    Publish(block);
    LookEverywhere(1, WhyOf(value));
    block.Process().pid = good.pid;
    block.Process().pid_namespace = good.pid_namespace;
    block.Process().start_boottime = good.start_boottime;
    Publish(block);
    EXPECT_EQ(Connections(), kBlockRecords);
    LookEverywhere(1, WhyOf(value));
  }
}

TEST_P(HostileTest, MaximalIdentities) {
  for (const std::uint64_t value : kExtremes) {
    Block block = NewBlock();
    block.FillRecords(8, sizeof(Block::IdentityWords), value);
    for (std::size_t i = 0; i < kBlockRecords; ++i) block.Identity(i).state = 1 + i % 2;
    Publish(block);
    LookEverywhere(1, WhyOf(value));
  }
}

TEST_P(HostileTest, MaximalSlots) {
  for (const std::uint64_t value : kExtremes) {
    Block block = NewBlock();
    block.FillRecords(offsetof(ConnectionRecord, slot) + 8,
                      sizeof(ledger::SlotCopy) + sizeof(ledger::SqlCopy), value);
    Publish(block);
    LookEverywhere(1, WhyOf(value));
    // All hold what there is, and want what there is.
    for (std::size_t i = 0; i < kBlockRecords; ++i) {
      block.Slot(i).held = 0x1ffffffff04;
      const Event want{.operation = Operation::kShmLock,
                       .resource = Resource::kWalWrite,
                       .count = 8,
                       .to = LockMode::kExclusive};
      block.Slot(i).want = want.Pack();
      block.Slot(i).sleeping = 1;
    }
    Publish(block);
    LookEverywhere(1, WhyOf(value));
  }
}

TEST_P(HostileTest, MaximalRings) {
  for (const std::uint64_t value : kExtremes) {
    Block block = NewBlock();
    block.FillRecords(offsetof(ConnectionRecord, ring), sizeof(ledger::EventRing), value);
    Publish(block);
    LookEverywhere(1, WhyOf(value));
  }
}

TEST_P(HostileTest, MaximalStats) {
  for (const std::uint64_t value : kExtremes) {
    Block block = NewBlock();
    block.FillRecords(offsetof(ConnectionRecord, stats), sizeof(ledger::LockStats), value);
    block.Fill(ledger::kRegistryPage, sizeof(ledger::LockStats), value);
    Publish(block);
    LookEverywhere(1, WhyOf(value));
  }
}

TEST_P(HostileTest, MaximalBarriers) {
  for (const std::uint64_t value : kExtremes) {
    Block block = NewBlock();
    block.FillRecords(offsetof(ConnectionRecord, barrier) + 8, sizeof(Block::BarrierWords), value);
    for (std::size_t i = 0; i < kBlockRecords; ++i) {
      block.Identity(i).flags = 7;
      block.Barrier(i).present = 1;
      block.Barrier(i).state = i % 3;
      block.Barrier(i).token.words[0] = value - i;  // each a barrier of its own
    }
    Publish(block);
    LookEverywhere(1, WhyOf(value));
  }
}

TEST_P(HostileTest, Noise) {
  for (unsigned seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    Block block = NewBlock();
    for (std::size_t i = 0; i < Block::kWords; ++i) {
      // Small numbers mean something more often.
      block.words()[i] = random() >> (random() % 8) * 8;
    }
    block.Process() = NewBlock().Process();
    block.Rest();
    for (std::size_t i = 0; i < kBlockRecords; ++i) {
      block.Identity(i).state = random() % 3;
      block.Barrier(i).present = 1;
      block.Barrier(i).state = random() % 4;
      if (random() % 2 == 0) block.Identity(i).flags = random() % 8;
    }
    Publish(block);
    LookEverywhere(1, {"why", "connections", "locks", "snapshots", "wal", "events", "stats",
                       "blockers", "barriers"});
  }
}

// A process that was stopped in mid-update, or says so, is not waited for.
TEST_P(HostileTest, AllInMidUpdate) {
  Block block = NewBlock();
  block.FillRecords(0, 8, 1);
  Publish(block);
  EXPECT_EQ(Connections(), 0U);
  LookEverywhere();
  block = NewBlock();
  block.FillRecords(offsetof(ConnectionRecord, slot), 8, kMost);
  Publish(block);
  LookEverywhere();
  block = NewBlock();
  block.words()[0] = 1;
  Publish(block);
  LookEverywhere(1, {"why"});
}

TEST_P(HostileTest, AFileThatEndsAnywhere) {
  const Block block = NewBlock();
  Publish(block);
  for (const std::uint64_t bytes :
       {ledger::kRegistryPage, ledger::kRegistryPage + 1, ledger::kRegistryPage + kBlockBytes - 1,
        ledger::kRegistryPage + kFirstRecord + 100}) {
    sidecar_->Resize(bytes);
    EXPECT_EQ(Connections(), 0U);
    LookEverywhere();
  }
}

// Without SQL, so that there is time for each.
TEST_P(HostileTest, EveryWordByItself) {
  const Block good = NewBlock();
  Block published = good;
  std::vector<std::size_t> offsets;
  const auto words_of = [&](std::size_t first_byte, std::size_t words) {
    for (std::size_t i = 0; i < words; ++i) offsets.push_back(first_byte / 8 + i);
  };
  words_of(0, 10);
  words_of(8 + offsetof(Block::ProcessWords, command), 1);
  words_of(Block::Record(3), 13);
  words_of(Block::Record(3) + offsetof(ConnectionRecord, slot), 33);
  words_of(Block::Record(3) + offsetof(ConnectionRecord, ring), 1);
  words_of(Block::Record(3) + offsetof(ConnectionRecord, barrier), 6);
  for (const std::size_t offset : offsets) {
    for (const std::uint64_t value : {kMost, std::uint64_t{1} << 63}) {
      SCOPED_TRACE("word " + std::to_string(offset));
      published = good;
      published.Identity(3).flags = 7;
      published.Barrier(3).present = 1;
      published.words()[offset] = value;
      Publish(published);
      const insight::Look look = insight::Look::At({db_});
      for (const insight::Table& table : insight::AllTables()) {
        EXPECT_TRUE(Json::accept(insight::ToJson(table, table.rows(look, {}))));
      }
    }
  }
}

// As many connections as there can be, each of which wants what all others hold.
TEST_P(HostileTest, AFileFullOfConnectionsIsAnswered) {
  Block block = NewBlock();
  for (std::size_t i = 0; i < kBlockRecords; ++i) {
    block.Slot(i).held = 0x1ffffffff04;
    block.Slot(i).want = Event{.operation = Operation::kShmLock,
                               .resource = Resource::kWalWrite,
                               .to = LockMode::kExclusive}
                             .Pack();
    block.Slot(i).sleeping = 1;
    block.Identity(i).flags = 3;
  }
  constexpr std::uint32_t kBlocks = 64;
  for (std::uint32_t i = 0; i < kBlocks; ++i) {
    block.Process().instance = 1000 + i;
    Publish(block, i);
  }
  sidecar_->Resize(ledger::BlockOffset(ledger::kBlocksMax));
  sidecar_->Hold(kBlockByte, ledger::kBlocksMax);
  EXPECT_EQ(Connections(), kBlocks * kBlockRecords);
  LookEverywhere(kBlocks, {"why"});
}

}  // namespace
}  // namespace lockscope::testing
