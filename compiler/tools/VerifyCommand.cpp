// `lorac verify`: whether the files of a folder are what lorac wrote there.

#include "compiler/tools/Commands.h"
#include "compiler/tools/Output.h"
#include "runtime/train/Verify.h"

#include <algorithm>

namespace lorac::tools {

Exit runVerify(const VerifyOptions &options) {
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

} // namespace lorac::tools
