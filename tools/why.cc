// lockscope why: a diagnosis in words.
#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "command.h"
#include "insight/diagnosis.h"
#include "insight/summary.h"
#include "terminal.h"
#include "text.h"

namespace lockscope::tools {
namespace {

using insight::Finding;
using insight::Severity;

// Between the two looks: long enough for a reader or writer at work to move on.
constexpr std::chrono::milliseconds kBetweenLooks{500};
constexpr int kSamples = 50;        // of the read slots meanwhile
constexpr std::size_t kIndent = 9;  // "warning" and two blanks

class Report {
 public:
  Report() : width_(TerminalWidth()), colours_(UseColours()) {}

  void Database(const std::string& name, const insight::Database& database) {
    Line("", Visible(name + ": " + insight::DescribeDatabase(database)), 2);
  }

  void Add(const Finding& finding) {
    std::string label = Label(finding.severity);
    std::string_view rest = finding.text;
    while (true) {
      const std::string_view line = rest.substr(0, rest.find('\n'));
      Line(label, Visible(line), kIndent);
      label.assign(kIndent, ' ');
      if (line.size() == rest.size()) break;
      rest.remove_prefix(line.size() + 1);
    }
    if (!finding.advice.empty()) Line(label + "-> ", Visible(finding.advice), kIndent + 3);
  }

  const std::string& text() const { return text_; }

 private:
  // What follows the first line is indented by `indent`.
  void Line(const std::string& begin, const std::string& text, std::size_t indent) {
    // A bad indent is better than a column of single words.
    const std::size_t width = width_ ? std::max<std::size_t>(*width_ - indent, 20) : 0;
    bool first = true;
    for (const std::string& line : width_ ? Wrap(text, width) : std::vector<std::string>{text}) {
      text_ += first ? begin : std::string(indent, ' ');
      text_ += line + "\n";
      first = false;
    }
  }

  std::string Label(Severity severity) const {
    const std::string name = insight::Name(severity);
    const std::string blanks(kIndent - name.size(), ' ');
    if (!colours_) return name + blanks;
    const char* colour = "\x1b[32m";
    if (severity == Severity::kWarning) colour = "\x1b[33m";
    if (severity == Severity::kDanger) colour = "\x1b[1;31m";
    return colour + name + "\x1b[0m" + blanks;
  }

  std::optional<std::size_t> width_;
  bool colours_;
  std::string text_;
};

std::string ForPeople(const Databases& databases, const insight::Look& look,
                      const std::vector<Finding>& findings) {
  Report report;
  for (const insight::Database& database : look.databases()) {
    report.Database(databases.NameOf(database.path), database);
    for (const Finding& finding : findings) {
      if (finding.database == database.path) report.Add(finding);
    }
  }
  return report.text();
}

template <class Number>
nlohmann::ordered_json OrNull(const std::optional<Number>& number) {
  return number ? nlohmann::ordered_json(*number) : nlohmann::ordered_json();
}

std::string ForPrograms(const std::vector<Finding>& findings) {
  using Json = nlohmann::ordered_json;
  Json array = Json::array();
  for (const Finding& finding : findings) {
    array.push_back({{"database", finding.database},
                     {"severity", insight::Name(finding.severity)},
                     {"hazard", finding.hazard},
                     {"pid", OrNull(finding.pid)},
                     {"connection", OrNull(finding.connection)},
                     {"text", finding.text},
                     {"advice", finding.advice.empty() ? Json() : Json(finding.advice)}});
  }
  return VisibleJson(array.dump(2, ' ', false, Json::error_handler_t::replace)) + "\n";
}

int Why(const std::vector<std::string>& names, bool json) {
  const Databases databases = Find(names);
  std::vector<Finding> findings;
  std::string text;
  if (!databases.found.empty()) {
    const insight::Look earlier = LookAt(databases);
    insight::SlotWatch watch(earlier);
    for (int i = 0; i < kSamples; ++i) {
      std::this_thread::sleep_for(kBetweenLooks / kSamples);
      watch.Sample();
    }
    const insight::Look look = insight::Look::At(databases.Paths());
    findings = insight::Diagnose(look, &earlier, &watch);
    text = ForPeople(databases, look, findings);
  }
  const bool printed = Print(json ? ForPrograms(findings) : text);
  const bool trouble = std::any_of(findings.begin(), findings.end(), [](const Finding& finding) {
    return finding.severity != Severity::kOk;
  });
  return printed && databases.all_found && !trouble ? kExitWell : kExitWrong;
}

}  // namespace

void AddWhy(CLI::App& app, Action& action) {
  struct Options {
    std::vector<std::string> databases;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* subcommand = app.add_subcommand(
      "why", "a diagnosis in words: who is in the way, what is pinned, what to do");
  subcommand->add_option("DB", options->databases, "database files")->required();
  subcommand->add_flag("--json", options->json,
                       "an array of {database, severity, hazard, pid, connection, text, advice}");
  subcommand->footer(
      "Looks twice, half a second apart, to tell what stays from what only passes by.\n"
      "Exit status: 0 all is well; 1 a danger or a warning was found, or a database cannot be "
      "read; "
      "2 usage.");
  subcommand->callback([&action, options] {
    action = [options](const CommandLine&) { return Why(options->databases, options->json); };
  });
}

}  // namespace lockscope::tools
