// format = "text": samples between separators; a file of any length, a window of it in memory.

#include "runtime/train/SampleReader.h"
#include "runtime/train/data/DataFormat.h"
#include "runtime/train/data/SampleSink.h"

namespace lorac::train {

static Result<void> load(const std::string &path, SampleSink &sink) {
  Result<SampleReader> reader = SampleReader::open(path, sink.table.separator, sink.encoder.cut);
  if (!reader)
    return reader.error();
  sink.lookAt(path, reader->firstBytes());
  for (;;) {
    Result<std::optional<SamplePart>> part = reader->next();
    if (!part)
      return part.error();
    if (!*part)
      break;
    if (Result<void> added = sink.add(**part, {path, (*part)->line}); !added)
      return added;
  }
  sink.noteReader(*reader);
  return {};
}

const DataFormat formatText = {"text", load};

} // namespace lorac::train
