#pragma once
// AdaLoRA as docs/adalora.md states it, in float64 and in the plainest way: every triplet keeps its
// place to the end, the dead as zeros, and nothing is ever compiled anew.

#include "tests/reference/PlainLlama.h"
#include "tests/unit/train/PlainAllocator.h"

namespace lorac::test {

struct PlainAdaLoraSettings {
  int64_t initRank = 0, targetRank = 0;
  int64_t tinit = 0, tfinal = 0, deltaT = 1, steps = 0;
  double alpha = 0, beta1 = 0.85, beta2 = 0.85, orthRegWeight = 0;
  double learningRate = 0, weightDecay = 0, maxGradNorm = 0;
  train::PruneMode prune = train::PruneMode::Mask;
};

class PlainAdaLora {
public:
  /// One number that is trained, with all that belongs to it.
  struct Element {
    double p = 0, g = 0, m = 0, v = 0, sensitivity = 0, uncertainty = 0;
  };
  /// A row of A, an entry of E, a column of B.
  struct Triplet {
    std::vector<Element> a, b;
    Element e;
  };
  struct Module {
    std::string name;
    std::vector<Triplet> triplets;
  };

  /// `start`: the tensors `base_model.model.<module>.lora_A`, lora_B and lora_E.
  PlainAdaLora(const PlainLlama &model, const PlainAdaLoraSettings &settings,
               const std::vector<std::string> &modules,
               const std::map<std::string, std::vector<float>> &start);

  struct Step {
    double loss = 0, orthogonality = 0, gradNorm = 0;
    bool allocated = false;
    int64_t budget = 0;
    /// Of two scores that the threshold parts: how far they are, by the larger one.
    double gap = 1;
  };
  Step step(const train::MicroBatch &batch);

  const std::vector<Module> &modules() const { return all; }
  /// Beside `modules`.
  const std::vector<train::test::PlainAllocator::Module> &sets() const { return allocator.modules; }

private:
  bool isDead(size_t module, size_t triplet) const;
  template <typename Change>
  void forAll(Change change);
  double orthogonalTerm();
  void allocate(Step &step);

  const PlainLlama &model;
  PlainAdaLoraSettings settings;
  std::vector<Module> all;
  train::test::PlainAllocator allocator;
  int64_t now = 0;
};

} // namespace lorac::test
