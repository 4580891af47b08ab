#include "runtime/train/SampleReader.h"

#include "runtime/train/DataKind.h"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <utility>

namespace lorac::train {

Result<SampleReader> SampleReader::open(const std::string &path, std::string separator, Cut cut) {
  SampleReader reader;
  reader.path = path;
  reader.separator = decodedSeparator(separator);
  reader.cut = std::move(cut);
  reader.file = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info;
  if (!reader.file || fstat(*reader.file, &info) != 0)
    return Error{"cannot open '" + path + "': " + std::strerror(errno), Exit::Refused};
  if (S_ISDIR(info.st_mode))
    return Error{"'" + path + "' is a folder: name a file or a pattern, as in \"" + path +
                     (path.ends_with("/") ? "" : "/") + "*.txt\"",
                 Exit::Refused};
  if (!S_ISREG(info.st_mode))
    return Error{"'" + path + "' is not a regular file", Exit::Refused};
  if (info.st_size == 0)
    return Error{"data file '" + path + "' is empty", Exit::Refused};
  reader.size = uint64_t(info.st_size);
  LORAC_TRY(reader.fill());
  return reader;
}

/// Drops what was given out and reads on.
Result<void> SampleReader::fill() {
  window.erase(0, head);
  windowAt += head;
  searched -= std::min(searched, head);
  head = 0;
  std::string bytes(size_t(std::min<uint64_t>(readBytes, size - taken)), '\0');
  const size_t got = readAt(*file, taken, bytes.data(), bytes.size());
  taken += got;
  if (got < bytes.size())
    return Error{"cannot read '" + path + "': it ends at byte " + std::to_string(taken) + " of " +
                     std::to_string(size),
                 Exit::Refused};
  if (begin.empty()) {
    begin = bytes.substr(0, 512);
    if (std::optional<std::string> kind = binaryKind(begin))
      return Error{"data file '" + path + "' is " + *kind, Exit::Refused};
  }
  const size_t room = window.size() + bytes.size();
  if (window.capacity() < room) // what a sample needs, not twice that
    window.reserve(room + std::max<size_t>(bytes.size(), window.size() / 4));
  Result<void> decoded = decoder.push(bytes, window);
  if (decoded && taken == size) {
    atEnd = true;
    decoded = decoder.finish(window);
  }
  if (!decoded)
    return Error{"data file '" + path + "' " + decoded.error().message, Exit::Refused};
  held = std::max<uint64_t>(held, window.capacity() + 2 * readBytes); // beside it what was read
  return {};
}

std::string_view SampleReader::lineOfSeparator() const {
  const std::string_view all = separator;
  if (all.size() <= 2 || all.front() != '\n' || all.back() != '\n' || all[1] == '\n')
    return {};
  return all.substr(1, all.size() - 2);
}

std::optional<SamplePart> SampleReader::give(size_t end, size_t behind, bool last) {
  if (!inSample)
    sampleAt = windowAt + head, sampleLine = line;
  SamplePart part;
  part.text = std::string_view(window).substr(head, end - head);
  part.offset = sampleAt;
  part.line = sampleLine;
  part.first = !inSample;
  part.last = last;
  inSample = !last;
  longest = std::max<uint64_t>(longest, part.text.size());
  line +=
      uint64_t(std::count(window.begin() + int64_t(head), window.begin() + int64_t(behind), '\n'));
  head = searched = behind;
  return part;
}

/// What stands behind the last separator; without a line's end before one that is the last line.
std::optional<SamplePart> SampleReader::giveLast() {
  const std::string_view word = lineOfSeparator();
  const std::string_view rest = std::string_view(window).substr(head);
  size_t end = window.size();
  if (!word.empty() && !inSample && rest == word)
    end = head;
  else if (!word.empty() && rest.ends_with(separator.substr(0, separator.size() - 1)))
    end -= separator.size() - 1;
  done = true;
  return give(end, window.size(), true);
}

Result<std::optional<SamplePart>> SampleReader::next() {
  while (!done) {
    const bool isLine = !lineOfSeparator().empty();
    const std::string_view rest = std::string_view(window).substr(head);
    // The first line, or one behind another separator.
    if (isLine && !inSample && (atEnd || rest.size() >= separator.size())) {
      if (rest.starts_with(std::string_view(separator).substr(1)))
        return give(head, head + separator.size() - 1, true);
    }
    if (!separator.empty() && (!isLine || inSample || atEnd || rest.size() >= separator.size()))
      if (size_t at = window.find(separator, searched); at != std::string::npos)
        return give(at, at + separator.size(), true);
    // A separator may begin in the last bytes and end in those that are not read yet; that which is
    // the last line has no line's end.
    const size_t open = separator.empty() ? 0 : separator.size() - 1;
    searched = std::max(head, window.size() - std::min(window.size(), open));
    if (cut && searched - head >= partBytes)
      if (size_t at = cut(std::string_view(window).substr(head, partBytes)); at > 0)
        return give(head + at, head + at, false);
    if (atEnd)
      return giveLast();
    LORAC_TRY(fill());
  }
  return std::optional<SamplePart>();
}

} // namespace lorac::train
