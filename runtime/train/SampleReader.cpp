#include "runtime/train/SampleReader.h"

#include "runtime/tokenizer/Utf8.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace lorac::train {

Result<SampleReader> SampleReader::open(const std::string &path, std::string separator, Cut cut) {
  SampleReader reader;
  reader.path = path;
  reader.separator = std::move(separator);
  reader.cut = std::move(cut);
  reader.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat info;
  if (reader.fd < 0 || fstat(reader.fd, &info) != 0)
    return Error{"cannot open '" + path + "': " + std::strerror(errno), Exit::Refused};
  if (!S_ISREG(info.st_mode))
    return Error{"'" + path + "' is not a regular file", Exit::Refused};
  if (info.st_size == 0)
    return Error{"data file '" + path + "' is empty", Exit::Refused};
  reader.size = uint64_t(info.st_size);
  return reader;
}

SampleReader::SampleReader(SampleReader &&other) noexcept
    : path(std::move(other.path)), separator(std::move(other.separator)), cut(std::move(other.cut)),
      fd(std::exchange(other.fd, -1)), size(other.size), taken(other.taken),
      window(std::move(other.window)), windowAt(other.windowAt), head(other.head),
      searched(other.searched), sampleAt(other.sampleAt), inSample(other.inSample),
      done(other.done), held(other.held), longest(other.longest) {}

SampleReader::~SampleReader() {
  if (fd >= 0)
    close(fd);
}

/// Drops what was given out and reads on.
Result<void> SampleReader::fill() {
  window.erase(0, head);
  windowAt += head;
  searched -= std::min(searched, head);
  head = 0;
  const size_t before = window.size();
  const size_t wanted = size_t(std::min<uint64_t>(readBytes, size - taken));
  if (window.capacity() < before + wanted) // what a sample needs, not twice that
    window.reserve(before + std::max<size_t>(wanted, before / 4));
  window.resize(before + wanted);
  for (size_t got = 0; got < wanted;) {
    const ssize_t n = read(fd, window.data() + before + got, wanted - got);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return Error{"cannot read '" + path + "': it ends at byte " + std::to_string(taken) + " of " +
                       std::to_string(size),
                   Exit::Refused};
    got += size_t(n), taken += uint64_t(n);
  }
  held = std::max<uint64_t>(held, window.capacity());
  return {};
}

Result<std::optional<SamplePart>> SampleReader::give(size_t end, size_t behind, bool last) {
  SamplePart part;
  part.text = std::string_view(window).substr(head, end - head);
  if (std::optional<size_t> bad = tok::firstInvalidUtf8(part.text))
    return Error{"data file '" + path + "' is not UTF-8 at byte " +
                     std::to_string(windowAt + head + *bad) +
                     "; convert it, or leave it out of 'path'",
                 Exit::Refused};
  part.first = !inSample;
  part.last = last;
  if (part.first)
    sampleAt = windowAt + head;
  part.offset = sampleAt;
  inSample = !last;
  longest = std::max<uint64_t>(longest, part.text.size());
  head = searched = behind;
  return std::optional(part);
}

Result<std::optional<SamplePart>> SampleReader::next() {
  while (!done) {
    if (!separator.empty())
      if (size_t at = window.find(separator, searched); at != std::string::npos)
        return give(at, at + separator.size(), true);
    // A separator may begin in the last bytes and end in those that are not read yet.
    const size_t open = separator.empty() ? 0 : separator.size() - 1;
    searched = std::max(head, window.size() - std::min(window.size(), open));
    if (taken == size) {
      // A long last sample still comes in parts.
      if (cut && window.size() - head > partBytes)
        if (size_t at = cut(std::string_view(window).substr(head, partBytes)); at > 0)
          return give(head + at, head + at, false);
      done = true;
      return give(window.size(), window.size(), true);
    }
    if (cut && searched - head >= partBytes)
      if (size_t at = cut(std::string_view(window).substr(head, partBytes)); at > 0)
        return give(head + at, head + at, false);
    if (Result<void> read = fill(); !read)
      return read.error();
  }
  return std::optional<SamplePart>();
}

} // namespace lorac::train
