// Ranges of the spec as MLIR locations, and back to words.

#include "compiler/frontend/Locations.h"
#include "mlir/IR/BuiltinAttributes.h"

using namespace mlir;

Location lorac::locationOf(MLIRContext &context, const dsl::SourceRange &range, StringRef name) {
  Location place = UnknownLoc::get(&context);
  if (range)
    place = FileLineColRange::get(StringAttr::get(&context, range.file->path), range.beginLine,
                                  range.beginColumn, range.endLine, range.endColumn);
  return name.empty() ? place : Location(NameLoc::get(StringAttr::get(&context, name), place));
}

std::string lorac::nameOf(Location location) {
  if (auto named = dyn_cast<NameLoc>(location))
    return named.getName().str();
  return "";
}

std::string lorac::placeOf(Location location) {
  if (auto named = dyn_cast<NameLoc>(location))
    location = named.getChildLoc();
  if (auto place = dyn_cast<FileLineColRange>(location))
    return (place.getFilename().strref() + ":" + Twine(place.getStartLine()) + ":" +
            Twine(place.getStartColumn()))
        .str();
  return "";
}
