// Somebody is refused, and somebody else is in the way: with lockscope or without.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "barrier/hosted.h"
#include "registry/seen.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {

inline constexpr int kBusySnapshot = 517;  // SQLITE_BUSY_SNAPSHOT

enum class In { kPlain, kLockscope };  // the process that is in the way

inline std::unique_ptr<Actor> NewProcess(In in) {
  if (in == In::kLockscope) return std::make_unique<HostProcess>();
  return std::make_unique<Actor>();
}

inline void Commit(Actor& actor, const std::string& name) {
  actor.Exec(name, "update t set v = v + 1 where id = 1");
}

// Until one is not looked into, since there are too many of them.
inline void BeRefusedUnseen(Actor& actor, const std::string& name, const std::string& path,
                            const std::string& sql = "delete from t") {
  const bool unseen = Eventually([&] {
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(actor.Try(name, sql).code, SQLITE_BUSY);
    }
    const Json rows = OfPid(SeenHere("waits", path), actor.pid());
    return !rows.empty() && rows.at(0).at("explanation").is_null();
  });
  EXPECT_TRUE(unseen);
}

inline std::string NameOf(const ::testing::TestParamInfo<In>& of) {
  return of.param == In::kPlain ? "WithoutLockscope" : "WithLockscope";
}

class ReasonTest : public ::testing::TestWithParam<In> {
 protected:
  ReasonTest() : blocker_(NewProcess(GetParam())) {}

  void Make(const std::string& journal_mode) {
    CreateDatabase(db_, {.journal_mode = journal_mode});
  }
  void OpenAsker() {
    asker_.Open("c", db_);
    asker_.Exec("c", "select count(*) from t");
  }
  void OpenBlocker() {
    blocker_->Open("c", db_);
    blocker_->Exec("c", "select count(*) from t");
  }
  Actor& blocker() { return *blocker_; }

  // The newest wait of the asker.
  Json Wait() {
    const Json rows = OfPid(SeenHere("waits", db_), asker_.pid());
    EXPECT_FALSE(rows.empty());
    return rows.empty() ? Json::object() : rows.at(0);
  }
  // What lockscope_why() tells the asker.
  std::string Why() { return asker_.Query("c", "select lockscope_why()").at(0).at(0); }
  std::size_t Waits() { return OfPid(SeenHere("waits", db_), asker_.pid()).size(); }

  // Of the asker who wants to read while the blocker's commit is stopped at that point.
  Json WhileItCommits(const std::string& point) {
    blocker().PauseAt(point);
    Answer update = blocker().Start("c", "update t set v = v + 1 where id = 1");
    blocker().AwaitPoint();
    EXPECT_EQ(asker_.Try("c", "select count(*) from t").code, SQLITE_BUSY);
    Json wait = Wait();
    blocker().Continue();
    EXPECT_TRUE(update.Wait().ok());
    return wait;
  }

  void ExpectUnknownWhileItCommits(const std::string& journal_mode, const std::string& point) {
    OpenAsker();
    OpenBlocker();
    blocker().Exec("c", "pragma journal_mode = " + journal_mode);
    const Json wait = WhileItCommits(point);
    ExpectBlocker(wait, "unknown", "update t set v = v + 1 where id = 1");
    EXPECT_THAT(wait.value("explanation", ""),
                ::testing::HasSubstr("Waiting helps where it is a commit"));
  }

  // `sql` of the blocker counts where it has lockscope.
  void ExpectBlocker(const Json& wait, const std::string& reason, const std::string& sql) {
    SCOPED_TRACE(wait.dump(2));
    EXPECT_EQ(wait.value("reason", ""), reason);
    EXPECT_EQ(wait.at("blocker_pid"), blocker().pid());
    EXPECT_THAT(wait.value("explanation", ""),
                ::testing::HasSubstr("pid " + std::to_string(blocker().pid()) + " ("));
    if (GetParam() == In::kLockscope) {
      EXPECT_TRUE(wait.at("blocker_connection").is_number());
      EXPECT_EQ(wait.at("blocker_sql"), sql.empty() ? Json() : Json(sql));
    } else {
      EXPECT_TRUE(wait.at("blocker_connection").is_null());
      EXPECT_TRUE(wait.at("blocker_sql").is_null());
    }
  }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
  HostProcess asker_;

 private:
  const std::unique_ptr<Actor> blocker_;
};

}  // namespace lockscope::testing
