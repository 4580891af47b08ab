#include "dsl/Source.h"

namespace lorac::dsl {

std::string_view SourceFile::line(uint32_t number) const {
  if (number == 0 || number > starts.size())
    return {};
  size_t begin = starts[number - 1];
  size_t end = number < starts.size() ? starts[number] - 1 : text.size();
  if (end > begin && text[end - 1] == '\r')
    --end;
  return std::string_view(text).substr(begin, end - begin);
}

std::string SourceRange::str() const {
  if (!file)
    return "default";
  if (file->origin != Origin::Spec || beginLine == 0)
    return file->path;
  return file->path + ":" + std::to_string(beginLine) + ":" + std::to_string(beginColumn);
}

} // namespace lorac::dsl
