// What the descriptors of the processes that use a database tell.
//
// SQLite opens a -wal for each connection and a -shm once for each database, whatever the number of
// connections: two descriptors of one -shm, opened for writing, are two copies of SQLite. Those of
// who only looks (lockscope among them, which keeps its own) are read-only and hold no lock.
#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "insight/hazard_rules.h"
#include "insight/pause.h"
#include "insight/summary.h"
#include "kernel/descriptors.h"

namespace lockscope::insight {
namespace {

using kernel::OpenedFile;
using kernel::ProcessFiles;

// Who closes a database last unlinks its files, and has them open for a moment more.
constexpr long kConfirmUs = 100'000;

bool InUse(const OpenedFile& file) { return file.writable || file.locked; }

FileId IdOf(const std::string& path) {
  const auto facts = kernel::StatPath(path);
  return facts ? facts->id : FileId{};
}

// The files that have the database's names now.
struct NamedFiles {
  explicit NamedFiles(const std::string& database_path)
      : path(database_path),
        database(IdOf(path)),
        wal(IdOf(path + "-wal")),
        shm(IdOf(path + "-shm")) {}

  std::string path;
  FileId database;
  FileId wal;
  FileId shm;
};

// What is wrong with the files of one process; the file that tells it.
struct Suspicion {
  enum class Kind {
    kWal,         // uses the database, and another -wal or -shm than that of its name
    kDatabase,    // uses the -wal or -shm of the name, and another database
    kGone,        // uses other files of these names altogether, without a name by now
    kTwoSqlites,  // has the -shm open twice
  };
  std::int64_t pid = 0;
  Kind kind = Kind::kWal;
  OpenedFile file{};

  bool Same(const Suspicion& other) const {
    return pid == other.pid && kind == other.kind && file.fd == other.file.fd &&
           file.id == other.file.id;
  }
};

class Judge {
 public:
  explicit Judge(const NamedFiles& named) : named_(named) {}

  std::vector<Suspicion> Of(const std::vector<ProcessFiles>& processes) const {
    std::vector<Suspicion> suspicions;
    for (const ProcessFiles& process : processes) {
      if (const auto split = Split(process)) suspicions.push_back(*split);
      if (const auto twice = Twice(process)) suspicions.push_back(*twice);
    }
    return suspicions;
  }

  // The process's descriptor of the database, one that it uses before one that it only has; null
  // for none.
  const OpenedFile* Uses(const ProcessFiles& process) const {
    const OpenedFile* any = nullptr;
    for (const OpenedFile& file : process.files) {
      if (!named_.database.known() || file.id != named_.database) continue;
      if (any == nullptr || (InUse(file) && !InUse(*any))) any = &file;
    }
    return any;
  }

 private:
  // The first file of a process that does not fit.
  std::optional<Suspicion> Split(const ProcessFiles& process) const {
    const OpenedFile* database = Uses(process);
    for (const OpenedFile& file : process.files) {
      if (!InUse(file)) continue;
      if (database != nullptr) {
        const bool wal = file.path == database->path + "-wal" && file.id != named_.wal;
        const bool shm = file.path == database->path + "-shm" && file.id != named_.shm;
        if (wal || shm) return Suspicion{process.pid, Suspicion::Kind::kWal, file};
        continue;
      }
      if (!named_.database.known()) continue;
      const bool ours = (named_.wal.known() && file.id == named_.wal) ||
                        (named_.shm.known() && file.id == named_.shm);
      if (ours) return Suspicion{process.pid, Suspicion::Kind::kDatabase, file};
      const bool gone = process.same_mounts && file.deleted &&
                        (file.path == named_.path + "-wal" || file.path == named_.path + "-shm");
      if (gone) return Suspicion{process.pid, Suspicion::Kind::kGone, file};
    }
    return std::nullopt;
  }

  std::optional<Suspicion> Twice(const ProcessFiles& process) const {
    const OpenedFile* database = Uses(process);
    if (database == nullptr) return std::nullopt;
    const OpenedFile* first = nullptr;
    for (const OpenedFile& file : process.files) {
      if (!file.writable || file.path != database->path + "-shm") continue;
      if (first != nullptr && first->id == file.id) {
        return Suspicion{process.pid, Suspicion::Kind::kTwoSqlites, file};
      }
      first = &file;
    }
    return std::nullopt;
  }

  const NamedFiles& named_;
};

class OpenFileHazards {
 public:
  OpenFileHazards(const Scene& scene, std::vector<Hazard>& hazards)
      : scene_(scene), path_(scene.database().path), hazards_(hazards) {}

  void Run() {
    const NamedFiles named(path_);
    const Judge judge(named);
    std::vector<std::int64_t> two_copies;
    for (const Suspicion& suspicion : Confirmed(judge)) {
      Add(suspicion);
      if (suspicion.kind == Suspicion::Kind::kTwoSqlites) two_copies.push_back(suspicion.pid);
    }
    for (const ProcessFiles& process : scene_.processes.processes()) {
      const OpenedFile* database = judge.Uses(process);
      if (database == nullptr || !InUse(*database)) continue;
      if (std::count(two_copies.begin(), two_copies.end(), process.pid) > 0) continue;
      const auto libraries = kernel::MappedSqlites(process.pid);
      if (libraries.size() > 1) AddMapped(process.pid, libraries);
    }
  }

 private:
  std::vector<Suspicion> Confirmed(const Judge& judge) const {
    std::vector<Suspicion> seen = judge.Of(scene_.processes.processes());
    if (seen.empty()) return seen;
    std::vector<std::int64_t> pids;
    for (const Suspicion& suspicion : seen) pids.push_back(suspicion.pid);
    pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
    Pause(kConfirmUs);
    const NamedFiles named(path_);
    const std::vector<Suspicion> again = Judge(named).Of(scene_.processes.Again(pids));
    std::erase_if(seen, [&again](const Suspicion& suspicion) {
      return std::none_of(again.begin(), again.end(),
                          [&suspicion](const Suspicion& other) { return suspicion.Same(other); });
    });
    return seen;
  }

  static std::string OnOneLine(std::string path) {
    std::replace(path.begin(), path.end(), '\n', '?');
    return path;
  }

  Hazard& Add(std::int64_t pid, const char* word, Severity severity, const std::string& short_text,
              const std::string& text, std::string advice) {
    Hazard& hazard = hazards_.emplace_back();
    hazard.hazard = word;
    hazard.severity = severity;
    const LockFacts& who = hazard.whose.emplace(LockFacts{.pid = pid});
    hazard.text = short_text + ". " + DescribeHolder(scene_.look(), who) + " " + text;
    hazard.advice = std::move(advice);
    return hazard;
  }

  void Add(const Suspicion& suspicion) {
    const OpenedFile& file = suspicion.file;
    const std::string name = OnOneLine(file.path);
    const std::string place =
        "/proc/" + std::to_string(suspicion.pid) + "/fd/" + std::to_string(file.fd);
    const std::string is_gone =
        file.deleted ? ", which is deleted" : ", which is no longer the file of that name";
    switch (suspicion.kind) {
      case Suspicion::Kind::kWal:
        Add(suspicion.pid, "split-wal", Severity::kDanger, "split WAL",
            "uses " + name + is_gone +
                ": neither sees what the other commits, nor its locks, and both write the "
                "database.",
            "let nobody else open the database, and let that process close it in good order; where "
            "it cannot, save the file first from " +
                place + ". Then run PRAGMA integrity_check");
        return;
      case Suspicion::Kind::kDatabase:
        Add(suspicion.pid, "split-wal", Severity::kDanger, "split WAL",
            "uses " + name +
                " for another database file than the one of that name: the database was replaced "
                "while it was open, and who opens the new one takes the old one's WAL for its own.",
            "let nobody open the new file; end that process, move this -wal and -shm away, and "
            "replace a database only when nobody has it open");
        return;
      case Suspicion::Kind::kGone:
        Add(suspicion.pid, "split-wal", Severity::kDanger, "split WAL",
            "uses " + name +
                ", which is deleted, for another database file than the one of that name: what it "
                "commits is lost to everybody else, and gone when it ends.",
            "save what it has (a backup by that process itself, or " + place +
                " and its database beside it), then restart it");
        return;
      case Suspicion::Kind::kTwoSqlites:
        Add(suspicion.pid, "two-sqlites", Severity::kDanger, "two SQLites",
            "has " + name +
                " open twice, and one SQLite opens it once: two copies of SQLite in it use the "
                "database. They do not see each other's locks, and whatever one closes drops those "
                "of the other." +
                Mapped(kernel::MappedSqlites(suspicion.pid)),
            "let one of them alone use the database, or link both to one libsqlite3");
        return;
    }
  }

  static std::string Mapped(const std::vector<std::string>& libraries) {
    std::string text;
    for (const std::string& library : libraries) {
      text += (text.empty() ? "\nIt has mapped " : ", ") + OnOneLine(library);
    }
    return text;
  }

  void AddMapped(std::int64_t pid, const std::vector<std::string>& libraries) {
    Add(pid, "two-sqlites", Severity::kWarning, "two SQLites",
        "has the database open, and more than one copy of SQLite: where two of them use it, they "
        "do not see each other's locks, and whatever one closes drops those of the other." +
            Mapped(libraries),
        "make sure that one of them alone uses the database, or link both to one libsqlite3");
  }

  const Scene& scene_;
  const std::string& path_;
  std::vector<Hazard>& hazards_;
};

}  // namespace

void AddOpenFileHazards(const Scene& scene, std::vector<Hazard>& hazards) {
  OpenFileHazards(scene, hazards).Run();
}

}  // namespace lockscope::insight
