#include "shim/sleep.h"

namespace lockscope::shim {
namespace {

struct LastRefused {
  ledger::Connection* connection = nullptr;  // never deallocated; may be another's by now
  std::uint64_t id = 0;
};
thread_local LastRefused t_last_refused;

}  // namespace

void SleepsFor(ledger::Connection& connection) noexcept {
  t_last_refused = {&connection, connection.id()};
}

SleepMark::SleepMark() noexcept : connection_(t_last_refused.connection) {
  if (connection_ == nullptr) return;
  const bool same = connection_->id() == t_last_refused.id && connection_->HasRefusal();
  if (same) {
    connection_->Sleeping(true);
  } else {
    connection_ = nullptr;
  }
}

SleepMark::~SleepMark() {
  if (connection_ != nullptr) connection_->Sleeping(false);
}

}  // namespace lockscope::shim
