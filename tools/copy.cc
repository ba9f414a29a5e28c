// lockscope copy: the exact copier. It takes no lock; the barrier is somebody else's, usually of
// lockscope exec.
#include <memory>
#include <string>

#include "command.h"
#include "copier.h"
#include "insight/summary.h"
#include "manifest_file.h"

namespace lockscope::tools {
namespace {

int Refuse(const Status& status) {
  Complain(status.message);
  return status.code == SQLITE_MISUSE ? kExitUsage : kExitWrong;
}

int CopyInto(const std::string& folder, const std::vector<ListedFile>& files) {
  auto copier = Copier::Into(folder);
  if (!copier.ok()) return Refuse(copier.status());
  std::uint64_t bytes = 0;
  for (const ListedFile& file : files) {
    if (Status status = copier.value().Copy(file); !status.ok()) return Refuse(status);
    bytes += file.bytes;
  }
  const auto removed = copier.value().Finish();
  if (!removed.ok()) return Refuse(removed.status());
  for (const std::string& name : removed.value()) {
    Complain(std::string("removed ")
                 .append(folder)
                 .append("/")
                 .append(name)
                 .append(", left from an earlier copy"));
  }
  Complain("copied " + std::to_string(files.size()) + (files.size() == 1 ? " file, " : " files, ") +
           insight::HumanBytes(bytes) + ", to " + folder);
  return kExitWell;
}

int Run(const std::string& manifest, const std::string& folder) {
  const auto text = ReadManifest(manifest);
  if (!text.ok()) return Refuse(text.status());
  const auto files = ParseManifest(text.value());
  if (!files.ok()) return Refuse(files.status());
  return CopyInto(folder, files.value());
}

}  // namespace

void AddCopy(CLI::App& app, Action& action) {
  struct Options {
    std::string manifest;
    std::string folder;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("copy", "copies what a manifest lists, to the byte, into a folder");
  command->add_option("MANIFEST", options->manifest, "the manifest of a barrier; - is stdin")
      ->required();
  command->add_option("DEST", options->folder, "a folder; made where there is none")->required();
  command->footer(
      "Copies of each file exactly the bytes listed: the barrier's own instant, for several "
      "databases\n"
      "too. Shares blocks where the file system can. Nothing has its final name before all is "
      "copied\n"
      "and synced; a -wal, -shm or -journal of an earlier copy is removed.\n"
      "Run it while the barrier is held:\n"
      "  lockscope exec --db app.db -- sh -c 'lockscope copy \"$LOCKSCOPE_MANIFEST\" "
      "/backup/today'\n"
      "Exit status: 0 copied; 1 a file cannot be read or written or is not the one listed, or\n"
      "MANIFEST is none; 2 usage: two files of one name, or one with the name of another's\n"
      "-wal, a line feed in a name, a file onto itself.");
  command->callback([&action, options] {
    action = [options](const CommandLine&) { return Run(options->manifest, options->folder); };
  });
}

}  // namespace lockscope::tools
