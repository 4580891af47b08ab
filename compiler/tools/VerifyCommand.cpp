// `lorac verify`: whether the files of a folder are what lorac wrote there.

#include "compiler/tools/Command.h"
#include "compiler/tools/Output.h"
#include "runtime/train/Verify.h"

#include <algorithm>

namespace lorac::tools {
namespace {

struct VerifyOptions {
  std::string folder;
};

} // namespace

static Exit runVerify(const VerifyOptions &options) {
  std::string folder = options.folder;
  while (folder.size() > 1 && folder.back() == '/')
    folder.pop_back();
  Result<std::vector<train::VerifiedFile>> files = train::verifyFolder(folder);
  if (!files)
    return fail(files.error());
  size_t damaged = 0;
  for (const train::VerifiedFile &file : *files) {
    print((file.damage.empty() ? "ok       " : "damaged  ") + file.name + "\n");
    damaged += !file.damage.empty();
    if (!file.damage.empty())
      sayError(file.damage);
  }
  if (damaged == 0)
    print(folder + ": " + std::to_string(files->size()) + " files are what lorac wrote\n");
  return damaged ? Exit::ForeignFile : Exit::Done;
}

static Action add(CLI::App &app) {
  auto options = std::make_shared<VerifyOptions>();
  app.add_option("DIR", options->folder, "an output folder, a checkpoint or an exported folder")
      ->type_name("");
  return {[options] { return needs(options->folder, "DIR"); },
          [options] { return runVerify(*options); }};
}

const Command commandVerify = {
    "verify",
    "whether a run's files are what lorac wrote: every hash of an output folder, its checkpoints, "
    "an export",
    R"(| `verify DIR` | whether the files of an output folder and its checkpoints, of one checkpoint or of an exported folder are what lorac wrote: every hash; exit 5 with the name of each file that is not |)",
    add};

} // namespace lorac::tools
