#include "actor.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

#ifndef LOCKSCOPE_ACTOR
#error "LOCKSCOPE_ACTOR must be the path of the lockscope_actor executable"
#endif

namespace lockscope::testing {
namespace {

std::string Joined(std::initializer_list<std::string_view> words) {
  std::string line;
  for (const std::string_view word : words) {
    if (!line.empty()) line += ' ';
    line += word;
  }
  return line;
}

std::string Unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      plain += text[i];
      continue;
    }
    const char c = text[++i];
    plain += c == 'n' ? '\n' : c == 't' ? '\t' : c == 'e' ? '\x1E' : c;
  }
  return plain;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// What follows the number: "ok", "ok ROWS" or "error CODE MESSAGE".
Reply ParseReply(std::string_view text) {
  Reply reply;
  if (text.starts_with("error ")) {
    text.remove_prefix(6);
    const std::string rest(text);
    char* end = nullptr;
    reply.code = static_cast<int>(std::strtol(rest.c_str(), &end, 10));
    reply.message = *end == ' ' ? end + 1 : end;
    return reply;
  }
  if (text == "ok") return reply;
  text.remove_prefix(3);
  for (const std::string_view row : Split(text, '\x1E')) {
    Row& columns = reply.rows.emplace_back();
    for (const std::string_view column : Split(row, '\t')) columns.push_back(Unescaped(column));
  }
  return reply;
}

Row LastRow(Reply reply) { return reply.rows.empty() ? Row() : std::move(reply.rows.back()); }

}  // namespace

std::string Reply::text() const {
  std::string joined;
  if (rows.empty()) return joined;
  for (const std::string& column : rows.back()) {
    if (&column != &rows.back().front()) joined += '\t';
    joined += column;
  }
  return joined;
}

std::ostream& operator<<(std::ostream& stream, const Reply& reply) {
  if (reply.ok()) return stream << "ok " << reply.text();
  return stream << "error " << reply.code << " " << reply.message;
}

Reply Answer::Wait() { return actor_->AwaitReply(number_, command_); }

bool Answer::Ready() {
  while (!actor_->replies_.contains(number_)) {
    if (!actor_->Pump(Actor::Clock::now())) return !actor_->alive();
  }
  return true;
}

// ---- Life --------------------------------------------------------------------------------------

Actor::Actor(const Options& options) : options_(options) {
  std::array<int, 2> sockets;
  // A socket, so that writing to a dead actor is an error and not a SIGPIPE.
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    throw std::system_error(errno, std::generic_category(), "socketpair");
  }
  to_ = UniqueFd(sockets[0]);
  const UniqueFd its_input(sockets[1]);
  Pipe output = MakePipe();
  from_ = std::move(output.read);
  std::vector<std::string> argv = options.run_by;
  argv.emplace_back(LOCKSCOPE_ACTOR);
  if (options.plain) argv.emplace_back("--plain");
  pid_ = Spawn(argv, {.env = options.env, .in = its_input.get(), .out = output.write.get()});
  running_ = true;
}

Actor::~Actor() { Kill(); }

bool Actor::alive() { return running_ && !Reap(false); }

void Actor::Kill() {
  if (!alive()) return;
  kill(pid_, SIGKILL);
  Reap(true);
}

// True when the process is no more.
bool Actor::Reap(bool wait) {
  if (!running_) return true;
  pid_t done = 0;
  while ((done = waitpid(pid_, &wait_status_, wait ? 0 : WNOHANG)) < 0 && errno == EINTR) {
  }
  running_ = done == 0;
  return !running_;
}

int Actor::Quit() {
  if (alive()) {
    // No answer comes: its output ends.
    static_cast<void>(Send("quit"));
    const auto deadline = Clock::now() + options_.deadline;
    while (Pump(deadline)) {
    }
    if (Clock::now() >= deadline) Kill();
    Reap(true);
  }
  return WIFEXITED(wait_status_) ? WEXITSTATUS(wait_status_) : 128 + WTERMSIG(wait_status_);
}

std::string Actor::Epitaph() const {
  if (WIFSIGNALED(wait_status_)) {
    return "the actor died of signal " + std::to_string(WTERMSIG(wait_status_));
  }
  return "the actor exited with " + std::to_string(WEXITSTATUS(wait_status_));
}

// ---- The wire ----------------------------------------------------------------------------------

Answer Actor::Send(std::string_view command) {
  const long number = ++last_number_;
  std::string line = std::to_string(number) + " " + std::string(command);
  // A newline within SQL travels as a carriage return.
  std::replace(line.begin(), line.end(), '\n', '\r');
  line += '\n';
  for (std::size_t done = 0; done < line.size();) {
    const ssize_t n = send(to_.get(), line.data() + done, line.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno != EINTR) break;  // dead: Wait() says so
    if (n > 0) done += static_cast<std::size_t>(n);
  }
  return Answer(this, number, std::string(command));
}

// Reads what the actor said. False where nothing came until the deadline, or nothing will come.
bool Actor::Pump(Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd stream = {.fd = from_.get(), .events = POLLIN, .revents = 0};
    const int ready = poll(&stream, 1, left > 0 ? static_cast<int>(left) : 0);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    std::array<char, 65536> buffer;
    const ssize_t n = read(from_.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    unread_.append(buffer.data(), static_cast<std::size_t>(n));
    for (auto end = unread_.find('\n'); end != std::string::npos; end = unread_.find('\n')) {
      Dispatch(std::string_view(unread_).substr(0, end));
      unread_.erase(0, end + 1);
    }
    return true;
  }
}

void Actor::Dispatch(std::string_view line) {
  const auto space = line.find(' ');
  const std::string_view first = line.substr(0, space);
  const std::string_view rest =
      space == std::string_view::npos ? std::string_view() : line.substr(space + 1);
  if (first == "*") {
    points_.emplace_back(rest.substr(rest.find(' ') + 1));
  } else {
    replies_[std::strtol(std::string(first).c_str(), nullptr, 10)] = ParseReply(rest);
  }
}

Reply Actor::AwaitReply(long number, const std::string& command) {
  const auto deadline = Clock::now() + options_.deadline;
  while (!replies_.contains(number)) {
    if (Pump(deadline)) continue;
    Reply none;
    none.code = Reply::kNone;
    if (Clock::now() >= deadline) {
      Kill();
      none.message = "no answer to '" + command + "' in time";
    } else {
      Reap(true);
      none.message = "no answer to '" + command + "': " + Epitaph();
    }
    return none;
  }
  return std::move(replies_.extract(number).mapped());
}

Reply Actor::Must(std::string_view command) {
  Reply reply = Call(command);
  if (!reply.ok()) {
    throw ActorError("actor " + std::to_string(pid_) + ", " + std::string(command) + ": error " +
                     std::to_string(reply.code) + " " + reply.message);
  }
  return reply;
}

// ---- Verbs -------------------------------------------------------------------------------------

void Actor::Open(std::string_view name, std::string_view file) {
  Must(Joined({"open", name, file}));
}
void Actor::OpenReadOnly(std::string_view name, std::string_view file) {
  Must(Joined({"openro", name, file}));
}
void Actor::Close(std::string_view name) { Must(Joined({"close", name})); }
void Actor::BusyTimeout(std::string_view name, int milliseconds) {
  Must(Joined({"timeout", name, std::to_string(milliseconds)}));
}
Row Actor::Exec(std::string_view name, std::string_view sql) {
  return LastRow(Must(Joined({"exec", name, sql})));
}
std::vector<Row> Actor::Query(std::string_view name, std::string_view sql) {
  return Must(Joined({"query", name, sql})).rows;
}
Reply Actor::Try(std::string_view name, std::string_view sql) { return Start(name, sql).Wait(); }
Answer Actor::Start(std::string_view name, std::string_view sql) {
  return Send(Joined({"query", name, sql}));
}
Row Actor::Step(std::string_view name, std::string_view sql) {
  return LastRow(Must(Joined({"step", name, sql})));
}
void Actor::Finish(std::string_view name) { Must(Joined({"finish", name})); }

Actor::CheckpointResult Actor::Checkpoint(std::string_view name, std::string_view mode) {
  const Row row = LastRow(Must(Joined({"checkpoint", name, mode})));
  return {.busy = row.at(0) != "0",
          .log_frames = std::stoi(row.at(1)),
          .checkpointed_frames = std::stoi(row.at(2))};
}

Reply Actor::Backup(std::string_view name, std::string_view source) {
  return Call(Joined({"backup", name, source}));
}

void Actor::Interrupt(std::string_view name) { Must(Joined({"interrupt", name})); }
void Actor::Load(std::string_view name, std::string_view extension) {
  Must(Joined({"load", name, extension}));
}
void Actor::PauseAt(std::string_view point) { Must(Joined({"pause", point})); }
void Actor::TellAt(std::string_view point) { Must(Joined({"tell", point})); }
void Actor::Continue() { Must("continue"); }
void Actor::ForgetPoints() { Must("forget"); }

std::string Actor::AwaitPoint() {
  const auto deadline = Clock::now() + options_.deadline;
  while (points_.empty()) {
    if (Pump(deadline)) continue;
    if (Clock::now() >= deadline) {
      Kill();
      throw ActorError("no point was reached in time");
    }
    Reap(true);
    throw ActorError("no point was reached: " + Epitaph());
  }
  std::string point = std::move(points_.front());
  points_.pop_front();
  return point;
}

void Actor::StrayClose(std::string_view file) { Must(Joined({"stray-close", file})); }
Reply Actor::RawLock(std::string_view kind, std::string_view type, long first, long last,
                     std::string_view file) {
  return Call(Joined({"raw-lock", kind, type, std::to_string(first), std::to_string(last), file}));
}
pid_t Actor::ForkChild() { return static_cast<pid_t>(std::stol(LastRow(Must("fork")).at(0))); }
void Actor::Become(uid_t user, gid_t group) {
  Must(Joined({"become", std::to_string(user), std::to_string(group)}));
}

}  // namespace lockscope::testing
