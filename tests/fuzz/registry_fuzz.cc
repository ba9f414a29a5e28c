// A sidecar that says anything, its owner alive: what other processes make of it.
//
//   1  the reader's answers are bounded, and of what the file has room for
//   2  every text of every table is UTF-8, and every table as JSON is JSON
//   3  the diagnosis is UTF-8 too
//
// An input begins with a byte of Choice. Then either come bytes that stand in the file as they are,
// or changes to a block that is right: a number of a word, two bytes, and its new value, eight.
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fuzz/check.h"
#include "fuzz/utf8.h"
#include "insight/diagnosis.h"
#include "insight/table.h"
#include "kernel/process.h"
#include "ledger/registry_layout.h"
#include "ledger/registry_reader.h"
#include "support/temp_dir.h"

namespace lockscope::fuzz {
namespace {

using ledger::ConnectionRecord;
using ledger::kBlockRecords;

// Bits of an input's first byte.
struct Choice {
  bool raw;         // all bytes that follow, from the header on
  bool raw_block;   // behind a header that is right
  bool own_pid;     // the pid of who looks; else of a process that uses the database
  bool two_owners;  // the second block is one more of the same process
  bool barriers;    // all of them are connections of barriers
  bool cut;         // the file ends with the input

  explicit Choice(std::uint8_t bits)
      : raw((bits & 1) != 0),
        raw_block((bits & 2) != 0),
        own_pid((bits & 4) != 0),
        two_owners((bits & 8) != 0),
        barriers((bits & 16) != 0),
        cut((bits & 32) != 0) {}
};

constexpr std::size_t kUsedRecords = 2;
constexpr std::size_t kUsedBytes = ledger::kFirstRecord + kUsedRecords * sizeof(ConnectionRecord);
constexpr std::size_t kUsedWords = kUsedBytes / 8;

constexpr std::size_t Record(std::size_t record) {
  return ledger::kFirstRecord + record * sizeof(ConnectionRecord);
}

// The words that an input can change, by their place in the block: all but most of the statements'
// texts, of the rings and of the counters, of which a few stand for all.
std::vector<std::size_t> WordsToChange() {
  std::vector<std::size_t> words;
  const auto add = [&words](std::size_t byte, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) words.push_back(byte / 8 + i);
  };
  add(0, sizeof(ledger::Published<ledger::ProcessLayout>) / 8);
  add(ledger::kRegistryPage, 200);
  for (std::size_t i = 0; i < kUsedRecords; ++i) {
    const std::size_t record = Record(i);
    add(record, sizeof(ledger::Published<ledger::IdentityLayout>) / 8);
    constexpr std::size_t kSlot = offsetof(ConnectionRecord, slot);
    add(record + kSlot, 1 + sizeof(ledger::SlotCopy) / 8 + 4);
    add(record + offsetof(ConnectionRecord, ring), 40);
    add(record + offsetof(ConnectionRecord, stats), 200);
    add(record + offsetof(ConnectionRecord, barrier),
        sizeof(ledger::Published<ledger::BarrierNoteLayout>) / 8);
  }
  return words;
}

class Scene {
 public:
  Scene() {
    setenv("LOCKSCOPE_TEST_DIR", "/dev/shm", 0);
    static const testing::TempDir folder;
    db_ = folder / "a.db";
    StartUser();
    struct stat facts {};
    FUZZ_CHECK(stat(db_.c_str(), &facts) == 0);
    id_ = {.device = facts.st_dev, .inode = facts.st_ino};
    fd_ = open((db_ + ledger::kRegistrySuffix).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_start = static_cast<off_t>(ledger::kBlockByte);
    lock.l_len = 3;
    FUZZ_CHECK(fcntl(fd_, F_OFD_SETLK, &lock) == 0);
  }

  void Write(std::uint64_t offset, const void* bytes, std::size_t count) const {
    FUZZ_CHECK(pwrite(fd_, bytes, count, static_cast<off_t>(offset)) ==
               static_cast<ssize_t>(count));
  }
  // All zeros, so long.
  void Reset(std::uint64_t bytes) const {
    FUZZ_CHECK(ftruncate(fd_, 0) == 0 && ftruncate(fd_, static_cast<off_t>(bytes)) == 0);
  }

  const std::string& db() const { return db_; }
  const FileId& id() const { return id_; }

  pid_t user() const { return user_; }

 private:
  // A process that has locks which no sidecar explains, unless it lies.
  void StartUser() {
    std::array<int, 2> ready{};
    FUZZ_CHECK(pipe2(ready.data(), O_CLOEXEC) == 0);
    const pid_t fuzzer = getpid();
    user_ = fork();
    FUZZ_CHECK(user_ >= 0);
    if (user_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != fuzzer) _exit(1);
      sqlite3* db = nullptr;
      const bool holds = sqlite3_open(db_.c_str(), &db) == SQLITE_OK &&
                         sqlite3_exec(db,
                                      "pragma journal_mode = wal; create table t(x);"
                                      "begin; insert into t values (1)",
                                      nullptr, nullptr, nullptr) == SQLITE_OK;
      if (!holds || write(ready[1], "!", 1) != 1) _exit(1);
      for (;;) pause();
    }
    close(ready[1]);
    char answer = 0;
    FUZZ_CHECK(read(ready[0], &answer, 1) == 1);
    close(ready[0]);
  }

  std::string db_;
  FileId id_;
  pid_t user_ = -1;
  int fd_ = -1;
};

std::vector<std::uint64_t> GoodBlock(const Scene& scene, const Choice& choice) {
  std::vector<std::uint64_t> words(kUsedWords);
  auto& process = *reinterpret_cast<ledger::ProcessLayout<std::uint64_t>*>(words.data() + 1);
  const pid_t pid = choice.own_pid ? getpid() : scene.user();
  static const std::uint64_t pid_namespace = kernel::OwnPidNamespace().value_or(0);
  process.instance = 5;
  process.pid = static_cast<std::uint64_t>(pid);
  process.pid_namespace = pid_namespace;
  process.start_boottime = kernel::ProcessStartBoottimeNs(pid).value_or(0);
  process.flags = ledger::ProcessFlags{.ticks = ledger::CurrentTickSource()}.Pack();
  for (std::size_t i = 0; i < kUsedRecords; ++i) {
    auto& identity =
        *reinterpret_cast<ledger::IdentityLayout<std::uint64_t>*>(words.data() + Record(i) / 8 + 1);
    identity.state = 1;
    identity.number = i + 1;
    identity.flags = choice.barriers ? 7 : 3;
    auto& barrier = *reinterpret_cast<ledger::BarrierNoteLayout<std::uint64_t>*>(
        words.data() + (Record(i) + offsetof(ConnectionRecord, barrier)) / 8 + 1);
    barrier.present = 1;
  }
  return words;
}

void WriteFile(const Scene& scene, const Choice& choice, Bytes bytes) {
  const std::uint64_t whole = ledger::BlockOffset(choice.two_owners ? 2 : 1);
  scene.Reset(choice.cut ? 0 : whole);
  if (choice.raw) {
    scene.Write(0, bytes.data(), bytes.size());
    return;
  }
  std::array<char, ledger::kRegistryPage> page{};
  const ledger::RegistryHeader header = ledger::HeaderFor(scene.id());
  std::memcpy(page.data(), &header, sizeof header);
  scene.Write(0, page.data(), page.size());
  if (choice.raw_block) {
    scene.Write(ledger::BlockOffset(0), bytes.data(), bytes.size());
    return;
  }
  static const std::vector<std::size_t> words_to_change = WordsToChange();
  std::vector<std::uint64_t> words = GoodBlock(scene, choice);
  while (bytes.size() >= 10) {
    const auto number = TakeNumber<std::uint16_t>(bytes);
    words.at(words_to_change.at(number % words_to_change.size())) =
        TakeNumber<std::uint64_t>(bytes);
  }
  for (int block = 0; block < (choice.two_owners ? 2 : 1); ++block) {
    scene.Write(ledger::BlockOffset(static_cast<std::uint32_t>(block)), words.data(), kUsedBytes);
  }
}

void CheckReader(const Scene& scene) {
  ledger::RegistryReader reader(scene.db(), scene.id());
  FUZZ_CHECK(DecodeUtf8(reader.unavailable()));
  constexpr std::size_t kMost = 2 * kBlockRecords;
  FUZZ_CHECK(reader.Connections().size() <= kMost);
  FUZZ_CHECK(reader.ConnectionsAtAGlance().size() <= kMost);
  FUZZ_CHECK(reader.Stats().size() <= 2);
  for (const ledger::BarrierView& barrier : reader.Barriers()) {
    FUZZ_CHECK(DecodeUtf8(barrier.notice.token) && DecodeUtf8(barrier.notice.label));
    FUZZ_CHECK(barrier.notice.members.size() <= 2048);
  }
  const auto events = reader.Events();
  FUZZ_CHECK(events.size() <= kMost);
  for (const auto& of : events) FUZZ_CHECK(of.events.size() <= ledger::kRingEvents);
}

void CheckTables(const insight::Look& look) {
  for (const insight::Table& table : insight::AllTables()) {
    const insight::Rows rows = table.rows(look, {});
    for (const insight::Row& row : rows) {
      FUZZ_CHECK(row.size() == table.columns.size());
      for (const insight::Value& value : row) {
        const auto* text = std::get_if<std::string>(&value);
        FUZZ_CHECK(text == nullptr || DecodeUtf8(*text));
      }
    }
    FUZZ_CHECK(nlohmann::json::accept(insight::ToJson(table, rows)));
  }
  for (const insight::Finding& finding : insight::Diagnose(look, nullptr)) {
    FUZZ_CHECK(DecodeUtf8(finding.text) && DecodeUtf8(finding.advice));
  }
}

void TryRegistry(Bytes bytes) {
  static const Scene scene;
  const Choice choice(TakeNumber<std::uint8_t>(bytes));
  WriteFile(scene, choice, bytes);
  CheckReader(scene);
  CheckTables(insight::Look::At({scene.db()}));
}

}  // namespace
}  // namespace lockscope::fuzz

FUZZ_TARGET(lockscope::fuzz::TryRegistry)
