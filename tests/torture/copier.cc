#include "copier.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "support/subprocess.h"

namespace lockscope::torture {
namespace {

using nlohmann::json;
using testing::UniqueFd;

[[noreturn]] void ThrowErrno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

// Pauses after chunks, but not for ever: a tool that reads a growing WAL to its end has to be
// faster than the writers.
class Pauses {
 public:
  explicit Pauses(const CopyJob& job) : most_us_(job.pause_us), random_(job.seed) {}

  void AfterChunk() {
    if (left_-- > 0) Sleep(most_us_);
  }
  void BetweenFiles() { Sleep(10 * most_us_); }

 private:
  void Sleep(int most_us) {
    if (most_us > 0) usleep(static_cast<useconds_t>(Between(random_, 0, most_us)));
  }

  int left_ = 500;
  int most_us_;
  Random random_;
};

class FileCopy {
 public:
  explicit FileCopy(const CopyItem& item)
      : left_(item.bytes.value_or(INT64_MAX)),
        from_(open(item.from.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (from_.get() < 0 && errno != ENOENT) ThrowErrno(item.from);
    if (from_.get() < 0) return;
    to_ = UniqueFd(open(item.to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (to_.get() < 0) ThrowErrno(item.to);
  }

  // False once there is nothing more to copy.
  bool CopyChunk(std::vector<char>& buffer) {
    if (from_.get() < 0) return false;
    const auto want = std::min<std::int64_t>(left_, static_cast<std::int64_t>(buffer.size()));
    const ssize_t n = read(from_.get(), buffer.data(), static_cast<std::size_t>(want));
    if (n < 0) ThrowErrno("read");
    if (n == 0) return false;
    if (write(to_.get(), buffer.data(), static_cast<std::size_t>(n)) != n) ThrowErrno("write");
    left_ -= n;
    return left_ > 0;
  }

 private:
  std::int64_t left_;
  UniqueFd from_;
  UniqueFd to_;
};

void CopyFiles(const CopyJob& job) {
  Pauses pauses(job);
  std::vector<char> buffer(static_cast<std::size_t>(job.chunk_bytes));
  if (!job.interleaved) {
    for (const CopyItem& item : job.items) {
      FileCopy copy(item);
      while (copy.CopyChunk(buffer)) pauses.AfterChunk();
      pauses.BetweenFiles();
    }
    return;
  }
  std::vector<FileCopy> copies;
  for (const CopyItem& item : job.items) copies.emplace_back(item);
  for (bool more = true; more;) {
    more = false;
    for (FileCopy& copy : copies) {
      more = copy.CopyChunk(buffer) || more;
      pauses.AfterChunk();
    }
  }
}

void RemoveDatabases(const std::vector<std::string>& databases) {
  for (const std::string& path : databases) {
    for (const char* suffix : {"", "-wal", "-shm", "-journal"}) unlink((path + suffix).c_str());
  }
}

Audit VerifyFile(const std::string& path) {
  try {
    Sql db(path);
    db.RetryEveryMillisecond(20000);
    return AuditDatabase(db, "main", true);
  } catch (const SqlError& error) {
    return {.complaint = error.what(), .total = 0, .serial = 0};
  }
}

json ToJson(const CopyJob& job) {
  json items = json::array();
  for (const CopyItem& item : job.items) {
    items.push_back({{"from", item.from}, {"to", item.to}, {"bytes", item.bytes.value_or(-1)}});
  }
  return {{"items", items},
          {"chunk_bytes", job.chunk_bytes},
          {"pause_us", job.pause_us},
          {"interleaved", job.interleaved},
          {"seed", job.seed}};
}

CopyJob FromJson(const json& message) {
  CopyJob job;
  for (const json& item : message["items"]) {
    const auto bytes = item["bytes"].get<std::int64_t>();
    job.items.push_back({.from = item["from"],
                         .to = item["to"],
                         .bytes = bytes < 0 ? std::nullopt : std::optional(bytes)});
  }
  job.chunk_bytes = message["chunk_bytes"];
  job.pause_us = message["pause_us"];
  job.interleaved = message["interleaved"];
  job.seed = message["seed"];
  return job;
}

json Answer(const json& question) {
  if (question.contains("copy")) CopyFiles(FromJson(question["copy"]));
  if (question.contains("remove")) RemoveDatabases(question["remove"]);
  if (!question.contains("verify")) return json::object();
  const Audit audit = VerifyFile(question["verify"]);
  return {{"complaint", audit.complaint}, {"total", audit.total}, {"serial", audit.serial}};
}

void Serve(Channel channel) {
  json question;
  while (channel.Receive(question)) channel.Send(Answer(question));
}

}  // namespace

Copier::Copier() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) ThrowErrno("socketpair");
  child_.emplace("copier", [&ends] {
    close(ends[0]);
    Serve(Channel(ends[1]));
  });
  close(ends[1]);
  channel_ = std::make_unique<Channel>(ends[0]);
}

json Copier::Ask(const json& question) {
  channel_->Send(question);
  return channel_->Receive();
}

void Copier::Copy(const CopyJob& job) { Ask({{"copy", ToJson(job)}}); }

Audit Copier::Verify(const std::string& path) {
  const json answer = Ask({{"verify", path}});
  return {.complaint = answer["complaint"], .total = answer["total"], .serial = answer["serial"]};
}

void Copier::Remove(const std::vector<std::string>& databases) { Ask({{"remove", databases}}); }

}  // namespace lockscope::torture
