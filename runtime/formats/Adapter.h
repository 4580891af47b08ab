#pragma once
// Low-rank adapters as files: PEFT's folder, read and written, and llama.cpp's GGUF.

#include "runtime/Result.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace lorac::formats {

/// One adapted module.
struct AdapterModule {
  std::string module; ///< model.layers.0.self_attn.q_proj
  int64_t rank = 0, in = 0, out = 0;
  double alpha = 0;        ///< as PEFT states it; the writers go by `scale`
  double scale = 0;        ///< of the update: alpha/rank, or alpha/sqrt(rank) (rsLoRA)
  std::vector<float> a, b; ///< [rank, in], [out, rank]
};

struct Adapter {
  int64_t r = 8; ///< adapter_config.json's; single modules may differ
  double alpha = 8;
  double dropout = 0;
  bool useRslora = false;
  std::string baseModel; ///< base_model_name_or_path: words only, never opened
  std::vector<std::string>
      targetModules; ///< for adapter_config.json when written; empty: the modules' full paths
  std::vector<AdapterModule> modules;

  const AdapterModule *find(const std::string &module) const;
};

/// Reads a folder in PEFT's layout, a `.safetensors` file with its names (r is each tensor's own;
/// adapter_config.json beside it is taken where there is one, else alpha = r). Errors,
/// Exit::ForeignFile: pickles (adapter_model.bin, .pt, .pth) by name and by magic, half pairs,
/// wrong shapes, methods other than LoRA (named).
Result<Adapter> readAdapter(const std::string &path);

/// What a program expects of an adapter.
struct WantedAdapter {
  std::string module;
  int64_t rank = 0, in = 0, out = 0; ///< rank 0: any
};
/// All misfits in one error that names the tensors (Exit::ForeignFile): missing, of another shape,
/// for modules that the model does not adapt.
Result<void> checkAdapter(const Adapter &adapter, std::span<const WantedAdapter> wanted,
                          const std::string &path);

/// Writes adapter_config.json (the keys that old and new PEFT accept) and adapter_model.safetensors
/// into an existing folder, each durably. rank_pattern and alpha_pattern are written where modules
/// differ.
Result<void> writePeftAdapter(const std::string &folder, const Adapter &adapter);

/// How a module is called in GGUF.
struct GgufModule {
  std::string module;       ///< model.layers.0.self_attn.q_proj
  std::string gguf;         ///< blk.0.attn_q.weight
  int64_t permuteHeads = 0; ///< rows of B are permuted for this many heads; 0: they are not
};
/// Writes a GGUF adapter for llama.cpp. Its readers know one alpha for the file and scale by
/// alpha/rank of each tensor: what a module's scale differs from that is folded into its B. Error:
/// a module that `names` lacks.
Result<void> writeGgufAdapter(const std::string &path, const Adapter &adapter,
                              const std::string &architecture, std::span<const GgufModule> names);
/// The inverse: scale alpha/rank, rows of B back in Hugging Face's order.
Result<Adapter> readGgufAdapter(const std::string &path, std::span<const GgufModule> names);

} // namespace lorac::formats
