// Readers of runtime/formats: models and adapters.
#include "tests/reliability/fuzz/Harness.h"

#include "runtime/formats/Adapter.h"
#include "runtime/formats/Gguf.h"
#include "runtime/formats/HfConfig.h"
#include "runtime/formats/ModelSource.h"
#include "runtime/formats/Safetensors.h"
#include "runtime/tokenizer/TokenizerGguf.h"

#include <filesystem>

namespace lorac::fuzz {

namespace {

using namespace formats;

std::shared_ptr<const MappedFile> fileOf(std::string_view bytes) {
  return MappedFile::ofBytes("fuzzed", {bytes.begin(), bytes.end()});
}

void readGguf(std::string_view bytes) {
  Result<Gguf> file = Gguf::parse(fileOf(bytes));
  if (!file)
    file = Gguf::parse(fileOf(bytes), GgufParts::Keys);
  if (!file)
    return;
  for (const GgufKey &key : file->keys()) {
    (void)file->integer(key.name);
    (void)file->number(key.name);
    (void)file->truth(key.name);
    (void)file->text(key.name);
    (void)file->texts(key.name);
    (void)file->floats(key.name);
    (void)file->integers(key.name);
  }
  for (const GgufTensor &tensor : file->tensors())
    (void)file->tensorFloats(tensor.name);
  (void)tok::readTokenizerGguf(*file);
}

void readSafetensors(std::string_view bytes) {
  Result<Safetensors> file = Safetensors::parse(fileOf(bytes));
  if (!file)
    return;
  for (const TensorInfo &tensor : file->tensors()) {
    (void)file->floats(tensor.name);
    (void)file->integers(tensor.name);
  }
}

void readConfig(std::string_view bytes) {
  Result<HfConfig> config = HfConfig::parse("config.json", bytes);
  if (!config)
    return;
  for (const char *key : {"model_type", "hidden_size", "num_hidden_layers",
                          "rope_parameters.rope_theta", "rope_scaling", "vocab_size"})
    (void)config->lookup(key);
}

/// adapter_config.json, adapter_model.safetensors.
void readPeftAdapter(std::string_view bytes) {
  const std::vector<std::string> parts = partsOf(bytes, 2);
  writeScratch("adapter/adapter_config.json", parts[0]);
  writeScratch("adapter/adapter_model.safetensors", parts[1]);
  Result<Adapter> adapter = readAdapter(scratch("adapter"));
  if (!adapter)
    return;
  std::filesystem::create_directories(scratch("folded"));
  const Adapter folded = foldTriplets(*adapter);
  if (writePeftAdapter(scratch("folded"), folded))
    (void)readAdapter(scratch("folded"));
  if (!adapter->useDora && !adapter->useGate)
    (void)writePeftAdaLora(scratch("folded"), asTriplets(*adapter));
}

std::string changePeftAdapter(const std::string &bytes, Draw &draw) {
  std::vector<std::string> parts = partsOf(bytes, 2);
  if (draw() % 2)
    parts[0] = changeJson(parts[0], draw);
  else
    parts[1] = changeSafetensors(parts[1], draw);
  return joinParts(parts);
}

/// Names as those of the seeds' modules, so that one that fits is known.
std::vector<GgufModule> modulesOfTheSeeds() {
  std::vector<GgufModule> out;
  for (int layer = 0; layer < 2; ++layer)
    for (const auto &[module, gguf] : {std::pair{"self_attn.q_proj", "attn_q"},
                                       {"self_attn.k_proj", "attn_k"},
                                       {"self_attn.v_proj", "attn_v"},
                                       {"self_attn.o_proj", "attn_output"},
                                       {"mlp.gate_proj", "ffn_gate"},
                                       {"mlp.up_proj", "ffn_up"},
                                       {"mlp.down_proj", "ffn_down"}})
      out.push_back({"model.layers." + std::to_string(layer) + "." + module,
                     "blk." + std::to_string(layer) + "." + gguf + ".weight",
                     std::string(gguf) == "attn_q"   ? 4
                     : std::string(gguf) == "attn_k" ? 2
                                                     : 0});
  return out;
}

void readGgufAdapterFile(std::string_view bytes) {
  static const std::vector<GgufModule> modules = modulesOfTheSeeds();
  writeScratch("adapter.gguf", bytes);
  Result<Adapter> adapter = readGgufAdapter(scratch("adapter.gguf"), modules);
  if (adapter)
    (void)writeGgufAdapter(scratch("again.gguf"), *adapter, "llama", modules);
}

/// config.json, model.safetensors.index.json ("": none), model.safetensors.
void readModelFolder(std::string_view bytes) {
  const std::vector<std::string> parts = partsOf(bytes, 3);
  writeScratch("model/config.json", parts[0]);
  const char *weights =
      parts[1].empty() ? "model/model.safetensors" : "model/model-00001-of-00001.safetensors";
  for (const char *name : {"model/model.safetensors.index.json", "model/model.safetensors",
                           "model/model-00001-of-00001.safetensors"})
    std::filesystem::remove(scratch(name));
  if (!parts[1].empty())
    writeScratch("model/model.safetensors.index.json", parts[1]);
  writeScratch(weights, parts[2]);
  Result<std::shared_ptr<const ModelSource>> source = ModelSource::open(scratch("model"));
  if (!source)
    return;
  std::vector<WantedWeight> wanted;
  for (const SourceTensor &tensor : (*source)->tensors())
    if (wanted.size() < 64)
      wanted.push_back({tensor.name, tensor.name, tensor.shape});
  (void)(*source)->checkNothingElse(wanted);
  auto rows = (*source)->find(wanted);
  if (!rows)
    return;
  for (const std::unique_ptr<RowSource> &row : *rows) {
    if (row->rows() < 1 || row->cols() > (1 << 20))
      continue;
    std::vector<float> values(size_t(row->cols()));
    row->readRow(row->rows() - 1, values.data());
  }
}

std::string changeModelFolder(const std::string &bytes, Draw &draw) {
  std::vector<std::string> parts = partsOf(bytes, 3);
  switch (draw() % 3) {
  case 0:
    parts[0] = changeJson(parts[0], draw);
    break;
  case 1:
    parts[1] = parts[1].empty() ? parts[1] : changeJson(parts[1], draw);
    break;
  default:
    parts[2] = changeSafetensors(parts[2], draw);
  }
  return joinParts(parts);
}

} // namespace

std::vector<Harness> formatHarnesses() {
  return {{"gguf", readGguf, changeGguf},
          {"safetensors", readSafetensors, changeSafetensors},
          {"config", readConfig, changeJson},
          {"peft-adapter", readPeftAdapter, changePeftAdapter},
          {"gguf-adapter", readGgufAdapterFile, changeGguf},
          {"model-folder", readModelFolder, changeModelFolder}};
}

} // namespace lorac::fuzz
