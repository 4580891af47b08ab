#pragma once
// Low-rank adapters as files: PEFT's folder of LoRA and AdaLoRA, read and written, and llama.cpp's
// GGUF.

#include "runtime/Result.h"
#include "runtime/formats/AdapterLayout.h"

#include <array>
#include <cstdint>
#include <map>
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
  double alpha = 0; ///< as PEFT states it; the writers go by `scale`
  /// Of the update: alpha/rank, or alpha/sqrt(rank) (rsLoRA), or alpha/(init_r + 1e-5) (AdaLoRA).
  double scale = 0;
  std::vector<float> a, b;      ///< [rank, in], [out, rank]
  std::vector<float> e;         ///< [rank]: the update is scale · B·diag(E)·A; empty: plain LoRA
  std::vector<float> magnitude; ///< [out], DoRA's: norms of the rows of W + scale · B·A; else empty
  std::vector<float> gate;      ///< [out], gated LoRA's: factors of the update's rows; else empty
  /// By part, in place of the vectors: the same, in memory that outlives this. Only the writer of
  /// PEFT's folder of LoRA, DoRA and gated LoRA takes them.
  std::array<const float *, adapterParts> lent{};

  std::vector<float> &values(AdapterPart part);
  const float *data(AdapterPart part) const; ///< lent or not
};

/// AdaLoRA's keys in adapter_config.json, with PEFT's defaults. Of an adapter that is trained no
/// more only init_r matters, and that by the scales of its modules.
struct AdaLora {
  int64_t initR = 12, targetR = 8;
  int64_t tinit = 0, tfinal = 0, deltaT = 1;
  int64_t totalStep = 0; ///< 0: not told
  double beta1 = 0.85, beta2 = 0.85, orthRegWeight = 0.5;
  static constexpr int64_t largestInitR = 65536; ///< rank_pattern has init_r words a module
  bool operator==(const AdaLora &) const = default;
};

struct Adapter {
  int64_t r = 8; ///< adapter_config.json's; single modules may differ
  double alpha = 8;
  double dropout = 0;
  bool useRslora = false;
  bool useDora = false;  ///< each module has magnitudes
  bool useGate = false;  ///< each module has a gate
  bool isAlone = false;  ///< no adapter_config.json told r and alpha: the scales are guesses
  std::string baseModel; ///< base_model_name_or_path: words only, never opened
  /// Facts of the model that it was trained on (ModelIdentity), where its file says them.
  std::map<std::string, std::string> base;
  /// For adapter_config.json when written; empty: the modules' full paths.
  std::vector<std::string> targetModules;
  std::vector<AdapterModule> modules;
  std::optional<AdaLora> adaLora; ///< there where the modules have an E

  const AdapterModule *find(const std::string &module) const;
  const AdapterLayout &layout() const;
};

/// Reads a folder in PEFT's layout, a `.safetensors` file with its names (r is each tensor's own;
/// adapter_config.json beside it is taken where there is one, else alpha = r and `isAlone`). DoRA's
/// magnitudes come with every module or none, as adapter_config.json says.
/// Values that are not finite are refused with tensor and position. Of AdaLoRA's only
/// the live triplets are kept, be the tensors cut to them or not; modules of rank 0 are left out;
/// init_r of a file alone is its largest rank, or each module's ranknum. Errors, Exit::ForeignFile:
/// pickles (adapter_model.bin, .pt, .pth) by name and by magic, half pairs, wrong shapes, methods
/// other than LoRA, DoRA and AdaLoRA (named), an AdaLoRA adapter whose ranks are all 0.
Result<Adapter> readAdapter(const std::string &path);

/// What an adapter says beside its numbers.
struct AdapterOrigin {
  std::map<std::string, std::string> base; ///< as Adapter::base
  std::vector<std::string> notes;          ///< what a user should hear of it
};
/// Without reading the numbers. Notes: patterns of adapter_config.json that match no module.
Result<AdapterOrigin> readAdapterOrigin(const std::string &path);

/// A module of a program.
struct WantedAdapter {
  std::string module;
  int64_t rank = 0, in = 0, out = 0;
};
/// Whether a program of these modules, each of at most this rank, can do what the adapter does:
/// ranks may be smaller and modules left out. All misfits in one error (Exit::ForeignFile); `mend`
/// ends it where only ranks are too large.
Result<void> checkAdapter(const Adapter &adapter, std::span<const WantedAdapter> program,
                          const std::string &path, const std::string &mend);

/// Whether the adapter and a program, of AdaLoRA or not, are both DoRA's or both not.
/// Exit::ForeignFile: it names a tensor and the keys of the spec.
Result<void> checkMagnitudes(const Adapter &adapter, bool useDora, bool adaLora,
                             const std::string &path);

/// Whether the adapter and a program are both of gated LoRA or both not. Errors as above.
Result<void> checkGates(const Adapter &adapter, bool useGate, const std::string &path);

/// Plain LoRA with the same update: (B·diag(E), A) and the scales as they are, so that any reader
/// of LoRA knows it. Modules of rank 0 are left out; target_modules are the others' full paths,
/// since by a short name PEFT would give those left out a new adapter. r and alpha are those of the
/// most modules. LoRA and DoRA come back unchanged.
Adapter foldTriplets(Adapter adapter);

/// AdaLoRA with the same update, for what is plain LoRA: A and B as they are, E = 1, init_r the
/// largest rank. So E says nothing of importance. AdaLoRA comes back unchanged. DoRA and gated
/// LoRA have no such form.
Adapter asTriplets(Adapter adapter);

/// Writes adapter_config.json (the keys that old and new PEFT accept) and adapter_model.safetensors
/// into an existing folder, each durably. rank_pattern and alpha_pattern are written where modules
/// differ: alpha_pattern = scale · rank, from which PEFT's alpha/r is the scale. AdaLoRA is folded.
/// `hashes`: XXH3-128 of each file that was written, by its name. The folder must be one that takes
/// its name later: a reader could meet one new file beside an old one.
Result<void> writePeftAdapter(const std::string &folder, const Adapter &adapter,
                              std::map<std::string, std::string> *hashes = nullptr);

/// Writes an AdaLoRA adapter (`adaLora` and every E are there) as PEFT does: tensors cut to the
/// live triplets, which rank_pattern has as the first of init_r. Modules of rank 0 are left out and
/// target_modules are full paths, as above. PEFT knows one init_r, no smaller than any rank, and
/// one alpha: what a module's scale differs from theirs is folded into its E. A total_step that
/// PEFT would refuse is written as the least that it takes.
/// Errors: no module of a rank above 0, an init_r above largestInitR.
Result<void> writePeftAdaLora(const std::string &folder, const Adapter &adapter,
                              std::map<std::string, std::string> *hashes = nullptr);

/// How a module is called in GGUF.
struct GgufModule {
  std::string module;       ///< model.layers.0.self_attn.q_proj
  std::string gguf;         ///< blk.0.attn_q.weight
  int64_t permuteHeads = 0; ///< rows of B are permuted for this many heads; 0: they are not
  int64_t out = 0, in = 0;  ///< of the base's weight; 0: not known
};
/// Whether every module of the adapter is one of the base's linear layers, in its shape. All
/// misfits in one error that names tensors and shapes (Exit::ForeignFile).
Result<void> checkFitsBase(const Adapter &adapter, std::span<const GgufModule> base,
                           const std::string &path);
/// Writes a GGUF adapter for llama.cpp. Its readers know one alpha for the file and scale by
/// alpha/rank of each tensor: what a module's scale differs from that is folded into its B, and so
/// is AdaLoRA's E. Errors: a module that `names` lacks; DoRA, which llama.cpp does not have
/// (Exit::Refused).
Result<void> writeGgufAdapter(const std::string &path, const Adapter &adapter,
                              const std::string &architecture, std::span<const GgufModule> names);
/// The inverse: scale alpha/rank, rows of B back in Hugging Face's order.
Result<Adapter> readGgufAdapter(const std::string &path, std::span<const GgufModule> names);

} // namespace lorac::formats
