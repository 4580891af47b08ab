// What a user writes: specs and architectures.
#include "tests/reliability/fuzz/Harness.h"

#include "dsl/Architecture.h"
#include "dsl/Check.h"
#include "dsl/Parse.h"
#include "dsl/SpecJson.h"

namespace lorac::fuzz {

namespace {

using namespace dsl;

/// The tiny model that the architecture is bound to.
Spec tinySpec(Diagnostics &diags) {
  return parseSpec("tiny.toml",
                   "[model]\narchitecture = \"llama\"\nshape = { layers = 2, hidden_size = 64, "
                   "intermediate_size = 176, n_heads = 4, "
                   "n_kv_heads = 2, head_dim = 16, vocab_size = 512, rms_norm_eps = 1e-5, "
                   "max_position_embeddings = 256 }\n"
                   "[[data]]\npath = \"a\"\n[train]\nsteps = 1\n",
                   {}, diags);
}

void readSpec(std::string_view bytes) {
  Diagnostics diags;
  const Spec spec = parseSpec("fuzzed.toml", std::string(bytes), {}, diags);
  (void)diags.text();
  (void)diags.json();
  if (diags.hasErrors())
    return;
  const std::string json = toJson(spec), toml = toToml(spec);
  Diagnostics again;
  (void)parseSpec("again.toml", toml, {}, again);
  // A pattern may be refused only when it meets modules.
  (void)resolveAdapters(spec, {"model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj"},
                        again);
  if (again.hasErrors())
    (void)again.text();
}

void readArchitecture(std::string_view bytes) {
  Diagnostics diags;
  const std::optional<Architecture> architecture = parseArchitecture(
      std::make_shared<const SourceFile>("fuzzed.toml", std::string(bytes)), diags);
  if (architecture) {
    static Diagnostics none;
    static const Spec spec = tinySpec(none);
    BoundModel model;
    (void)bind(*architecture, spec.model, {}, model, diags);
  }
  (void)diags.text();
}

/// Words of TOML change as those of JSON do.
std::string changeToml(const std::string &bytes, Draw &draw) { return changeJson(bytes, draw); }

} // namespace

std::vector<Harness> specHarnesses() {
  return {{"spec", readSpec, changeToml}, {"architecture", readArchitecture, changeToml}};
}

} // namespace lorac::fuzz
