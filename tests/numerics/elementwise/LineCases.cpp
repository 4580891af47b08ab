#include "tests/numerics/elementwise/LineCases.h"

#include <cmath>
#include <gtest/gtest.h>
#include <random>

namespace lorac::testing {

LineData randomLines(unsigned seed) {
  constexpr int32_t shapes[][2] = {{1, 1},  {4, 176}, {64, 4},  {257, 3},  {3, 257},
                                   {40, 1}, {1, 40},  {16, 16}, {5, 1600}, {1030, 9}};
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> positive(0.5f, 1.5f);
  std::normal_distribution<float> normal;
  LineData data;
  LoracMatrix next{};
  for (const auto &[rows, columns] : shapes) {
    next.offset += int32_t(random() % 5);
    next.rows = rows, next.columns = columns;
    const auto parameter = int32_t(data.matrices.size());
    data.matrices.push_back(next);
    for (int32_t done = 0; done < rows * columns; done += 4096)
      data.spans.push_back(
          {next.offset + done, std::min(4096, rows * columns - done), 0, parameter});
    next.offset += rows * columns, next.row += rows, next.column += columns;
  }
  auto fill = [&](Floats &values, int32_t count, auto &&draw) {
    for (int32_t i = 0; i < count; ++i)
      values.push_back(draw(random));
  };
  fill(data.elements, next.offset, normal);
  fill(data.rows, next.row, positive), fill(data.columns, next.column, positive);
  fill(data.parameters, int32_t(data.matrices.size()), positive);
  return data;
}

std::string MeanCase::params() const {
  return "what = \"case\", line = \"" + line + "\", average = " + (average ? "1" : "0") +
         " : i64, ones = array<i64: 1" + (average ? ", 0, 0" : "") +
         ">, storage = [\"floats\", \"rows\", \"columns\", \"parameters\"], elements = \"i32 f32" +
         (average ? " f32 f32" : "") + " f32 f32 f32 f32 f32\"";
}

const char *MeanCase::body() {
  return R"(
^bb0(%x: f32 loc("x"), %row: f32 loc("row"), %column: f32 loc("column"), %param: f32 loc("param"),
     %one: f32):
  %y = arith.mulf %x, %one : f32
  %square = arith.mulf %y, %y : f32
  %product = arith.mulf %row, %column : f32
  %sum = arith.addf %square, %product : f32
  %term = arith.subf %sum, %param : f32
  %wide = arith.extf %term : f32 to f64
  lora.yield %wide : f64)";
}

std::vector<MeanCase> meanCases() {
  std::vector<MeanCase> all;
  for (const char *line : {"rows", "columns", "parameters"})
    for (bool average : {false, true})
      all.push_back({line, average});
  return all;
}

const Floats &MeanCase::before(const LineData &data) const {
  return line == "rows" ? data.rows : line == "columns" ? data.columns : data.parameters;
}

Floats MeanCase::expected(const LineData &data) const {
  Floats result = before(data);
  for (size_t p = 0; p < data.matrices.size(); ++p) {
    const LoracMatrix &of = data.matrices[p];
    auto mean = [&](int32_t row, int32_t rows, int32_t column, int32_t columns, size_t at) {
      double sum = 0;
      for (int32_t i = row; i < row + rows; ++i)
        for (int32_t j = column; j < column + columns; ++j) {
          const double x =
              double(data.elements[size_t(of.offset + i * of.columns + j)]) * double(data.one);
          sum +=
              x * x +
              double(data.rows[size_t(of.row + i)]) * double(data.columns[size_t(of.column + j)]) -
              double(data.parameters[p]);
        }
      const double made = sum / (double(rows) * columns);
      result[at] =
          float(average ? double(result[at]) * double(data.keep) + made * double(data.take) : made);
    };
    if (line == "parameters")
      mean(0, of.rows, 0, of.columns, p);
    for (int32_t i = 0; line == "rows" && i < of.rows; ++i)
      mean(i, 1, 0, of.columns, size_t(of.row + i));
    for (int32_t j = 0; line == "columns" && j < of.columns; ++j)
      mean(0, of.rows, j, 1, size_t(of.column + j));
  }
  return result;
}

std::string mapOfLinesParams() {
  return "what = \"lines\", regions = 4 : i64, uniform = 0 : i64, by_group = 0 : i64, ones = "
         "array<i64: 1>, writes = array<i64: 0>, storage = [\"floats\", \"rows\", \"columns\", "
         "\"parameters\"], elements = \"i32 f32 f32 f32 f32 f32 i32\"";
}

const char *mapOfLinesBody() {
  return R"(
^bb0(%x: f32 loc("x"), %row: f32 loc("row"), %column: f32 loc("column"), %param: f32 loc("param"),
     %one: f32):
  %part = arith.divf %x, %row : f32
  %scaled = arith.mulf %one, %column : f32
  %more = arith.mulf %scaled, %param : f32
  %sum = arith.addf %part, %more : f32
  lora.yield %sum : f32)";
}

Floats mapOfLines(const LineData &data) {
  Floats after = data.elements;
  for (size_t p = 0; p < data.matrices.size(); ++p) {
    const LoracMatrix &of = data.matrices[p];
    for (int32_t i = 0; i < of.rows; ++i)
      for (int32_t j = 0; j < of.columns; ++j) {
        float &x = after[size_t(of.offset + i * of.columns + j)];
        const float scaled = data.one * data.columns[size_t(of.column + j)];
        x = x / data.rows[size_t(of.row + i)] + scaled * data.parameters[p];
      }
  }
  return after;
}

void expectNear(const Floats &got, const Floats &wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  float largest = 0;
  for (float value : wanted)
    largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], wanted[i], 1e-5f * largest) << i;
}

} // namespace lorac::testing
