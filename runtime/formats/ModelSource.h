#pragma once
// A pretrained model on disk, GGUF or Hugging Face, behind one interface: Hugging Face's row order,
// values as float32.

#include "runtime/Result.h"
#include "runtime/formats/Blocks.h"
#include "runtime/formats/Gguf.h"
#include "runtime/formats/HfConfig.h"
#include "runtime/formats/Safetensors.h"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::formats {

/// Rows of a matrix [n, k] (a vector: [1, n]), wherever they come from. Thread-safe.
class RowSource {
public:
  virtual ~RowSource() = default;
  int64_t rows() const { return n; }
  int64_t cols() const { return k; }
  /// Row `row` as float32, `cols()` values.
  virtual void readRow(int64_t row, float *out) const = 0;
  /// The type that the rows are stored in; null where they are computed.
  virtual const GgmlTypeInfo *stored() const { return nullptr; }
  /// A row as decodeCodes gives it, where stored() has codes.
  virtual void readCodes(int64_t row, uint8_t *codes, float *scales, float *minima) const {}
  /// Called when the rows [begin, end) have been read for the last time.
  virtual void done(int64_t begin, int64_t end) const {}

protected:
  int64_t n = 0, k = 0;
};

/// A weight that a program wants.
struct WantedWeight {
  std::string name;           ///< Hugging Face's
  std::string gguf;           ///< GGUF's
  std::vector<int64_t> shape; ///< [out, in] or [n]
  /// Heads of the row permutation that a GGUF file has (q, k of a Llama); 0: none.
  int64_t permuteHeads = 0;
  double hfAdd = 0; ///< what a Hugging Face folder's numbers lack (Gemma's norms: 1)
};

struct SourceTensor {
  std::string name; ///< as the file has it
  std::vector<int64_t> shape;
  std::optional<WeightFormat> kept; ///< how kernels see it as it is stored; nothing: it is not read
  std::string_view stored;          ///< its type, as the file calls it
  uint64_t bytes = 0;
};

class ModelSource {
public:
  enum class Kind { Gguf, HuggingFace };
  /// A GGUF file, or a folder with config.json and model.safetensors (or shards). Errors:
  /// Exit::ForeignFile for what is corrupt or a pickle (.bin, .pt, .pth: refused by name and by
  /// magic), Exit::Failed for what is missing.
  static Result<std::shared_ptr<const ModelSource>> open(const std::string &path);

  Kind kind() const { return gguf() ? Kind::Gguf : Kind::HuggingFace; }
  const std::string &path() const { return where; }
  /// general.architecture, or config.json's model_type.
  const std::string &architecture() const { return archName; }
  /// By a dotted key of config.json or a GGUF key (without {arch}: filled in by the caller).
  /// Nothing when absent or null. The tokens' array answers with its length, any other array or
  /// object with words that fit no number.
  std::optional<HyperValue> hyper(const std::string &key) const;
  /// Whether config.json says null at a key.
  bool isNull(const std::string &key) const { return hfConfig && hfConfig->isNull(key); }
  /// All that the files say of how the model computes, by key: config.json's values, or the GGUF
  /// keys of its architecture.
  std::vector<std::pair<std::string, HyperValue>> statements() const;
  /// What a user should hear of this model, a line each.
  const std::vector<std::string> &notes() const { return noteList; }
  const std::vector<SourceTensor> &tensors() const { return list; }
  bool hasTensor(const std::string &name) const;
  /// The numbers of a vector of a GGUF; nothing where it has none of this name and length.
  std::optional<std::vector<float>> vector(const std::string &name, int64_t length) const;

  /// Finds every wanted weight and checks shapes and types. All misfits stand in one error that
  /// names the tensors (Exit::ForeignFile). The sources keep the files mapped. The order is that of
  /// `wanted`.
  Result<std::vector<std::unique_ptr<RowSource>>> find(std::span<const WantedWeight> wanted) const;

  /// Refuses a file with tensors that the program does not use (biases, other layers): computing
  /// without them would be wrong. Names all of them. Tables that transformers once saved and a head
  /// that equals a tied embedding are no such tensors.
  Result<void> checkNothingElse(std::span<const WantedWeight> wanted) const;

  const Gguf *gguf() const { return ggufFile ? &*ggufFile : nullptr; }
  const HfConfig *config() const { return hfConfig ? &*hfConfig : nullptr; }

private:
  Result<void> openFolder();
  Result<void> openGguf();
  /// transformers ties the head only where the file has none, or one of the embedding's values.
  void checkTie();

  std::string where, archName;
  bool headIsItsOwn = false; ///< although config.json ties it
  std::vector<std::string> noteList;
  std::vector<SourceTensor> list;
  std::optional<Gguf> ggufFile;
  std::optional<HfConfig> hfConfig;
  std::vector<Safetensors> shards;
};

} // namespace lorac::formats
