// A connection of this process that may wait for a lock, in a thread of its own.
#pragma once

#include <sqlite3.h>

#include <string>
#include <thread>

#include "core/session.h"

namespace lockscope::testing {

// It knows the schema before: a statement that waits while it is being prepared is not known yet.
class WaitingClient {
 public:
  // Waits in `handler` where there is one, else in SQLite's own, for a minute.
  explicit WaitingClient(const std::string& path, int (*handler)(void*, int) = nullptr,
                         void* context = nullptr)
      : db_(path) {
    if (handler == nullptr) {
      sqlite3_busy_timeout(db_.handle(), 60'000);
    } else {
      sqlite3_busy_handler(db_.handle(), handler, context);
    }
    db_.Exec("select count(*) from t");
  }
  ~WaitingClient() {
    if (thread_.joinable()) thread_.join();
  }
  WaitingClient(const WaitingClient&) = delete;
  WaitingClient& operator=(const WaitingClient&) = delete;

  Db& db() { return db_; }
  void Exec(const std::string& sql) { db_.Exec(sql); }
  void Start(const std::string& sql) {
    thread_ = std::thread([this, sql] { reply_ = db_.Try(sql); });
  }
  Reply Join() {
    thread_.join();
    return reply_;
  }

 private:
  Db db_;
  Reply reply_;
  std::thread thread_;
};

}  // namespace lockscope::testing
