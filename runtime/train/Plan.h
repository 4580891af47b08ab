#pragma once
// plan.json as structs (docs/plan.md): what the compiler decided, checked once so
// that a step needs no checks.

#include "runtime/Result.h"
#include "runtime/abi.h"
#include "runtime/formats/AdapterLayout.h"
#include "runtime/train/Formula.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::train {

struct PlanTiles {
  enum Space { Rows, Const, Segments };
  Space space = Const;
  int64_t tile = 1;  ///< rows: rows a tile
  int64_t count = 1; ///< const: tiles; segments: tiles a segment
};

/// A size that a kernel goes to: a number, the launch's rows, the samples of a micro-batch and one
/// more, or a scalar of the launch.
struct LaunchSize {
  enum Kind { Number, Rows, Starts, Scalar } kind = Number;
  int64_t value = 0; ///< the number, or the scalar's index
};

/// What a kernel takes: a part of a weight, or `outer` rows in the arena whose first `columns`
/// elements are used and which begin `stride` elements after each other.
struct PlanBuffer {
  int64_t weightBytes = -1; ///< of a part of a weight; -1: it lies in the arena
  int64_t element = 0;      ///< bytes; 0: how far it goes is not stated
  LaunchSize outer, stride, columns;
};

struct PlanKernel {
  std::string name, family;
  std::vector<PlanBuffer> buffers;
  std::vector<int64_t> mostScalar; ///< of each scalar; 0: no bound
  // cpu
  PlanTiles tiles;
  int64_t scratch = 0; ///< bytes a worker
  // cuda
  int64_t threads = 0; ///< of a block
  int64_t shared = 0;  ///< bytes of dynamic shared memory
};

/// An architecture of NVIDIA's GPUs that kernels were compiled for ("sm_80").
struct PlanArch {
  std::string name;
  int capability = 0; ///< 80
  bool exact = false; ///< "sm_90a": runs on no other
};

/// An offset into the arena, or a part of a weight.
struct PlanArg {
  int64_t offset = 0;
  int32_t weight = -1, part = 0;
};

struct PlanLaunch {
  int32_t kernel = 0;
  std::vector<PlanArg> args;
  std::vector<int32_t> scalars; ///< ranks and what follows from them
  int64_t rowBegin = 0, rowCount = 0;
  bool fixedRows = false; ///< the rows are no tokens: all of them, whatever the micro-batch holds
  std::array<int64_t, 3> grid = {1, 1, 1}; ///< cuda: blocks
  double flops = 0, bytes = 0;             ///< at max_tokens
  std::string op, loc;
};

struct PlanPart {
  std::string name;
  int64_t bytes = 0;
};

struct PlanWeight {
  std::string name, gguf, format;
  std::vector<int64_t> shape; ///< [out, in], or [n] of a vector
  /// In a GGUF file the rows are permuted for this many heads; 0: they are not.
  int64_t permuteHeads = 0;
  double hfAdd = 0; ///< what a Hugging Face folder's numbers lack
  std::vector<PlanPart> parts;
};

using formats::AdapterPart;

struct PlanParam {
  std::string name, module;
  AdapterPart part = AdapterPart::A; ///< those of one part are a group: they have one rate
  std::vector<int64_t> shape;
  int64_t offset = 0; ///< floats from the region's start
  int64_t rank = 0;   ///< of its adapter
  double scale = 1;
  int64_t count() const;
};

/// `unfolded` holds AdaLoRA's lora_B, one by one; the others one float for each of the params, in
/// their order.
enum class RegionKind { Params, Grads, State, Importance, Unfolded };

/// How a region's numbers lie in memory: float32, of some parameters alone if `Compact`; codes of 8
/// bits (formats::Dynamic8) with the absmax of their blocks in a region of its own, both named as
/// formats/StateLayout.h has it.
enum class Storage { Floats, Compact, DynamicSigned, DynamicUnsigned, Absmax };
inline bool isCode(Storage storage) {
  return storage == Storage::DynamicSigned || storage == Storage::DynamicUnsigned;
}

/// A place of the arena that outlives programs.
struct PlanRegion {
  std::string name;
  RegionKind kind = RegionKind::Params;
  int64_t offset = 0, count = 0; ///< bytes from the arena's start; numbers
  Storage storage = Storage::Floats;
  int64_t bytes() const { return isCode(storage) ? count : 4 * count; }
};

/// Where a parameter's states lie that have 8 bits in some region: the first block, or the place in
/// compact regions.
struct StatePlace {
  bool in8bits = false;
  int64_t own = 0;
};

/// A number that a program is told before each run.
struct PlanScalar {
  std::string name;
  int64_t at = 0;      ///< among the floats of the program's io
  int64_t byGroup = 0; ///< above 0: that of group g is at `at + g * byGroup`, with the group's rate
  Formula formula;
};

/// All that a program is told, in the io of its name.
struct PlanScalars {
  int64_t floats = 0;
  std::vector<PlanScalar> list;
};

struct PlanOptimizer {
  std::string name;
  int64_t min8bitSize = 0; ///< elements from which on a parameter has states of 8 bits; 0: none has
};

constexpr const char *dynamic8Table = "dynamic8";

/// Rope's, or that of both maps of 8-bit numbers (formats::DynamicTable).
struct PlanTable {
  std::string kind;
  int64_t offset = 0, positions = 0, dim = 0;
  std::vector<float> frequencies; ///< Rope: how far a position turns each pair of a head
  float factor = 1;               ///< of cosines and sines
};

/// AdaLoRA: ranks of all modules together, and each one's.
struct PlanRanks {
  struct Module {
    std::string module;
    int64_t initial = 0, min = 0, max = 0;
  };
  int64_t initial = 0, target = 0;
  std::vector<Module> modules;
  std::vector<std::string> names() const;
};

/// Floats of the regions of params that one tile or block of a kernel over elements takes, at most
/// formats::spanFloats; `own` is its own StatePlace.
struct PlanSpan {
  int32_t offset, count, group, own;
};

/// Places of what the runtime itself writes or reads: bytes from the arena's start.
struct PlanIo {
  int64_t ids = 0, positions = 0, labels = 0, segmentStarts = 0; ///< int32
  int64_t rowLoss = 0;                                           ///< float32 [max_tokens]
  int64_t hidden = 0, headIn = 0;                                ///< padded rows of activations
  int64_t logits = 0;                                            ///< float32, padded rows
  int64_t orthogonality = 0; ///< AdaLoRA: float32, a norm a factor
  int64_t importance = 0;    ///< AdaLoRA: Plan::importanceScalars
  int64_t update = 0;        ///< Plan::updateScalars
  int64_t norm = 0;          ///< LoracNorm
  int64_t updateSpans = 0;   ///< PlanSpan of spans()
  // cuda
  int64_t step = 0;    ///< LoracStep
  int64_t rowEnds = 0; ///< int32 [max_tokens]
  // AdaLoRA
  int64_t triplets = 0;      ///< LoracTriplets, one a module
  int64_t tripletScores = 0; ///< float32, one a triplet
  int64_t tripletStates = 0; ///< int32, one a triplet
  int64_t tripletOwns = 0;   ///< int32 [modules][3], where states have 8 bits: tripletOwns()
};

struct Plan {
  std::string version, spec, device, architecture;
  std::string cpu;                   ///< cpu
  std::vector<std::string> features; ///< cpu
  std::string compute;               ///< cuda: the type of activations, "bf16" or "f16"
  std::vector<PlanArch> archs;       ///< cuda
  int64_t maxTokens = 0, maxSegments = 0, maxLength = 0, headRows = 0, vocab = 0;
  /// From the weight of shape [vocab, hidden] that comes first: the embedding.
  int64_t hiddenSize = 0;
  std::vector<PlanWeight> weights;
  std::vector<PlanParam> params;
  int64_t arenaBytes = 0, scratchBytes = 0;
  int64_t persistentBytes = 0;            ///< of the arena: all but the activations
  std::vector<PlanRegion> regions;        ///< in the order in which they lie
  std::optional<PlanOptimizer> optimizer; ///< where there are params
  PlanScalars updateScalars, importanceScalars;
  std::optional<PlanRanks> ranks; ///< AdaLoRA
  PlanIo io;
  std::vector<PlanTable> tables;
  std::vector<PlanKernel> kernels;
  std::vector<PlanLaunch> train, hidden, loss, head;
  std::vector<PlanLaunch> begin;      ///< of a window: no gradients
  std::vector<PlanLaunch> norm;       ///< the gradient's
  std::vector<PlanLaunch> update;     ///< the optimizer's
  std::vector<PlanLaunch> regularize; ///< AdaLoRA: gradients of the orthogonality term
  std::vector<PlanLaunch> initialize; ///< DoRA: magnitudes become norms of the rows of W + s·B·A
  std::vector<PlanLaunch> importance; ///< AdaLoRA: takes a step into the averages
  std::vector<PlanLaunch> fold, unfold, unfoldGrads, scores, zeroTriplets; ///< AdaLoRA

  bool onGpu() const { return device == "cuda"; }
  /// Of an element of an activation.
  int64_t activationBytes() const { return onGpu() ? 2 : 4; }
  /// Of all parts, each with the room to the next.
  int64_t weightBytes() const;
  /// What a part takes.
  int64_t partRoom(int64_t bytes) const;
  /// The first region of a kind, or the one of a name; one of no floats where there is none.
  const PlanRegion &region(RegionKind kind) const;
  const PlanRegion &region(std::string_view name) const;
  /// What a run has trained: params, then states, then importance.
  std::vector<PlanRegion> trained() const;
  /// The groups of the params, as they first appear.
  std::vector<AdapterPart> groups() const;
  /// The params in order, each cut, those with states of 8 bits first; groups are numbered as they
  /// first appear.
  std::vector<PlanSpan> spans() const;
  /// Whether some states lie in 8 bits.
  bool hasCodes() const { return optimizer && optimizer->min8bitSize > 0; }
  /// Beside the params. One has 8 bits by its size before AdaLoRA's ranks fell.
  std::vector<StatePlace> statePlaces() const;
  /// Whether AdaLoRA has programs between those of the model: something of it is trained.
  bool hasTriplets() const { return ranks && !params.empty(); }
  bool isDora() const { return !initialize.empty(); }
  bool isGated() const;
  /// AdaLoRA: ranks that are stored.
  int64_t tripletCount() const;
  /// Leading dimension of an activation with n columns.
  static int64_t leadingDim(int64_t n) { return (n + 15) / 16 * 16; }
};

/// Reads and checks plan.json: version of the ABI, every offset inside the arena, every index in
/// range, regions that do not overlap, launches that bring what their kernels take. A misfit is an
/// error with its path in the JSON.
Result<Plan> parsePlan(std::string_view json);

/// What a plan's lists and words take of the heap.
uint64_t heapOf(const Plan &plan);

/// Whether this machine has what the kernels were built for; the error names the missing features
/// and the mend.
Result<void> checkCpu(const Plan &plan);

} // namespace lorac::train
