// Formulas of the host: values against the same expressions in C++, and what is refused.
#include "runtime/train/Formula.h"

#include "runtime/train/JsonFields.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lorac::train {
namespace {

Formula read(const std::string &json, std::string &error) {
  const Json value = Json::parse(json);
  return Formula::read(Fields(value, "formula", error));
}

double value(const std::string &json, double rate = 0, double update = 1, double decay = 0) {
  std::string error;
  const Formula formula = read(json, error);
  EXPECT_EQ(error, "") << json;
  return formula.evaluate(rate, update, decay);
}

TEST(Formula, OperandsAreInTheOrderOfTheText) {
  EXPECT_EQ(value("[7]"), 7);
  EXPECT_EQ(value("[-0.0]"), 0);
  EXPECT_TRUE(std::signbit(value("[-0.0]")));
  EXPECT_EQ(value(R"([7, 2, "-"])"), 5);
  EXPECT_EQ(value(R"([7, 2, "/"])"), 3.5);
  EXPECT_EQ(value(R"([7, 2, "pow"])"), 49);
  EXPECT_EQ(value(R"([7, 2, "+"])"), 9);
  EXPECT_EQ(value(R"([7, 2, "*"])"), 14);
  EXPECT_EQ(value(R"([7, 2, "min"])"), 2);
  EXPECT_EQ(value(R"([7, 2, "max"])"), 7);
  EXPECT_EQ(value(R"([2, 7, "min"])"), 2);
  EXPECT_EQ(value(R"([2, 7, "max"])"), 7);
  EXPECT_EQ(value(R"([2.25, "sqrt"])"), 1.5);
  EXPECT_EQ(value(R"([2, "neg"])"), -2);
  EXPECT_EQ(value(R"([1, 2, 3, "*", "-"])"), -5);
  EXPECT_EQ(value(R"([1, 2, "-", 3, "*"])"), -3);
  EXPECT_EQ(value(R"(["rate"])", 0.25, 3), 0.25);
  EXPECT_EQ(value(R"(["update"])", 0.25, 3), 3);
  EXPECT_EQ(value(R"(["weight_decay"])", 0.25, 3, 0.5), 0.5);
}

TEST(Formula, IsComputedInDouble) {
  for (double rate : {1e-5, 3e-4, 0.1})
    for (int update : {1, 2, 10, 999, 100000}) {
      EXPECT_EQ(value(R"([1, "rate", 0.01, "*", "-"])", rate, update), 1 - rate * 0.01);
      EXPECT_EQ(value(R"([1, 0.999, "update", "pow", "-", "sqrt"])", rate, update),
                std::sqrt(1 - std::pow(0.999, update)));
      EXPECT_EQ(value(R"(["rate", 1, 0.9, "update", "pow", "-", "/", "neg"])", rate, update),
                -(rate / (1 - std::pow(0.9, update))));
    }
}

TEST(Formula, RefusesWhatHasNoValue) {
  std::string deep = "[1";
  for (int i = 0; i < 16; ++i)
    deep += ", 1";
  for (int i = 0; i < 16; ++i)
    deep += ", \"+\"";
  const struct {
    std::string json;
    const char *words;
  } cases[] = {
      {"[]", "'formula' leaves 0 values, not one"},
      {"[1, 2]", "'formula' leaves 2 values, not one"},
      {R"(["+"])", "'formula[0]' lacks operands of '+'"},
      {R"([1, "-"])", "'formula[1]' lacks operands of '-'"},
      {R"([1, 2, "-", "pow"])", "'formula[3]' lacks operands of 'pow'"},
      {R"(["sqrt"])", "'formula[0]' lacks operands of 'sqrt'"},
      {R"([1, "sin"])", "'formula[1]' is 'sin'; known: rate, update"},
      {R"(["Rate"])", "'formula[0]' is 'Rate'"},
      {R"([""])", "'formula[0]' is ''"},
      {R"([[1]])", "'formula[0]' is not a number"},
      {R"([null])", "'formula[0]' is not a number"},
      {R"([true])", "'formula[0]' is not a number"},
      {R"({"a": 1})", "'formula' is not a list"},
      {R"("rate")", "'formula' is not a list"},
      {deep + "]", "'formula[16]' makes more than 16 values at once"},
  };
  for (const auto &c : cases) {
    std::string error;
    read(c.json, error);
    EXPECT_NE(error.find(c.words), std::string::npos) << c.json << ": " << error;
  }
}

} // namespace
} // namespace lorac::train
