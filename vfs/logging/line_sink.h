// LineSink: where the log's lines go: one write() a line, to a file that is appended to or to
// stderr, whole among those of other processes.
//
// What it does to its host: it never blocks on a pipe or terminal that nobody reads (the line is
// left out), raises no SIGPIPE, keeps errno, and its descriptor is closed on exec.
//
// Threads: not safe; whoever logs takes the log's mutex.
#pragma once

#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>

namespace lockscope::logging {

class LineSink : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  // Closes `fd` in the end where it is `owned`.
  LineSink(int fd, bool owned) : fd_(fd), owned_(owned) {}
  ~LineSink() override;
  LineSink(const LineSink&) = delete;
  LineSink& operator=(const LineSink&) = delete;

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override;  // NOLINT: spdlog's names
  void flush_() override {}                                         // NOLINT

 private:
  const int fd_;
  const bool owned_;
};

}  // namespace lockscope::logging
