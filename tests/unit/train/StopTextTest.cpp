#include "runtime/train/StopText.h"

#include <gtest/gtest.h>

namespace lorac::train {
namespace {

/// What each part lets out, and the end; "|" where a stop string came.
std::string told(std::vector<std::string> stops, const std::vector<std::string> &parts) {
  StopText text(std::move(stops));
  std::string out;
  for (const std::string &part : parts) {
    out += "[" + text.push(part) + "]";
    if (text.found())
      return out + "|" + text.finish();
  }
  return out + text.finish();
}

TEST(StopText, WithoutStopsAllIsCertain) { EXPECT_EQ(told({}, {"ab", "", "c"}), "[ab][][c]"); }

TEST(StopText, EndsBeforeTheStop) {
  EXPECT_EQ(told({"stop"}, {"go on, ", "stop here"}), "[go on, ][]|");
  EXPECT_EQ(told({"stop"}, {"a stop b"}), "[a ]|");
}

TEST(StopText, HoldsBackWhatMayBeTheBeginning) {
  EXPECT_EQ(told({"stop"}, {"a st", "op"}), "[a ][]|");
  EXPECT_EQ(told({"stop"}, {"a st", "ay", "s"}), "[a ][stay][]s");
  EXPECT_EQ(told({"aab"}, {"a", "a", "a", "b"}), "[][][a][]|") << "the beginning moves on";
}

TEST(StopText, TheFirstOfSeveral) {
  EXPECT_EQ(told({"late", "b"}, {"a b late"}), "[a ]|");
  EXPECT_EQ(told({"xyz", "yzw"}, {"xy", "zw"}), "[][]|");
  EXPECT_EQ(told({"xyzz", "yzw"}, {"xy", "zw"}), "[][x]|");
}

} // namespace
} // namespace lorac::train
