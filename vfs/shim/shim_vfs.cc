#include "shim/shim_vfs.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <string_view>

#include "ledger/ledger.h"
#include "logging/log.h"
#include "settings/settings.h"
#include "shim/shim_file.h"
#include "shim/sleep.h"

namespace lockscope::shim {
namespace {

constinit std::atomic<PragmaHandler> g_pragma_handler{nullptr};

// The URI parameters that are ours begin with this.
constexpr std::string_view kUriPrefix = "lockscope_";

// Reads every lockscope_… parameter of a main database's name, which SQLite lays out with them
// behind it.
Status SettingsFromUri(const char* name, settings::DatabaseSettings& settings) {
  for (int i = 0;; ++i) {
    const char* key = sqlite3_uri_key(name, i);
    if (key == nullptr) return {};
    const std::string_view parameter(key);
    if (!parameter.starts_with(kUriPrefix)) continue;
    const char* value = sqlite3_uri_parameter(name, key);
    Status status = settings::SetFromUri(parameter.substr(kUriPrefix.size()),
                                         value != nullptr ? value : "", settings);
    if (!status.ok()) return status;
  }
}

}  // namespace

void SetPragmaHandler(PragmaHandler handler) { g_pragma_handler.store(handler); }
PragmaHandler CurrentPragmaHandler() { return g_pragma_handler.load(std::memory_order_relaxed); }

// ---- what SQLite calls ----

struct ShimVfs::Methods {
  static sqlite3_vfs* Base(sqlite3_vfs* vfs) { return From(vfs).base(); }

  static int xOpen(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out) {
    return From(vfs).Open(name, file, flags, out);
  }
  static int xDelete(sqlite3_vfs* vfs, const char* name, int sync_directory) {
    vfs = Base(vfs);
    const int result = vfs->xDelete(vfs, name, sync_directory);
    if (result == SQLITE_OK) ShimFile::JournalDeleted(name);
    return result;
  }
  static int xAccess(sqlite3_vfs* vfs, const char* name, int flags, int* result) {
    vfs = Base(vfs);
    return vfs->xAccess(vfs, name, flags, result);
  }
  static int xFullPathname(sqlite3_vfs* vfs, const char* name, int bytes, char* path) {
    vfs = Base(vfs);
    return vfs->xFullPathname(vfs, name, bytes, path);
  }
  static void* xDlOpen(sqlite3_vfs* vfs, const char* name) {
    vfs = Base(vfs);
    return vfs->xDlOpen(vfs, name);
  }
  static void xDlError(sqlite3_vfs* vfs, int bytes, char* message) {
    vfs = Base(vfs);
    vfs->xDlError(vfs, bytes, message);
  }
  static void (*xDlSym(sqlite3_vfs* vfs, void* library, const char* symbol))(void) {
    vfs = Base(vfs);
    return vfs->xDlSym(vfs, library, symbol);
  }
  static void xDlClose(sqlite3_vfs* vfs, void* library) {
    vfs = Base(vfs);
    vfs->xDlClose(vfs, library);
  }
  static int xRandomness(sqlite3_vfs* vfs, int bytes, char* out) {
    vfs = Base(vfs);
    return vfs->xRandomness(vfs, bytes, out);
  }
  static int xSleep(sqlite3_vfs* vfs, int microseconds) {
    vfs = Base(vfs);
    const SleepMark mark;
    return vfs->xSleep(vfs, microseconds);
  }
  static int xCurrentTime(sqlite3_vfs* vfs, double* now) {
    vfs = Base(vfs);
    return vfs->xCurrentTime(vfs, now);
  }
  static int xGetLastError(sqlite3_vfs* vfs, int bytes, char* message) {
    vfs = Base(vfs);
    return vfs->xGetLastError(vfs, bytes, message);
  }
  static int xCurrentTimeInt64(sqlite3_vfs* vfs, sqlite3_int64* now) {
    vfs = Base(vfs);
    return vfs->xCurrentTimeInt64(vfs, now);
  }
  static int xSetSystemCall(sqlite3_vfs* vfs, const char* name, sqlite3_syscall_ptr function) {
    vfs = Base(vfs);
    return vfs->xSetSystemCall(vfs, name, function);
  }
  static sqlite3_syscall_ptr xGetSystemCall(sqlite3_vfs* vfs, const char* name) {
    vfs = Base(vfs);
    return vfs->xGetSystemCall(vfs, name);
  }
  static const char* xNextSystemCall(sqlite3_vfs* vfs, const char* name) {
    vfs = Base(vfs);
    return vfs->xNextSystemCall(vfs, name);
  }

  static void Mirror(const sqlite3_vfs& base, sqlite3_vfs& vfs);
};

// As for files: slots that are empty below stay empty, fields of a later iVersion are not read.
void ShimVfs::Methods::Mirror(const sqlite3_vfs& base, sqlite3_vfs& vfs) {
  vfs.iVersion = base.iVersion < 3 ? base.iVersion : 3;
#define LOCKSCOPE_MIRROR(slot) vfs.slot = base.slot == nullptr ? nullptr : slot
  LOCKSCOPE_MIRROR(xOpen);
  LOCKSCOPE_MIRROR(xDelete);
  LOCKSCOPE_MIRROR(xAccess);
  LOCKSCOPE_MIRROR(xFullPathname);
  LOCKSCOPE_MIRROR(xDlOpen);
  LOCKSCOPE_MIRROR(xDlError);
  LOCKSCOPE_MIRROR(xDlSym);
  LOCKSCOPE_MIRROR(xDlClose);
  LOCKSCOPE_MIRROR(xRandomness);
  LOCKSCOPE_MIRROR(xSleep);
  LOCKSCOPE_MIRROR(xCurrentTime);
  LOCKSCOPE_MIRROR(xGetLastError);
  if (base.iVersion >= 2) LOCKSCOPE_MIRROR(xCurrentTimeInt64);
  if (base.iVersion >= 3) {
    LOCKSCOPE_MIRROR(xSetSystemCall);
    LOCKSCOPE_MIRROR(xGetSystemCall);
    LOCKSCOPE_MIRROR(xNextSystemCall);
  }
#undef LOCKSCOPE_MIRROR
}

ShimVfs::ShimVfs(sqlite3_vfs* base, std::string name, Purpose purpose)
    : base_(base), name_(std::move(name)), purpose_(purpose) {
  Methods::Mirror(*base, vfs_);
  vfs_.szOsFile = ShimFile::kLowerOffset + base->szOsFile;
  vfs_.mxPathname = base->mxPathname;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
}

ShimVfs* ShimVfs::Ours(sqlite3_vfs* vfs) {
  return vfs != nullptr && vfs->xOpen == Methods::xOpen ? &From(vfs) : nullptr;
}

// ---- opening ----

int ShimVfs::Open(const char* name, sqlite3_file* file, int flags, int* out_flags) noexcept {
  if ((flags & SQLITE_OPEN_MAIN_DB) == 0 || name == nullptr) {
    const int result = base_->xOpen(base_, name, file, flags, out_flags);
    constexpr int kAsked = SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    const bool existing = (flags & kAsked) == (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_READWRITE);
    if (existing && result == SQLITE_OK) ShimFile::JournalOpened(name, file);
    return result;
  }
  try {
    return OpenDatabase(name, file, flags, out_flags);
  } catch (const std::bad_alloc&) {
    file->pMethods = nullptr;
    return SQLITE_NOMEM;
  } catch (...) {
    file->pMethods = nullptr;
    return SQLITE_ERROR;
  }
}

namespace {

// Undoes what OpenDatabase has begun, unless it is told that all went well.
class Opening {
 public:
  Opening(sqlite3_file* file, ledger::Connection& connection)
      : file_(file), connection_(connection) {}
  ~Opening() {
    if (done_) return;
    if (lower_ != nullptr && lower_->pMethods != nullptr) lower_->pMethods->xClose(lower_);
    if (shim_ != nullptr) shim_->~ShimFile();
    file_->pMethods = nullptr;
    ledger::Ledger::Process().Close(connection_);
  }
  Opening(const Opening&) = delete;
  Opening& operator=(const Opening&) = delete;

  void Constructed(ShimFile* shim) {
    shim_ = shim;
    lower_ = shim->lower();
    lower_->pMethods = nullptr;
  }
  void Done() { done_ = true; }

 private:
  sqlite3_file* file_;
  ledger::Connection& connection_;
  ShimFile* shim_ = nullptr;
  sqlite3_file* lower_ = nullptr;
  bool done_ = false;
};

}  // namespace

int ShimVfs::OpenDatabase(const char* name, sqlite3_file* file, int flags, int* out_flags) {
  file->pMethods = nullptr;
  settings::DatabaseSettings settings;
  // Only then are there parameters behind the name.
  const bool uri = (flags & SQLITE_OPEN_URI) != 0;
  if (const Status status = uri ? SettingsFromUri(name, settings) : Status{}; !status.ok()) {
    sqlite3_log(SQLITE_CANTOPEN, "lockscope: cannot open %s: URI parameter: %s", name,
                status.message.c_str());
    return SQLITE_CANTOPEN;
  }
  ledger::Connection* connection = ledger::Ledger::Process().Open();
  if (connection == nullptr) return SQLITE_NOMEM;
  Opening opening(file, *connection);
  auto* shim = new (static_cast<void*>(file)) ShimFile(*this, *connection, settings);
  opening.Constructed(shim);
  int got = flags;  // as far as the VFS below says
  const int result = base_->xOpen(base_, name, shim->lower(), flags, &got);
  if (result != SQLITE_OK) return result;
  if (out_flags != nullptr) *out_flags = got;
  shim->Opened(name, (got & SQLITE_OPEN_READONLY) != 0,
               uri && sqlite3_uri_boolean(name, "immutable", 0) != 0);
  opening.Done();
  return SQLITE_OK;
}

// ---- registration ----

namespace {

// Not one of the ranked mutexes: held across sqlite3_vfs_register(), which takes SQLite's own.
std::mutex& RegistrationMutex() {
  static std::mutex* const mutex = new std::mutex();
  return *mutex;
}

// The VFS to put a shim on; null where there is none. A shim on a shim records every lock twice, so
// where none is named and the default is a shim already, what is below that one is meant.
sqlite3_vfs* FindBase(const char* base) {
  sqlite3_vfs* below = sqlite3_vfs_find(base);
  const ShimVfs* shim = base == nullptr ? ShimVfs::Ours(below) : nullptr;
  return shim != nullptr ? shim->base() : below;
}

Status AlreadyRegistered(ShimVfs& shim, const char* base, bool make_default) {
  sqlite3_vfs* wanted = FindBase(base);
  if (wanted != shim.base()) {
    return {SQLITE_MISUSE,
            "the VFS " + shim.name() + " is registered already, on top of " + shim.base()->zName};
  }
  if (make_default) sqlite3_vfs_register(shim.vfs(), 1);
  return {};
}

// REQUIRES: the registration mutex is held.
Status Install(sqlite3_vfs* below, const std::string& name, ShimVfs::Purpose purpose,
               bool make_default) {
  ledger::Ledger::Process();
  auto shim = std::make_unique<ShimVfs>(below, name, purpose);
  const int result = sqlite3_vfs_register(shim->vfs(), make_default ? 1 : 0);
  if (result != SQLITE_OK) return {result, "SQLite refused to register the VFS"};
  (void)shim.release();  // for the life of the process
  return {};
}

}  // namespace

const char* RegisteredBase(const char* name) {
  const ShimVfs* shim = ShimVfs::Ours(sqlite3_vfs_find(name));
  return shim != nullptr ? shim->base()->zName : nullptr;
}

void Prepare() {
  static std::once_flag once;
  std::call_once(once, [] {
    ledger::PrepareClock();
    ExclusiveFiles::Prepare();
    const bool bug = HasWalResetBug(sqlite3_libversion_number());
    for (const std::string& complaint : settings::LoadEnvironment(bug)) {
      sqlite3_log(SQLITE_WARNING, "%s", complaint.c_str());
    }
    if (const Status status = logging::Follow(); !status.ok()) {
      settings::ForgetEnvironmentsLog();
      sqlite3_log(SQLITE_WARNING, "lockscope: ignored the environment's LOCKSCOPE_LOG: %s",
                  status.message.c_str());
    }
  });
}

Status Register(const char* base, const char* name, bool make_default) {
  if (sqlite3_libversion_number() < kMinimumSqliteVersion) {
    return {SQLITE_ERROR,
            std::string("lockscope needs SQLite 3.37.0 or later, this is ") + sqlite3_libversion()};
  }
  if (name == nullptr) name = "lockscope";
  if (*name == 0) return {SQLITE_MISUSE, "the name of a VFS cannot be empty"};
  const std::lock_guard lock(RegistrationMutex());
  Prepare();
  // The first call to sqlite3_vfs_find() also initialises SQLite.
  if (sqlite3_vfs* existing = sqlite3_vfs_find(name); existing != nullptr) {
    if (ShimVfs* shim = ShimVfs::Ours(existing))
      return AlreadyRegistered(*shim, base, make_default);
    return {SQLITE_MISUSE, std::string("there is another VFS called ") + name};
  }
  sqlite3_vfs* below = FindBase(base);
  if (below == nullptr) {
    return {SQLITE_ERROR, std::string("no such vfs: ") + (base != nullptr ? base : "(default)")};
  }
  return Install(below, name, ShimVfs::Purpose::kApplications, make_default);
}

Result<std::string> BarrierVfs(const std::string& base) {
  const std::string name = "lockscope-barrier/" + base;
  const std::lock_guard lock(RegistrationMutex());
  Prepare();
  if (ShimVfs::Ours(sqlite3_vfs_find(name.c_str())) != nullptr) return name;
  sqlite3_vfs* below = sqlite3_vfs_find(base.c_str());
  if (below == nullptr) return Status{SQLITE_ERROR, "no such vfs: " + base};
  if (Status status = Install(below, name, ShimVfs::Purpose::kBarriers, false); !status.ok()) {
    return status;
  }
  return name;
}

}  // namespace lockscope::shim
