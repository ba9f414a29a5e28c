#include "barrier_functions.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <string_view>
#include <vector>

#include "barrier/barriers.h"
#include "barrier/manifest.h"
#include "function_call.h"
#include "interrupt_probe.h"
#include "kernel/descriptors.h"
#include "shim/shim_vfs.h"
#include "targets.h"

namespace lockscope::loadable {
namespace {

using barrier::Barriers;
using barrier::Kind;
using barrier::Member;
using std::chrono::milliseconds;

// ---- arguments ----

struct Words {
  Kind kind = Kind::kSnapshot;
  milliseconds timeout{5000};
  std::string schemas;  // empty: every file database
  milliseconds max_hold{0};
};

Status KindArgument(sqlite3_value* value, Kind& kind) {
  if (IsDefault(value)) return {};
  const auto text = TextArgument(value, "the kind");
  if (!text.ok()) return text.status();
  const auto parsed = barrier::ParseKind(text.value());
  if (!parsed) {
    return {SQLITE_MISUSE,
            "no kind of barrier is called '" + text.value() + "': snapshot, write, exclusive"};
  }
  kind = *parsed;
  return {};
}

Result<Words> ReadArguments(int count, sqlite3_value** arguments) {
  Words words;
  if (count > 0) {
    if (Status status = KindArgument(arguments[0], words.kind); !status.ok()) return status;
  }
  if (count > 1) {
    Status status = TimeArgument(arguments[1], "timeout_ms", words.timeout);
    if (!status.ok()) return status;
  }
  if (count > 2) {
    auto text = TextArgument(arguments[2], "the list of schemas");
    if (!text.ok()) return text.status();
    words.schemas = std::move(text.value());
  }
  if (count > 3) {
    Status status = TimeArgument(arguments[3], "max_hold_ms", words.max_hold);
    if (!status.ok()) return status;
  }
  return words;
}

// ---- the databases ----

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

Result<std::vector<std::string>> Listed(sqlite3* db, const std::string& list) {
  const std::vector<std::string> known = Schemas(db);
  std::vector<std::string> schemas;
  std::string_view rest = list;
  while (true) {
    const std::string name(Trimmed(rest.substr(0, rest.find(','))));
    const bool exists = std::any_of(known.begin(), known.end(), [&name](const std::string& other) {
      return sqlite3_stricmp(name.c_str(), other.c_str()) == 0;
    });
    if (!exists) return Status{SQLITE_MISUSE, "no schema is called '" + name + "'"};
    schemas.push_back(name);
    if (rest.find(',') == std::string_view::npos) return schemas;
    rest.remove_prefix(rest.find(',') + 1);
  }
}

// "unix" of "lockscope/unix": the VFS that touches the files.
std::string BottomVfs(sqlite3* db, const std::string& schema) {
  char* name = nullptr;
  if (sqlite3_file_control(db, schema.c_str(), SQLITE_FCNTL_VFSNAME, static_cast<void*>(&name)) !=
          SQLITE_OK ||
      name == nullptr) {
    return "unix";
  }
  const std::string all(name);
  sqlite3_free(name);
  return all.substr(all.rfind('/') + 1);
}

// Empty for a schema that has no file: one in memory, or temporary.
std::string FileOf(sqlite3* db, const std::string& schema) {
  const char* file = sqlite3_db_filename(db, schema.c_str());
  return file != nullptr && BottomVfs(db, schema) != "memdb" ? file : "";
}

// The VFS through which a barrier opens the database: the same, but for our own shim.
std::string VfsBelow(sqlite3* db, const std::string& schema) {
  sqlite3_vfs* vfs = nullptr;
  sqlite3_file_control(db, schema.c_str(), SQLITE_FCNTL_VFS_POINTER, static_cast<void*>(&vfs));
  if (const auto* shim = shim::ShimVfs::Ours(vfs)) vfs = shim->base();
  return vfs != nullptr ? vfs->zName : "unix";
}

struct Finalizer {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalizer>;

Statement Prepare(sqlite3* db, const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr);
  return Statement(statement);
}

std::string Quoted(const std::string& schema) {
  std::string quoted = "\"";
  for (const char c : schema) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

bool InExclusiveLockingMode(sqlite3* db, const std::string& schema) {
  const Statement pragma = Prepare(db, "PRAGMA " + Quoted(schema) + ".locking_mode");
  if (pragma == nullptr || sqlite3_step(pragma.get()) != SQLITE_ROW) return false;
  const auto* mode = reinterpret_cast<const char*>(sqlite3_column_text(pragma.get(), 0));
  return mode != nullptr && std::string_view(mode) == "exclusive";
}

bool InWalMode(sqlite3* db, const std::string& schema) {
  const Statement pragma = Prepare(db, "PRAGMA " + Quoted(schema) + ".journal_mode");
  if (pragma == nullptr || sqlite3_step(pragma.get()) != SQLITE_ROW) return false;
  const auto* mode = reinterpret_cast<const char*>(sqlite3_column_text(pragma.get(), 0));
  return mode != nullptr && std::string_view(mode) == "wal";
}

// Whether the file that this connection has open is not the one of its name any more.
bool HasMoved(sqlite3* db, const std::string& schema) {
  int moved = 0;
  const int result = sqlite3_file_control(db, schema.c_str(), SQLITE_FCNTL_HAS_MOVED, &moved);
  return result == SQLITE_OK && moved != 0;
}

// What can be known beforehand: a barrier that would wait for its own connection, or for ever.
Status CheckSchema(sqlite3* db, const std::string& schema, Kind kind) {
  const std::string vfs = BottomVfs(db, schema);
  if (vfs != "unix") {
    return {SQLITE_MISUSE, "schema " + schema + ": the VFS " + vfs +
                               " does not lock as \"unix\" does, there is no barrier on it"};
  }
  if (InExclusiveLockingMode(db, schema)) {
    return {SQLITE_MISUSE,
            "schema " + schema + ": this connection has it in exclusive locking mode"};
  }
  const int transaction = sqlite3_txn_state(db, schema.c_str());
  if (transaction == SQLITE_TXN_WRITE) {
    return {SQLITE_MISUSE, "schema " + schema +
                               ": this connection has a write transaction open, for which the "
                               "barrier would wait for ever: COMMIT or ROLLBACK first"};
  }
  if (transaction == SQLITE_TXN_READ && kind == Kind::kExclusive && !InWalMode(db, schema)) {
    return {SQLITE_MISUSE, "schema " + schema +
                               ": this connection has a read transaction open, for which an "
                               "exclusive barrier would wait for ever: end it first"};
  }
  return {};
}

// Every schema of that file, which may be attached more than once.
std::vector<std::string> SchemasOf(sqlite3* db, const FileId& id) {
  std::vector<std::string> schemas = Schemas(db);
  std::erase_if(schemas, [db, &id](const std::string& schema) {
    const auto facts = kernel::StatPath(FileOf(db, schema));
    return !facts || facts->id != id;
  });
  return schemas;
}

Result<std::vector<Member>> MembersOf(sqlite3* db, const Words& words) {
  const bool all = words.schemas.empty();
  auto schemas = all ? Result<std::vector<std::string>>(Schemas(db)) : Listed(db, words.schemas);
  if (!schemas.ok()) return schemas.status();
  std::vector<Member> members;
  std::vector<FileId> files;
  for (const std::string& schema : schemas.value()) {
    const std::string path = FileOf(db, schema);
    if (path.empty()) {
      if (all) continue;
      return Status{SQLITE_MISUSE, "schema " + schema + " is in memory or temporary"};
    }
    const auto facts = kernel::StatPath(path);
    if (!facts || HasMoved(db, schema)) {
      std::string text = "schema " + schema + ": ";
      text += path + " is not the file that this connection has open, which was moved or deleted";
      return Status{SQLITE_CANTOPEN, std::move(text)};
    }
    for (const std::string& alias : SchemasOf(db, facts->id)) {
      if (Status status = CheckSchema(db, alias, words.kind); !status.ok()) return status;
    }
    const FileId id = facts->id;
    if (std::find(files.begin(), files.end(), id) != files.end()) continue;  // attached twice
    files.push_back(id);
    members.push_back({.schema = schema, .path = path, .vfs = VfsBelow(db, schema)});
  }
  if (members.empty()) return Status{SQLITE_MISUSE, "this connection has no file database"};
  return members;
}

// ---- functions ----

Status Acquire(sqlite3_context* context, int count, sqlite3_value** arguments) {
  sqlite3* db = sqlite3_context_db_handle(context);
  const auto words = ReadArguments(count, arguments);
  if (!words.ok()) return words.status();
  auto members = MembersOf(db, words.value());
  if (!members.ok()) return members.status();
  InterruptProbe probe(db);
  const auto& owner = *static_cast<std::shared_ptr<barrier::Owner>*>(sqlite3_user_data(context));
  const auto acquired =
      Barriers::Process().Acquire({.kind = words.value().kind,
                                   .members = std::move(members.value()),
                                   .timeout = words.value().timeout,
                                   .max_hold = words.value().max_hold,
                                   .label = {},
                                   .interrupted = [&probe] { return probe.Interrupted(); }},
                                  *owner);
  if (!acquired.ok()) return acquired.status();
  Answer(context, acquired.value()->token());
  return {};
}

Status Manifest(sqlite3_context* context, int, sqlite3_value** arguments) {
  const auto token = TextArgument(arguments[0], "the token");
  if (!token.ok()) return token.status();
  const auto barrier = Barriers::Process().Find(token.value());
  if (!barrier.ok()) return barrier.status();
  Answer(context, barrier::Manifest(*barrier.value()));
  return {};
}

Status Check(sqlite3_context* context, int, sqlite3_value** arguments) {
  const auto token = TextArgument(arguments[0], "the token");
  if (!token.ok()) return token.status();
  const auto barrier = Barriers::Process().Find(token.value());
  if (!barrier.ok()) return barrier.status();
  if (Status status = barrier.value()->Check(); !status.ok()) return status;
  sqlite3_result_int(context, 1);
  return {};
}

Status Release(sqlite3_context* context, int, sqlite3_value** arguments) {
  const auto token = TextArgument(arguments[0], "the token");
  if (!token.ok()) return token.status();
  if (Status status = Barriers::Process().Release(token.value()); !status.ok()) return status;
  sqlite3_result_int(context, 1);
  return {};
}

void DropOwner(void* owner) { delete static_cast<std::shared_ptr<barrier::Owner>*>(owner); }

struct BarrierFunction {
  const char* name;
  int arguments;
  void (*call)(sqlite3_context*, int, sqlite3_value**);
};

constexpr BarrierFunction kFunctions[] = {
    {"lockscope_barrier", 0, Call<Acquire>},     {"lockscope_barrier", 1, Call<Acquire>},
    {"lockscope_barrier", 2, Call<Acquire>},     {"lockscope_barrier", 3, Call<Acquire>},
    {"lockscope_barrier", 4, Call<Acquire>},     {"lockscope_barrier_manifest", 1, Call<Manifest>},
    {"lockscope_barrier_check", 1, Call<Check>}, {"lockscope_barrier_release", 1, Call<Release>},
};

}  // namespace

int RegisterBarrierFunctions(sqlite3* db) {
  const auto owner = Barriers::Process().OwnerOf(db);
  for (const BarrierFunction& function : kFunctions) {
    // SQLite calls DropOwner in any case, also where it refuses the function.
    const int result = sqlite3_create_function_v2(
        db, function.name, function.arguments, SQLITE_UTF8 | SQLITE_DIRECTONLY,
        new std::shared_ptr<barrier::Owner>(owner), function.call, nullptr, nullptr, DropOwner);
    if (result != SQLITE_OK) return result;
  }
  return SQLITE_OK;
}

}  // namespace lockscope::loadable
