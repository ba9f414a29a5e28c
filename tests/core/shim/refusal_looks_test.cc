// Which refusals of a wait are looked into, and how far the wait's length excuses that.
#include <gtest/gtest.h>
#include <lockscope.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "core/session.h"
#include "core/shim/fake_vfs.h"
#include "ledger/refusal.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using ledger::Looked;
using ledger::Refusal;
using ledger::RefusalCause;

struct Asked {
  ledger::Ticks waited;
  bool is_told;
};

// Asked in place of the one who looks, for as long as it is there. Finds nobody.
class NobodyFound {
 public:
  NobodyFound() : before_(ledger::CurrentRefusalExplainer()) {
    asked_.clear();
    ledger::SetRefusalExplainer(Look);
  }
  ~NobodyFound() { ledger::SetRefusalExplainer(before_); }
  NobodyFound(const NobodyFound&) = delete;
  NobodyFound& operator=(const NobodyFound&) = delete;

  static const std::vector<Asked>& asked() { return asked_; }

 private:
  static Looked Look(const Refusal& refusal, RefusalCause& cause) noexcept {
    asked_.push_back({refusal.waited, refusal.is_told});
    if (refusal.is_told) return Looked::kInVain;
    cause.explanation = "nobody";
    return Looked::kNobody;
  }

  static inline std::vector<Asked> asked_;
  const ledger::RefusalExplainer before_;
};

class RefusalLooksTest : public ::testing::Test {
 protected:
  RefusalLooksTest() {
    EXPECT_EQ(lockscope_register(Fake().name(), kVfs, 0), SQLITE_OK);
    Db make(path_);
    make.Exec("pragma journal_mode=wal; create table t(x)");
  }
  ~RefusalLooksTest() override { Fake().before_write_lock = nullptr; }

  static FakeVfs& Fake() {
    static auto* const fake = new FakeVfs("overtaken-below");  // registered for ever
    return *fake;
  }
  static constexpr char kVfs[] = "overtaken";

  // SQLite goes on to wait after each of `steps`, and gives up after the last.
  static void Wait(Db& db, const std::vector<std::function<void()>>& steps) {
    struct Handler {
      const std::vector<std::function<void()>>& steps;
      std::size_t calls = 0;
    } handler{steps};
    sqlite3_busy_handler(
        db.handle(),
        [](void* argument, int) {
          auto& at = *static_cast<Handler*>(argument);
          if (at.calls == at.steps.size()) return 0;
          at.steps[at.calls++]();
          return 1;
        },
        &handler);
    EXPECT_EQ(db.Try("begin immediate").code, SQLITE_BUSY);
    EXPECT_EQ(handler.calls, steps.size());
    sqlite3_busy_handler(db.handle(), nullptr, nullptr);
  }
  static void Long() { std::this_thread::sleep_for(std::chrono::milliseconds(400)); }

  TempDir dir_;
  const std::string path_ = dir_ / "a.db";
};

// However long it has lasted, the wait is looked into anew then; but not its whole length excuses
// that, or commits that come again and again would make a look of every refusal.
TEST_F(RefusalLooksTest, ACommitBetweenTwoRefusalsMakesALookDue) {
  Db holder(path_);
  holder.Exec("pragma synchronous=off");
  Db waiter(path_, kVfs);
  waiter.Exec("select * from t");
  holder.Exec("begin immediate");
  const NobodyFound look;
  const auto nothing = [] {};
  const auto overtake = [&] {
    EXPECT_EQ(look.asked().size(), 2U);
    holder.Exec("rollback");
    Fake().before_write_lock = [&] { holder.Exec("insert into t values (1)"); };
  };
  const auto hold = [&] { holder.Exec("begin immediate"); };
  Wait(waiter, {Long, nothing, overtake, hold, nothing});
  const std::vector<Asked>& asked = look.asked();
  ASSERT_EQ(asked.size(), 3U);
  EXPECT_EQ(asked[0].waited, 0U);
  EXPECT_FALSE(asked[0].is_told);
  EXPECT_GT(asked[1].waited, 0U);
  EXPECT_TRUE(asked[1].is_told);
  EXPECT_LT(asked[2].waited, asked[1].waited);  // since the second
  EXPECT_FALSE(asked[2].is_told);
}

}  // namespace
}  // namespace lockscope::testing
