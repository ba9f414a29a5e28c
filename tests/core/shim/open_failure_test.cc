// An xOpen that fails leaves nothing behind:
//   base      fails; fails and leaves its file open: the shim's pMethods are null, the file closed
//   memory    gives out at any point of an opening: SQLITE_NOMEM, or a private connection; no
//             sidecar is left

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <new>

#include "core/session.h"
#include "core/shim/fake_vfs.h"
#include "ledger/ledger.h"
#include "lockscope.h"
#include "support/temp_dir.h"

namespace {

// The allocation of this thread that fails, counted down from here; 0: none.
thread_local int t_failing_allocation = 0;

void* Allocate(std::size_t bytes, std::size_t alignment) {
  if (t_failing_allocation > 0 && --t_failing_allocation == 0) return nullptr;
  if (alignment <= alignof(std::max_align_t)) return std::malloc(bytes);
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void* AllocateOrThrow(std::size_t bytes, std::size_t alignment) {
  void* memory = Allocate(bytes == 0 ? 1 : bytes, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// C++ takes all its memory from here in this program: SQLite does not. (GCC, having inlined only
// one of a pair, believes that memory from operator new goes to free().)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
void* operator new(std::size_t bytes) { return AllocateOrThrow(bytes, 1); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return Allocate(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return AllocateOrThrow(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
#pragma GCC diagnostic pop

namespace lockscope::testing {
namespace {

class OpenFailureTest : public ::testing::Test {
 protected:
  OpenFailureTest() {
    EXPECT_EQ(lockscope_register(Fake().name(), "failing", 0), SQLITE_OK);
    Fake().open_result = SQLITE_OK;
    Fake().leave_methods = false;
  }

  static FakeVfs& Fake() {
    static auto* const fake = new FakeVfs("fails");
    return *fake;
  }

  // A name as SQLite hands it to xOpen. The caller frees it.
  sqlite3_filename Name(std::initializer_list<const char*> parameters = {}) {
    std::vector<const char*> list(parameters);
    return sqlite3_create_filename(path_.c_str(), (path_ + "-journal").c_str(),
                                   (path_ + "-wal").c_str(), static_cast<int>(list.size() / 2),
                                   list.data());
  }

  // Calls the shim's xOpen as SQLite does, in memory that is full of what was there before.
  // The `failing`-th allocation of it fails; failed() tells whether it came to that.
  int Open(sqlite3_filename name, int failing = 0) {
    sqlite3_vfs* vfs = sqlite3_vfs_find("failing");
    memory_.assign(static_cast<std::size_t>(vfs->szOsFile) / 8 + 1, 0x5a5a5a5a5a5a5a5a);
    int out = 0;
    const int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_URI;
    t_failing_allocation = failing;
    const int result = vfs->xOpen(vfs, name, file(), flags, &out);
    failed_ = failing != 0 && t_failing_allocation == 0;
    t_failing_allocation = 0;
    return result;
  }
  bool failed() const { return failed_; }
  sqlite3_file* file() { return reinterpret_cast<sqlite3_file*>(memory_.data()); }

  std::vector<ledger::ConnectionView> Views() const {
    return ledger::Ledger::Process().Connections(
        [this](const std::string& path, const FileId&) { return path == path_; });
  }
  std::size_t InLedger() const { return Views().size(); }
  bool HasSidecar() const { return std::filesystem::exists(path_ + "-lockscope"); }
  std::string RegistryColumn() {
    return Db(":memory:").Value("select registry from lockscope_connections(" + Quote(path_) + ")");
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  std::vector<std::uint64_t> memory_;
  bool failed_ = false;
};

// ---- base ----

TEST_F(OpenFailureTest, OfTheBaseIsPassedOn) {
  const sqlite3_filename name = Name();
  Fake().open_result = SQLITE_CANTOPEN_ISDIR;
  EXPECT_EQ(Open(name), SQLITE_CANTOPEN_ISDIR);
  EXPECT_EQ(file()->pMethods, nullptr);
  EXPECT_EQ(InLedger(), 0U);
  sqlite3_free_filename(name);
}

TEST_F(OpenFailureTest, AFileThatTheBaseLeftOpenIsClosed) {
  const sqlite3_filename name = Name();
  Fake().open_result = SQLITE_IOERR;
  Fake().leave_methods = true;
  const int closed_before = Fake().Calls("xClose");
  EXPECT_EQ(Open(name), SQLITE_IOERR);
  EXPECT_EQ(file()->pMethods, nullptr);
  EXPECT_EQ(Fake().Calls("xClose"), closed_before + 1);
  EXPECT_EQ(Fake().open_files(), 0);
  EXPECT_EQ(InLedger(), 0U);
  sqlite3_free_filename(name);
}

TEST_F(OpenFailureTest, SqliteReportsItAndTheNextOpeningWorks) {
  Fake().open_result = SQLITE_IOERR;
  Fake().leave_methods = true;
  EXPECT_EQ(OpenCode("file:" + path_ + "?vfs=failing"), SQLITE_IOERR);
  EXPECT_EQ(Fake().open_files(), 0);
  Fake().open_result = SQLITE_OK;
  Db db(path_, "failing");
  db.Exec("create table t(x)");
  EXPECT_EQ(InLedger(), 1U);
}

// ---- memory ----

// What the registry lacks does not keep anybody from opening: it is done without.
TEST_F(OpenFailureTest, WithoutMemoryAtAnyPointIsNomemOrAPrivateConnectionAndLeavesNothing) {
  const sqlite3_filename name = Name({"lockscope_capture_sql", "off"});
  int refused = 0;
  int alone = 0;
  for (int failing = 1;; ++failing) {
    ASSERT_LT(failing, 200);
    const int result = Open(name, failing);
    if (!failed()) {
      ASSERT_EQ(result, SQLITE_OK);
      break;
    }
    if (result == SQLITE_OK) {
      ++alone;
      EXPECT_EQ(RegistryColumn(), "private: no memory") << failing;
      EXPECT_FALSE(HasSidecar()) << failing;
      EXPECT_EQ(file()->pMethods->xClose(file()), SQLITE_OK);
    } else {
      ++refused;
      EXPECT_EQ(result, SQLITE_NOMEM) << failing;
      EXPECT_EQ(file()->pMethods, nullptr) << failing;
    }
    EXPECT_EQ(Fake().open_files(), 0) << failing;
    EXPECT_EQ(InLedger(), 0U) << failing;
    EXPECT_FALSE(HasSidecar()) << failing;
  }
  EXPECT_GE(refused, 2);
  EXPECT_GE(alone, 2);
  EXPECT_EQ(InLedger(), 1U);
  EXPECT_EQ(RegistryColumn(), "shared");
  EXPECT_TRUE(HasSidecar());
  EXPECT_EQ(file()->pMethods->xClose(file()), SQLITE_OK);
  EXPECT_EQ(Fake().open_files(), 0);
  EXPECT_EQ(InLedger(), 0U);
  EXPECT_FALSE(HasSidecar());
  sqlite3_free_filename(name);
}

TEST_F(OpenFailureTest, WithoutMemoryALookIsNomem) {
  Db db(path_, "failing");
  db.Exec("create table t(x); begin immediate");
  Statement look(db, "select count(*) from lockscope_locks");
  int points = 0;
  for (int failing = 1; failing < 2000; failing += 7) {
    t_failing_allocation = failing;
    const int result = look.Step();
    const bool failed = t_failing_allocation == 0;
    t_failing_allocation = 0;
    look.Reset();
    if (!failed) break;
    ++points;
    EXPECT_EQ(result, SQLITE_NOMEM) << failing;
  }
  EXPECT_GT(points, 3);
  EXPECT_EQ(look.Step(), SQLITE_ROW);
}

}  // namespace
}  // namespace lockscope::testing
