#include "tests/reference/PlainAdaLora.h"

#include "tests/unit/train/OrthogonalTerm.h"

#include <cmath>

namespace lorac::test {

using reference::HostTensor;
using train::test::Matrix;

PlainAdaLora::PlainAdaLora(const PlainLlama &model, const PlainAdaLoraSettings &settings,
                           const std::vector<std::string> &modules,
                           const std::map<std::string, std::vector<float>> &start)
    : model(model), settings(settings),
      allocator(
          std::vector<train::RankBounds>(modules.size(), {settings.initRank, 0, settings.initRank}),
          settings.prune, settings.steps - settings.tfinal) {
  for (const std::string &name : modules) {
    const auto [out, in] = model.shapeOf(name);
    auto tensor = [&](const char *part) -> const std::vector<float> & {
      return start.at("base_model.model." + name + "." + part);
    };
    Module &module = all.emplace_back(Module{name, std::vector<Triplet>(settings.initRank)});
    for (size_t i = 0; i < module.triplets.size(); ++i) {
      Triplet &triplet = module.triplets[i];
      triplet.a.resize(size_t(in)), triplet.b.resize(size_t(out));
      for (size_t j = 0; j < triplet.a.size(); ++j)
        triplet.a[j].p = tensor("lora_A")[i * triplet.a.size() + j];
      for (size_t j = 0; j < triplet.b.size(); ++j)
        triplet.b[j].p = tensor("lora_B")[j * module.triplets.size() + i];
      triplet.e.p = tensor("lora_E")[i];
    }
  }
}

bool PlainAdaLora::isDead(size_t module, size_t triplet) const {
  const auto &sets = allocator.modules[module];
  return !sets.alive.count(int(triplet)) && !sets.masked.count(int(triplet));
}

template <typename Change>
void PlainAdaLora::forAll(Change change) {
  for (Module &module : all)
    for (Triplet &triplet : module.triplets) {
      for (Element &element : triplet.a)
        change(element);
      for (Element &element : triplet.b)
        change(element);
      change(triplet.e);
    }
}

PlainAdaLora::Step PlainAdaLora::step(const train::MicroBatch &batch) {
  const double scale = settings.alpha / (double(settings.initRank) + 1e-5);
  std::map<std::string, Factors> folded, gradients;
  for (const Module &module : all) {
    const int64_t rank = int64_t(module.triplets.size());
    Factors &of = folded[module.name];
    of.a = HostTensor::zeros({rank, int64_t(module.triplets[0].a.size())});
    of.b = HostTensor::zeros({int64_t(module.triplets[0].b.size()), rank});
    for (int64_t i = 0; i < rank; ++i) {
      const Triplet &triplet = module.triplets[size_t(i)];
      for (size_t j = 0; j < triplet.a.size(); ++j)
        of.a.at(i, int64_t(j)) = triplet.a[j].p;
      for (size_t j = 0; j < triplet.b.size(); ++j)
        of.b.at(int64_t(j), i) = triplet.b[j].p * triplet.e.p;
    }
  }
  Step done;
  done.loss =
      model.loss(batch, folded, scale, 1 / double(batch.labels), gradients) / double(batch.labels);

  // With F = B·diag(E): dB = dF·diag(E), dE = column by column dF·B.
  for (Module &module : all) {
    const Factors &of = gradients.at(module.name);
    for (size_t i = 0; i < module.triplets.size(); ++i) {
      Triplet &triplet = module.triplets[i];
      triplet.e.g = 0;
      for (size_t j = 0; j < triplet.a.size(); ++j)
        triplet.a[j].g = of.a.at(int64_t(i), int64_t(j));
      for (size_t j = 0; j < triplet.b.size(); ++j) {
        const double g = of.b.at(int64_t(j), int64_t(i));
        triplet.b[j].g = g * triplet.e.p;
        triplet.e.g += g * triplet.b[j].p;
      }
    }
  }
  done.orthogonality = orthogonalTerm();
  done.loss += settings.orthRegWeight * done.orthogonality;

  double squares = 0;
  forAll([&](Element &element) { squares += element.g * element.g; });
  done.gradNorm = std::sqrt(squares);
  const double clip =
      settings.maxGradNorm > 0 ? std::min(1.0, settings.maxGradNorm / (done.gradNorm + 1e-6)) : 1.0;
  forAll([&](Element &element) { element.g *= clip; });
  forAll([&](Element &element) {
    constexpr double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
    element.p *= 1 - settings.learningRate * settings.weightDecay;
    element.m = beta1 * element.m + (1 - beta1) * element.g;
    element.v = beta2 * element.v + (1 - beta2) * element.g * element.g;
    const double t = double(now + 1), m = element.m / (1 - std::pow(beta1, t)),
                 v = element.v / (1 - std::pow(beta2, t));
    element.p -= settings.learningRate * m / (std::sqrt(v) + eps);
  });
  allocate(done);
  ++now;
  return done;
}

/// The mean of ‖M·Mᵀ - I‖_F over all A and B; its gradient is added. Dead rows are no rows.
double PlainAdaLora::orthogonalTerm() {
  std::vector<Matrix> matrices;
  std::vector<std::vector<Element> *> rows; // of all matrices, in order
  for (size_t m = 0; m < all.size(); ++m)
    for (bool ofA : {true, false}) {
      Matrix &matrix = matrices.emplace_back();
      for (size_t i = 0; i < all[m].triplets.size(); ++i) {
        if (isDead(m, i))
          continue;
        Triplet &triplet = all[m].triplets[i];
        rows.push_back(ofA ? &triplet.a : &triplet.b);
        ++matrix.rank, matrix.length = int64_t(rows.back()->size());
        for (const Element &element : *rows.back())
          matrix.values.push_back(element.p);
      }
    }
  size_t row = 0;
  for (const Matrix &gradient : train::test::orthogonalGradient(matrices, settings.orthRegWeight))
    for (int64_t i = 0; i < gradient.rank; ++i, ++row)
      for (int64_t j = 0; j < gradient.length; ++j)
        (*rows[row])[size_t(j)].g += gradient.at(i, j);
  return train::test::orthogonalTerm(matrices, 1);
}

void PlainAdaLora::allocate(Step &done) {
  const int64_t finalStep = settings.steps - settings.tfinal;
  if (now < finalStep)
    forAll([&](Element &element) {
      const double importance = std::abs(element.p * element.g);
      element.sensitivity =
          settings.beta1 * element.sensitivity + (1 - settings.beta1) * importance;
      element.uncertainty = settings.beta2 * element.uncertainty +
                            (1 - settings.beta2) * std::abs(importance - element.sensitivity);
    });

  const bool inBudgetPhase = now > settings.tinit && now < finalStep;
  done.allocated = now == finalStep || (inBudgetPhase && now % settings.deltaT == 0);
  if (done.allocated) {
    const double b0 = double(settings.initRank) * double(all.size()),
                 bT = double(settings.targetRank) * double(all.size());
    const double rest = 1 - double(now - settings.tinit) /
                                double(settings.steps - settings.tfinal - settings.tinit);
    done.budget = now == finalStep ? int64_t(bT) : int64_t((b0 - bT) * rest * rest * rest + bT);
    std::vector<std::vector<double>> scores;
    std::vector<double> sorted;
    for (size_t m = 0; m < all.size(); ++m) {
      scores.emplace_back();
      for (size_t i = 0; i < all[m].triplets.size(); ++i) {
        const Triplet &triplet = all[m].triplets[i];
        auto mean = [](const std::vector<Element> &of) {
          double sum = 0;
          for (const Element &element : of)
            sum += element.sensitivity * element.uncertainty;
          return sum / double(of.size());
        };
        const double score =
            triplet.e.sensitivity * triplet.e.uncertainty + mean(triplet.a) + mean(triplet.b);
        scores.back().push_back(score);
        sorted.push_back(isDead(m, i) ? 0 : score);
      }
    }
    allocator.allocate(now, done.budget, scores);
    std::sort(sorted.begin(), sorted.end());
    const size_t k = sorted.size() - size_t(done.budget);
    if (k > 0 && k < sorted.size() && sorted[k] > 0)
      done.gap = 1 - sorted[k - 1] / sorted[k];
    for (size_t m = 0; m < all.size(); ++m)
      for (size_t i = 0; i < all[m].triplets.size(); ++i)
        if (isDead(m, i)) {
          Triplet &triplet = all[m].triplets[i];
          triplet.a.assign(triplet.a.size(), {});
          triplet.b.assign(triplet.b.size(), {});
          triplet.e = {};
        }
  }
  if (done.allocated || now >= finalStep)
    for (size_t m = 0; m < all.size(); ++m)
      for (int i : allocator.modules[m].masked)
        all[m].triplets[size_t(i)].e.p = 0;
}

} // namespace lorac::test
