#include "barrier/barriers.h"

#include <mutex>
#include <utility>

#include "model/fork_safe_mutex.h"

namespace lockscope::barrier {
namespace {

ForkSafeMutex& Mutex() {
  static constinit ForkSafeMutex mutex(LockRank::kBarrierTokens);
  return mutex;
}

[[maybe_unused]] const Barriers& g_made_early = Barriers::Process();

Status Unknown(const std::string& token) {
  return {SQLITE_MISUSE,
          token.empty() ? "the token is empty" : "no barrier has the token " + token};
}

}  // namespace

Barriers::Barriers() { ForkSafeMutex::OnFork(LockRank::kBarrierTokens, ForgetInChild); }

Barriers& Barriers::Process() {
  static Barriers* const barriers = new Barriers();
  return *barriers;
}

// Not destroyed: that would use the parent's connections.
void Barriers::ForgetInChild() {
  static auto* const inherited = new std::vector<std::map<std::string, Entry>>();
  inherited->push_back(std::move(Process().by_token_));
  Process().by_token_.clear();
}

Owner::~Owner() { Barriers::Process().OwnerEnds(*this); }

std::shared_ptr<Owner> Barriers::OwnerOf(const void* connection) {
  auto fresh = std::make_shared<Owner>();  // ends, if it is not needed, after the lock
  const std::lock_guard lock(Mutex());
  std::erase_if(owners_, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<Owner>& known = owners_[connection];
  if (auto owner = known.lock()) return owner;
  known = fresh;
  return fresh;
}

Result<std::shared_ptr<Barrier>> Barriers::Acquire(const Request& request, const Owner& owner) {
  auto barrier = Barrier::Acquire(request);
  if (!barrier.ok()) return barrier;
  const std::lock_guard lock(Mutex());
  by_token_[barrier.value()->token()] = {barrier.value(), &owner};
  return barrier;
}

Result<std::shared_ptr<Barrier>> Barriers::Find(const std::string& token) {
  const std::lock_guard lock(Mutex());
  const auto found = by_token_.find(token);
  if (found == by_token_.end()) return Unknown(token);
  return found->second.barrier;
}

Status Barriers::Release(const std::string& token) {
  std::shared_ptr<Barrier> barrier;
  {
    const std::lock_guard lock(Mutex());
    const auto found = by_token_.find(token);
    if (found == by_token_.end()) return Unknown(token);
    barrier = std::move(found->second.barrier);
    by_token_.erase(found);
  }
  return barrier->Release();
}

void Barriers::OwnerEnds(const Owner& owner) {
  std::vector<std::shared_ptr<Barrier>> ended;
  {
    const std::lock_guard lock(Mutex());
    for (auto entry = by_token_.begin(); entry != by_token_.end();) {
      if (entry->second.owner == &owner) {
        ended.push_back(std::move(entry->second.barrier));
        entry = by_token_.erase(entry);
      } else {
        ++entry;
      }
    }
  }
}

}  // namespace lockscope::barrier
