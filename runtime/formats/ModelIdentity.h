#pragma once
// What makes a model this model and no other: its architecture, every hyper-parameter as its files
// say it, and what the architecture expects them to say. A compiled program carries it; it is
// compared wherever a model, a checkpoint or an adapter meets the program.

#include "runtime/Result.h"
#include "runtime/formats/HfConfig.h"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::formats {

class ModelSource;

/// A hyper-parameter, where files keep it, and what the model says that the program was made for.
struct ModelSymbol {
  std::string name;
  std::vector<std::string> hf, gguf;   ///< keys of config.json, of GGUF ({arch} is filled in)
  std::string ggufAbsentTensor;        ///< true where the GGUF has no such tensor
  std::optional<HyperValue> otherwise; ///< where a file does not say; none: it must
  HyperValue value;
  bool nullIsZero = false; ///< null in config.json says 0: there is none
  /// It only says how rotary frequencies are scaled: files say that in different ways.
  bool ofFrequencies = false;
  std::optional<HyperValue> ggufOtherwise; ///< where a GGUF does not say, if it is another

  const std::optional<HyperValue> &unsaid(bool isGguf) const {
    return isGguf && ggufOtherwise ? ggufOtherwise : otherwise;
  }
};

/// What files must say where they say anything.
struct ModelExpectation {
  std::vector<std::string> hf, gguf;
  std::string ggufAbsentTensor;   ///< a tensor that the GGUF must not have
  std::vector<HyperValue> values; ///< any of them; empty: the keys must be absent
  std::string why;
  bool mustBeSaid = false; ///< by one of the keys; a container without such keys cannot
};

struct ModelIdentity {
  std::string architecture;
  std::vector<std::string> modelTypes; ///< model_type of config.json, general.architecture
  std::vector<ModelSymbol> symbols;
  std::vector<ModelExpectation> expects;
  /// A tensor of GGUF files that divides rotary frequencies, and its numbers; none: the model's
  /// files have no such tensor.
  std::string ropeDivisors;
  std::vector<float> divisors;
  /// Rotary frequencies that are scaled, by name.
  std::map<std::string, std::vector<float>> frequencies;
  /// The kind of each layer, where another than the architecture's own rule gives.
  std::string layerTypes;
  std::vector<std::string> harmless; ///< keys of either kind that bear on nothing computed here

  /// Its architecture, hyper-parameters, scaled frequencies and kinds of layers as words, by name:
  /// what checkpoints and adapters keep. What only says how frequencies are scaled stands under
  /// "rope.words.NAME", for people and for records of versions that kept no frequencies.
  std::map<std::string, std::string> facts() const;
};

/// Whether two values mean the same number, truth or word. Numbers are compared as float32, which
/// is all that GGUF keeps of them.
bool sameValue(const HyperValue &a, const HyperValue &b);
std::string valueText(const HyperValue &value);

/// What the model says of a symbol: the first key that is there, or what a null means; none where
/// it says nothing.
std::optional<HyperValue> statedValue(const ModelSource &model, const ModelSymbol &symbol);

/// Every difference of the model's files in one error (Exit::ForeignFile): another architecture or
/// hyper-parameter ("'rope_theta' was 10000 and is 500000"), what is not as expected, two keys that
/// contradict each other, and keys that are not known here, with what they say.
Result<void> checkIdentity(const ModelSource &model, const ModelIdentity &identity);

/// "'rope_theta' was 10000 and is 500000" for everything that differs; empty: nothing does.
/// Frequencies may differ by 1e-5 of each: who scales them rounds them.
std::string differingFacts(const std::map<std::string, std::string> &then,
                           const std::map<std::string, std::string> &now);

/// Compares the base that an adapter's file names, where it names one, with this one.
/// Error: Exit::ForeignFile, with everything that differs.
Result<void> checkAdapterBase(const std::map<std::string, std::string> &base,
                              const ModelIdentity &identity, const std::string &adapterPath);

/// As JSON, and back. Error: Exit::ForeignFile.
std::string toJson(const ModelIdentity &identity);
Result<ModelIdentity> parseModelIdentity(std::string_view json);
/// In the metadata of an adapter's tensors; PEFT passes it over.
constexpr const char *adapterBaseKey = "lorac_base";
std::string factsToJson(const std::map<std::string, std::string> &facts);
/// Nothing where it is no JSON object of words.
std::optional<std::map<std::string, std::string>> factsFromJson(std::string_view json);

} // namespace lorac::formats
