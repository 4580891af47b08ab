#include "runtime/train/Manifest.h"

#include "runtime/formats/DurableFile.h"
#include "runtime/train/CheckpointRanks.h"

namespace lorac::train {

Result<void> writeManifest(const std::string &outDir, const RunConfig &run,
                           const std::vector<ProgramRecord> &programs) {
  Json json = {{"lorac", LORAC_VERSION}, {"spec", run.spec}, {"programs", Json::array()}};
  for (const ProgramRecord &record : programs)
    json["programs"].push_back(toJson(record));
  return formats::writeDurably(outDir + "/manifest.json",
                               json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

} // namespace lorac::train
