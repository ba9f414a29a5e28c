// The rules behind CollectHazards(), by what they look at. Each adds what it finds.
#pragma once

#include <vector>

#include "insight/hazards.h"

namespace lockscope::insight {

void AddJournalHazards(const Scene& scene, std::vector<Hazard>& hazards);
void AddLostLocks(const Scene& scene, std::vector<Hazard>& hazards);
// split-wal, two-sqlites: what /proc tells of the processes that have the database open.
void AddOpenFileHazards(const Scene& scene, std::vector<Hazard>& hazards);
// wal-reset-bug, immutable-open: what connections tell of themselves.
void AddConnectionHazards(const Scene& scene, std::vector<Hazard>& hazards);
// unsafe-filesystem, torn-wal-index
void AddFileHazards(const Scene& scene, std::vector<Hazard>& hazards);
void AddPinHazards(const Scene& scene, std::vector<Hazard>& hazards);

}  // namespace lockscope::insight
