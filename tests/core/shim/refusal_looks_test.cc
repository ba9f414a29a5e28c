// Which refusals of a wait are looked into, and whether the wait's length excuses that.
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
  bool excused;
  bool is_told;

  bool operator==(const Asked&) const = default;
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
    asked_.push_back({refusal.waited != 0, refusal.is_told});
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
  static void Long() { std::this_thread::sleep_for(std::chrono::milliseconds(50)); }

  TempDir dir_;
  const std::string path_ = dir_ / "a.db";
};

// However long it has lasted, the wait is looked into anew then; but only its having doubled
// excuses a look, or commits that come again and again would make one of every refusal.
TEST_F(RefusalLooksTest, ACommitBetweenTwoRefusalsMakesALookDueAndExcusesNone) {
  Db holder(path_);
  Db waiter(path_, kVfs);
  waiter.Exec("select * from t");
  holder.Exec("begin immediate");
  const NobodyFound look;
  const auto nothing = [] {};
  const auto overtake = [&] {
    holder.Exec("rollback");
    Fake().before_write_lock = [&] { holder.Exec("insert into t values (1)"); };
  };
  const auto hold = [&] { holder.Exec("begin immediate"); };
  const std::vector<Asked> first = {{false, false}, {true, true}};
  Wait(waiter, {Long, [&] { EXPECT_EQ(look.asked(), first); }, nothing, overtake, hold, nothing});
  const std::vector<Asked> all = {{false, false}, {true, true}, {false, false}};
  EXPECT_EQ(look.asked(), all);
}

}  // namespace
}  // namespace lockscope::testing
