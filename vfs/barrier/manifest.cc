#include "barrier/manifest.h"

#include <array>

namespace lockscope::barrier {
namespace {

constexpr std::array kColumns = {
    insight::Column{"database", "TEXT"},  insight::Column{"schema", "TEXT"},
    insight::Column{"path", "TEXT"},      insight::Column{"role", "TEXT"},
    insight::Column{"bytes", "INTEGER"},  insight::Column{"frames", "INTEGER"},
    insight::Column{"device", "INTEGER"}, insight::Column{"inode", "INTEGER"}};
constexpr insight::Table kTable{"barrier_files", kColumns, nullptr};

}  // namespace

const insight::Table& FilesTable() { return kTable; }

insight::Rows FileRows(const Barrier& barrier) {
  insight::Rows rows;
  for (const File& file : barrier.files()) {
    rows.push_back(insight::RowOf(insight::Text(file.database), insight::Text(file.schema),
                                  insight::Text(file.path), insight::Text(Name(file.role)),
                                  insight::Int(file.bytes), insight::Maybe(file.frames),
                                  insight::Int(file.id.device), insight::Int(file.id.inode)));
  }
  return rows;
}

std::string Manifest(const Barrier& barrier) {
  return insight::ToJson(FilesTable(), FileRows(barrier));
}

}  // namespace lockscope::barrier
