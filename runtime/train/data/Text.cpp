// format = "text": samples between separators; a file of any length, a window of it in memory.

#include "runtime/train/SampleReader.h"
#include "runtime/train/data/DataFormat.h"
#include "runtime/train/data/SampleSink.h"

namespace lorac::train {

static Result<void> load(const std::string &path, SampleSink &sink) {
  LORAC_TRY_ASSIGN(SampleReader reader,
                   SampleReader::open(path, sink.table.separator, sink.encoder.cut));
  sink.lookAt(path, reader.firstBytes());
  return sink.readAll(reader,
                      [&](const SamplePart &part) { return sink.add(part, {path, part.line}); });
}

const DataFormat formatText = {"text", load};

} // namespace lorac::train
