#include "runtime/formats/AdapterFolder.h"

#include "runtime/formats/DurableFile.h"
#include "runtime/formats/FolderManifest.h"

namespace lorac::formats {

Result<void> writeAdapterFolder(const std::string &path, const Adapter &adapter,
                                AdapterWriter write) {
  LORAC_TRY_ASSIGN(DurableDirectory folder, DurableDirectory::create(path));
  FolderManifest manifest;
  LORAC_TRY(write(folder.workPath(), adapter, &manifest.files));
  LORAC_TRY(manifest.write(folder.workPath()));
  if (Result<Adapter> readBack = readAdapter(folder.workPath()); !readBack)
    return Error{"what was written does not read back: " + readBack.error().message};
  return folder.commit();
}

} // namespace lorac::formats
