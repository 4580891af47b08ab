#include "tests/ptxsim/mutation/Subjects.h"
#include <algorithm>
#include <bit>
#include <cmath>
#include <fstream>
#include <sstream>

namespace ptxsim {
namespace {

// Whole numbers between -8 and 8: sums of products are exact, in whatever order.
std::vector<float> numbers(size_t count, uint32_t seed) {
  std::vector<float> values(count);
  for (float &value : values) {
    seed = seed * 1664525 + 1013904223;
    value = static_cast<float>(static_cast<int>(seed >> 24) % 17 - 8);
  }
  return values;
}

std::vector<uint16_t> bf16(const std::vector<float> &values) {
  std::vector<uint16_t> halves;
  for (float value : values)
    halves.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));
  return halves;
}

// Two blocks each way, of which one is ragged; five panels.
Answer runGemm(Gpu &gpu, const std::string &ptx) {
  const int m = 70, n = 88, k = 160;
  std::vector<float> a = numbers(m * k, 1), b = numbers(k * n, 2);
  Answer answer;
  for (int row = 0; row < m; ++row)
    for (int column = 0; column < n; ++column) {
      float sum = 0;
      for (int j = 0; j < k; ++j)
        sum += a[row * k + j] * b[j * n + column];
      answer.expected.push_back(sum);
    }
  gpu.load(ptx);
  CUdeviceptr c = gpu.allocate(4 * m * n);
  gpu.launch("gemm", {2, 2}, {128}, 0, gpu.upload(bf16(a)), gpu.upload(bf16(b)), c, m, n, k);
  answer.values = gpu.download<float>(c, m * n);
  return answer;
}

Answer runSum(Gpu &gpu, const std::string &ptx) {
  const int n = 3001, blocks = 5;
  std::vector<float> x = numbers(n, 3);
  Answer answer;
  std::vector<float> parts(blocks, 0);
  for (int at = 0; at < n; ++at)
    parts[at / 128 % blocks] += x[at];
  float sum = 0;
  for (float part : parts)
    sum += part;
  answer.expected.push_back(sum);
  for (int k = blocks - 1; k >= 0; --k)
    answer.expected.push_back(parts[k] / sum);
  answer.tolerance = 1e-6;
  gpu.load(ptx);
  CUdeviceptr part = gpu.allocate(4 * blocks), out = gpu.allocate(4 * (1 + blocks));
  gpu.launch("parts", {unsigned(blocks)}, {128}, 0, gpu.upload(x), part, n);
  gpu.launch("total", {1}, {128}, 0, part, out, blocks);
  answer.values = gpu.download<float>(out, 1 + blocks);
  return answer;
}

// The padding of x is never written.
Answer runScale(Gpu &gpu, const std::string &ptx) {
  const int rows = 3, n = 301, stride = 304;
  std::vector<float> x = numbers(rows * n, 4), scale = numbers(n, 5);
  Answer answer;
  CUdeviceptr padded = gpu.allocate(4 * rows * stride), y = gpu.allocate(4 * rows * stride);
  for (int row = 0; row < rows; ++row) {
    EXPECT_EQ(cuMemcpyHtoD_v2(padded + 4 * row * stride, &x[row * n], 4 * n), CUDA_SUCCESS);
    for (int column = 0; column < stride; ++column)
      answer.expected.push_back(column < n ? x[row * n + column] * scale[column] : 0);
  }
  gpu.load(ptx);
  gpu.launch("scale_rows", {4}, {64}, 4 * stride, padded, gpu.upload(scale), y, rows, n, stride);
  answer.values = gpu.download<float>(y, rows * stride);
  return answer;
}

constexpr Subject subjects[] = {{"gemm.cu", runGemm}, {"sum.cu", runSum}, {"scale.cu", runScale}};

} // namespace

bool Answer::isRight() const {
  float largest = 0;
  for (float value : expected)
    largest = std::max(largest, std::fabs(value));
  for (size_t k = 0; k < expected.size(); ++k) // not a number is wrong, too
    if (!(std::fabs(values[k] - expected[k]) <= tolerance * largest))
      return false;
  return values.size() == expected.size();
}

const Subject &subject(const std::string &file) {
  return *std::find_if(std::begin(subjects), std::end(subjects),
                       [&](const Subject &subject) { return subject.file == file; });
}

std::string sourceOf(const std::string &file) {
  std::ifstream stream(std::string(PTXSIM_MUTATION_KERNELS) + "/" + file);
  EXPECT_TRUE(stream) << file;
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

} // namespace ptxsim
