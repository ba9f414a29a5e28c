// Manifest: the files of a barrier as rows, for SQL, JSON and whoever copies.
#pragma once

#include <string>

#include "barrier/barrier.h"
#include "insight/table.h"

namespace lockscope::barrier {

// lockscope_barrier_files: its columns. Its rows come from a barrier, not from a look.
const insight::Table& FilesTable();
insight::Rows FileRows(const Barrier& barrier);

// The rows as a JSON array.
std::string Manifest(const Barrier& barrier);

}  // namespace lockscope::barrier
