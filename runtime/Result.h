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

/// LORAC_TRY(expr); returns the error of the Result `expr`, if it has one, from a function that
/// returns a Result itself, and drops a value. LORAC_TRY_ASSIGN(auto rows, expr); keeps the value.
/// Where the message gets more words, or the function returns something else, write the `if`.
#define LORAC_TRY(...)                                                                             \
  do {                                                                                             \
    if (const auto &loracTried = (__VA_ARGS__); !loracTried)                                       \
      return loracTried.error();                                                                   \
  } while (false)
#define LORAC_TRY_ASSIGN(target, ...)                                                              \
  LORAC_TRY_ASSIGN_BY(LORAC_TRY_NAME(loracTried, __LINE__), target, __VA_ARGS__)
#define LORAC_TRY_ASSIGN_BY(tried, target, ...)                                                    \
  auto tried = (__VA_ARGS__);                                                                      \
  if (!tried)                                                                                      \
    return tried.error();                                                                          \
  target = std::move(*tried)
#define LORAC_TRY_NAME(name, line) LORAC_TRY_JOIN(name, line)
#define LORAC_TRY_JOIN(name, line) name##line
