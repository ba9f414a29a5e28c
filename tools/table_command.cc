#include "table_command.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "insight/summary.h"
#include "insight/table.h"
#include "terminal.h"
#include "text.h"

namespace lockscope::tools {
namespace {

using insight::Row;
using insight::Rows;
using insight::Table;
using insight::Value;

std::size_t ColumnIndex(const Table& table, const char* name) {
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    if (std::strcmp(table.columns[i].name, name) == 0) return i;
  }
  throw std::logic_error(std::string("no column ") + name);
}

const std::string& DatabaseOf(const Table& table, const Row& row) {
  return std::get<std::string>(row.at(ColumnIndex(table, "database")));
}

std::string ForPeople(const TableCommand& command, const Table& table, const Rows& rows,
                      const Databases& databases) {
  const bool several = databases.found.size() > 1;
  TextTable text;
  if (several) text.AddColumn("DATABASE", Fit::kPath);
  std::vector<std::size_t> columns;
  for (const ShownColumn& shown : command.shown) {
    text.AddColumn(shown.title, shown.fit);
    columns.push_back(ColumnIndex(table, shown.column));
  }
  for (const Row& row : rows) {
    std::vector<std::string> cells;
    if (several) cells.push_back(Visible(databases.NameOf(DatabaseOf(table, row))));
    for (std::size_t i = 0; i < columns.size(); ++i) {
      cells.push_back(Visible(command.shown[i].format(row.at(columns[i]))));
    }
    text.AddRow(std::move(cells));
  }
  return text.Render(TerminalWidth());
}

void SayWhoHasNone(const TableCommand& command, const Table& table, const Rows& rows,
                   const Databases& databases) {
  for (const auto& database : databases.found) {
    const bool has_one = std::any_of(rows.begin(), rows.end(), [&](const Row& row) {
      return DatabaseOf(table, row) == database.path;
    });
    if (!has_one) Complain(std::string(command.nothing) + " " + database.name);
  }
}

int Run(const TableCommand& command, const std::vector<std::string>& names, bool json) {
  const Table* table = insight::FindTable(command.table);
  if (table == nullptr) throw std::logic_error(std::string("no table ") + command.table);
  const Databases databases = Find(names);
  const Rows rows = table->rows(LookAt(databases), {});
  bool printed = false;
  if (json) {
    printed = Print(VisibleJson(insight::ToJson(*table, rows, 2)) + "\n");
  } else {
    SayWhoHasNone(command, *table, rows, databases);
    printed = Print(ForPeople(command, *table, rows, databases));
  }
  return printed && databases.all_found ? kExitWell : kExitWrong;
}

const std::int64_t* Number(const Value& value) { return std::get_if<std::int64_t>(&value); }

std::uint64_t NotNegative(std::int64_t number) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(number, 0));
}

}  // namespace

void AddTable(CLI::App& app, Action& action, const TableCommand& command) {
  struct Options {
    std::vector<std::string> databases;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* subcommand = app.add_subcommand(command.table, command.description);
  subcommand->add_option("DB", options->databases, "database files")->required();
  subcommand->add_flag("--json", options->json, "one JSON array, for programs");
  subcommand->footer(
      std::string(command.note) + "The columns are those of the table lockscope_" + command.table +
      ".\nExit status: 0, also without rows; 1 a database cannot be read or is none; "
      "2 usage.");
  subcommand->callback([&action, &command, options] {
    action = [&command, options](const CommandLine&) {
      return Run(command, options->databases, options->json);
    };
  });
}

std::string Plain(const Value& value) {
  if (const auto* number = Number(value)) return std::to_string(*number);
  if (const auto* text = std::get_if<std::string>(&value)) return insight::OneLine(*text);
  return {};
}

std::string Commas(const Value& value) {
  const auto* number = Number(value);
  return number != nullptr ? insight::WithCommas(NotNegative(*number)) : std::string();
}

std::string Bytes(const Value& value) {
  const auto* number = Number(value);
  return number != nullptr ? insight::HumanBytes(NotNegative(*number)) : std::string();
}

std::string Duration(const Value& value) {
  const auto* number = Number(value);
  return number != nullptr ? insight::HumanDuration(*number) : std::string();
}

std::string Micros(const Value& value) {
  const auto* number = Number(value);
  return number != nullptr ? insight::HumanMicros(*number) : std::string();
}

}  // namespace lockscope::tools
