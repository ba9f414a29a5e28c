#include "process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <stdexcept>

namespace lockscope::torture {

Child::Child(std::string name, const std::function<void()>& body) : name_(std::move(name)) {
  std::fflush(nullptr);
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork");
  if (pid_ > 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int status = 0;
  try {
    body();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "torture: %s: %s\n", name_.c_str(), e.what());
    status = 1;
  }
  std::fflush(nullptr);
  _exit(status);
}

Child::~Child() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

bool Child::Judge(int status) {
  pid_ = -1;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  std::fprintf(stderr, "torture: %s ended with %s %d\n", name_.c_str(),
               WIFEXITED(status) ? "status" : "signal",
               WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  return false;
}

bool Child::Join() {
  if (pid_ <= 0) return false;
  int status = 0;
  waitpid(pid_, &status, 0);
  return Judge(status);
}

bool Child::Ended() {
  int status = 0;
  if (pid_ > 0 && waitpid(pid_, &status, WNOHANG) == 0) return false;
  if (pid_ > 0) Judge(status);
  return true;
}

void Channel::Send(const nlohmann::json& message) {
  const std::string line = message.dump() + "\n";
  for (std::size_t done = 0; done < line.size();) {
    const ssize_t n = send(fd_, line.data() + done, line.size() - done, MSG_NOSIGNAL);
    if (n < 0) throw std::runtime_error("the other process is gone");
    done += static_cast<std::size_t>(n);
  }
}

bool Channel::Receive(nlohmann::json& message) {
  char* line = nullptr;
  std::size_t size = 0;
  const ssize_t length = getline(&line, &size, file_.get());
  const std::string text(line, length > 0 ? static_cast<std::size_t>(length) : 0);
  std::free(line);
  if (length <= 0) return false;
  message = nlohmann::json::parse(text);
  return true;
}

nlohmann::json Channel::Receive() {
  nlohmann::json message;
  if (!Receive(message)) throw std::runtime_error("the other process is gone");
  return message;
}

}  // namespace lockscope::torture
