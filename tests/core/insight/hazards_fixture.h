// One database, whose hazards a test makes real, and what lockscope_hazards says of it.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "core/session.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace lockscope::testing {

using Lines = std::vector<std::string>;

class HazardsTest : public ::testing::Test {
 protected:
  void Make(const std::string& journal_mode, int rows = 200) {
    CreateDatabase(path_, {.journal_mode = journal_mode, .rows = rows});
  }
  Lines Hazards(const std::string& columns, const std::string& where = "1") {
    return look_.Lines("select " + columns + " from lockscope_hazards(" + Quote(path_) +
                       ") where " + where);
  }
  // "HAZARD SEVERITY PID CONNECTION", in the table's order.
  Lines All() { return Hazards("hazard, severity, pid, connection"); }
  static std::string Row(const std::string& hazard, const std::string& pid,
                         const std::string& connection = "NULL") {
    return hazard + " " + pid + " " + connection;
  }
  static std::string Pid(const Actor& actor) { return std::to_string(actor.pid()); }
  static std::string Here() { return std::to_string(getpid()); }
  // The number of this process's connection that was opened last.
  std::string Newest() {
    return look_.Value("select max(connection) from lockscope_connections(" + Quote(path_) +
                       ") where pid = " + Here());
  }
  // The explanation or the advice of the one row has this in it.
  void ExpectText(const std::string& part) {
    const Lines texts = Hazards("explanation || ' -> ' || advice");
    ASSERT_EQ(texts.size(), 1U);
    EXPECT_NE(texts.front().find(part), std::string::npos) << texts.front();
  }
  std::string Uri(const std::string& parameters) const {
    return "file:" + path_ + "?" + parameters;
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  Db look_{":memory:"};
};

// A Python program with arguments that says a line when it is ready, and lives as long as this.
class PythonProcess {
 public:
  PythonProcess(const std::string& program, std::vector<std::string> arguments,
                const std::string& ready_file)
      : ready_(ready_file) {
    std::vector<std::string> argv = {"python3", "-c", program};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    pid_ = Spawn(std::move(argv), {});
  }
  ~PythonProcess() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  PythonProcess(const PythonProcess&) = delete;
  PythonProcess& operator=(const PythonProcess&) = delete;

  // Whether it has made its file, which it does when it is ready.
  bool Ready(std::chrono::milliseconds deadline = std::chrono::seconds(30)) const {
    return Eventually([this] { return FileSize(ready_) >= 0; }, deadline);
  }
  std::string pid() const { return std::to_string(pid_); }

 private:
  std::string ready_;
  pid_t pid_;
};

}  // namespace lockscope::testing
