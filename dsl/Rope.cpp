#include "dsl/Rope.h"

#include "dsl/Text.h"

#include <cmath>
#include <numbers>

namespace lorac::dsl {

// Long wavelengths are stretched, short ones kept, those between mixed (Llama 3.1).
static float llama3(float inverse, const RopeNumbers &rope) {
  const float wavelength = float(2 * std::numbers::pi) / inverse;
  const auto original = float(rope.originalPositions), low = float(rope.lowFreqFactor),
             high = float(rope.highFreqFactor), factor = float(rope.factor);
  if (wavelength < original / high)
    return inverse;
  if (wavelength > original / low)
    return inverse / factor;
  const float kept = (original / wavelength - low) / (high - low);
  return (1 - kept) * inverse / factor + kept * inverse;
}

std::optional<RopeType> ropeTypeOf(std::string_view word) {
  if (word == "default" || word == "none")
    return RopeType::Plain;
  if (word == "linear")
    return RopeType::Linear;
  if (word == "llama3")
    return RopeType::Llama3;
  return std::nullopt;
}

std::optional<std::vector<float>> inverseFrequencies(const RopeNumbers &rope, std::string &wrong) {
  const bool isPlain = rope.type == RopeType::Plain, isLlama3 = rope.type == RopeType::Llama3;
  if (isPlain && rope.factor != 0 && rope.factor != 1)
    wrong = "a factor of " + shortest(rope.factor) +
            " asks for scaled rotary positions, but no type of scaling is stated";
  else if (!isPlain && !(rope.factor >= 1))
    wrong = std::string("rotary positions of type '") + (isLlama3 ? "llama3" : "linear") +
            "' need a factor of at least 1, got " + shortest(rope.factor);
  else if (!isLlama3 && (rope.lowFreqFactor != 0 || rope.highFreqFactor != 0))
    wrong = "low_freq_factor and high_freq_factor belong to rotary positions of type 'llama3'";
  else if (isLlama3 && !(rope.lowFreqFactor > 0 && rope.highFreqFactor > rope.lowFreqFactor &&
                         rope.originalPositions > 0))
    wrong = "rotary positions of type 'llama3' need low_freq_factor, a larger high_freq_factor "
            "and original_max_position_embeddings";
  else if (!rope.divisors.empty() && !isPlain)
    wrong = "the file scales rotary positions twice, by a type and by a tensor";
  if (!wrong.empty())
    return std::nullopt;
  std::vector<float> out;
  for (int64_t i = 0; i < rope.dim / 2; ++i) {
    const float exponent = float(2 * i) / float(rope.dim);
    float inverse = 1.0f / float(std::pow(rope.theta, double(exponent)));
    if (rope.type == RopeType::Linear)
      inverse /= float(rope.factor);
    else if (isLlama3)
      inverse = llama3(inverse, rope);
    else if (!rope.divisors.empty())
      inverse /= rope.divisors[size_t(i)];
    if (!std::isfinite(inverse) || !(inverse > 0)) {
      wrong = "the frequency of pair " + std::to_string(i) + " is " + shortest(inverse) +
              ", where a positive number is needed: theta (" + shortest(rope.theta) +
              ") or a factor is too large or too small";
      return std::nullopt;
    }
    out.push_back(inverse);
  }
  return out;
}

} // namespace lorac::dsl
