#pragma once
// Result<T>: a value or one error that has been worded for the user, with the exit code that it
// means.

#include <cassert>
#include <optional>
#include <string>
#include <utility>

namespace lorac {

/// Exit codes of every lorac program. 128+n: ended by signal n.
enum class Exit : int {
  Done = 0,
  Failed = 1,      // failed in work
  Usage = 2,       // the command line
  Refused = 3,     // spec or data refused
  DoesNotFit = 4,  // the plan does not fit the memory
  ForeignFile = 5, // a foreign file is corrupt, or of another model
  Bug = 70,        // ours
};

/// One error, already worded: lower case, no period, with the values and the mend.
struct Error {
  std::string message;
  Exit code = Exit::Failed;
  /// Bytes are not what was written there: an older copy may be whole.
  bool corrupt = false;
};

template <typename T>
class [[nodiscard]] Result {
public:
  Result(T value) : stored(std::move(value)) {}
  Result(Error error) : failure(std::move(error)) {}

  explicit operator bool() const { return stored.has_value(); }
  T &operator*() { return *stored; }
  const T &operator*() const { return *stored; }
  T *operator->() { return &*stored; }
  const T *operator->() const { return &*stored; }
  const Error &error() const {
    assert(failure && "asked only after a failure");
    return *failure;
  }

private:
  std::optional<T> stored;
  std::optional<Error> failure;
};

template <>
class [[nodiscard]] Result<void> {
public:
  Result() = default;
  Result(Error error) : failure(std::move(error)) {}

  explicit operator bool() const { return !failure.has_value(); }
  const Error &error() const {
    assert(failure && "asked only after a failure");
    return *failure;
  }

private:
  std::optional<Error> failure;
};

} // namespace lorac
