#pragma once
// Text that ends before one of several strings.

#include <string>
#include <string_view>
#include <vector>

namespace lorac::train {

class StopText {
public:
  explicit StopText(std::vector<std::string> stops) : stops(std::move(stops)) {}

  /// Takes the text's next part; gives what is certain now. The beginning of a stop string is held
  /// back until it is known to be none.
  std::string push(std::string_view more);
  /// What was held back: the text ends here.
  std::string finish();
  /// Whether a stop string came: what stands before the first of them has been given.
  bool found() const { return isFound; }

private:
  std::vector<std::string> stops;
  std::string held;
  bool isFound = false;
};

} // namespace lorac::train
