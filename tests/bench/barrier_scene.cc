#include "bench/barrier_scene.h"

#include <fcntl.h>
#include <lockscope.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <new>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <system_error>

#include "kernel/descriptors.h"
#include "model/resource.h"
#include "torture/run.h"

namespace lockscope::bench {

using nlohmann::json;
using torture::Child;
using torture::Sql;

Scene::Scene(const Load& load, int seed)
    : setting_{.files = {.a = folder_ / "a.db", .b = folder_ / "b.db", .accounts = 1000},
               .wal = true,
               .seed = static_cast<unsigned>(seed),
               .steady = load.steady} {
  Child("maker", [this] { torture::CreateBank(setting_.files, "wal"); }).Join();
  for (int i = 0; i < torture::kWriters; ++i) {
    roles_.emplace_back("writer", [this, i] { torture::RunWriter(setting_, state(), i); });
  }
  if (load.others) {
    roles_.emplace_back("checkpointer", [this] { torture::RunCheckpointer(setting_, state()); });
    for (int i = 0; i < torture::kReaders; ++i) {
      roles_.emplace_back("reader", [this, i] { torture::RunReader(setting_, state(), i); });
    }
  }
  constexpr useconds_t kWarmUpUs = 300'000;
  usleep(kWarmUpUs);
  if (lockscope_register("unix", "lockscope", 0) != SQLITE_OK) throw std::bad_alloc();
  db_ = std::make_unique<Sql>(setting_.files.a);
  db_->RetryEveryMillisecond(20000);
  torture::Prepared(db_->get(), "attach ?1 as other").Bind(1, setting_.files.b).Run();
  // From now on both wal-indexes stay, whoever closes.
  db_->Int("select count(*) from main.book, other.book");
  for (const std::string& path : {setting_.files.a, setting_.files.b}) {
    shms_.push_back(open((path + "-shm").c_str(), O_RDWR | O_CLOEXEC));
    if (shms_.back() < 0) throw std::system_error(errno, std::generic_category(), path + "-shm");
  }
  lockscope_init(db_->get());
  looker_ = std::make_unique<Sql>(":memory:");
  lockscope_init(looker_->get());
}

Scene::~Scene() {
  state().stop = true;
  for (Child& role : roles_) role.Join();
}

std::string Scene::Acquire(const BarrierCase& of) {
  torture::Prepared acquire(db_->get(), "select lockscope_barrier(?1, 60000, ?2)");
  return acquire.Bind(1, std::string(of.kind)).Bind(2, std::string(of.schemas)).Text();
}

void Scene::Release(const std::string& token) {
  torture::Prepared(db_->get(), "select lockscope_barrier_release(?1)").Bind(1, token).Int();
}

void Scene::WaitUntilWritersLookFree(int databases) const {
  static constexpr ByteRange kBytes = ProtocolBytes(Resource::kWalWrite, LockMode::kExclusive);
  constexpr std::int64_t kAtMostNs = 10'000'000'000;
  const auto looks_free = [](int shm) {
    const auto answer = kernel::AskForLock(shm, true, kBytes.first, kBytes.last);
    if (!answer.told) throw std::runtime_error("the kernel does not tell who has the write lock");
    return !answer.conflict;
  };
  const std::int64_t end = torture::NowNs() + kAtMostNs;
  while (!std::all_of(shms_.begin(), shms_.begin() + databases, looks_free)) {
    if (torture::NowNs() > end) throw std::runtime_error("the write locks are never free");
  }
}

std::int64_t Scene::Commits() {
  std::int64_t commits = 0;
  for (const auto& writer : state().writers) commits += writer.commits.load();
  return commits;
}

std::vector<double> Scene::WriteLocksHeldMs() {
  std::vector<double> held_ms;
  const std::int64_t seen = newest_connection_;
  for (const std::string& path : {setting_.files.a, setting_.files.b}) {
    torture::Prepared events(looker_->get(), "select lockscope_json('events', ?1)");
    std::map<std::int64_t, std::int64_t> locked_ns;  // by connection
    for (const json& event : json::parse(events.Bind(1, path).Text())) {
      const std::int64_t connection = event["connection"];
      newest_connection_ = std::max(newest_connection_, connection);
      if (connection <= seen || event["resource"] != "wal-write") continue;
      const std::int64_t ns = event["monotonic_ns"];
      if (event["operation"] == "shm-lock" && event["result"] == "SQLITE_OK") {
        locked_ns[connection] = ns;
      } else if (event["operation"] == "shm-unlock" && locked_ns.contains(connection)) {
        held_ms.push_back(static_cast<double>(ns - locked_ns[connection]) / kNsPerMs);
        locked_ns.erase(connection);
      }
    }
  }
  return held_ms;
}

}  // namespace lockscope::bench
