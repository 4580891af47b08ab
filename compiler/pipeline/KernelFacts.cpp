#include "compiler/pipeline/KernelFacts.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

using namespace lorac;

std::string lorac::kernelFactsJson(const std::vector<KernelFacts> &all) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::json::OStream json(os, 1);
  json.array([&] {
    for (const KernelFacts &facts : all)
      json.object([&] {
        json.attribute("kernel", facts.kernel);
        json.attribute("arch", facts.arch);
        json.attribute("threads", facts.threads);
        json.attribute("registers", facts.registers);
        json.attribute("shared_bytes", facts.sharedBytes);
        json.attribute("spill_bytes", facts.spillBytes);
        json.attribute("resident_blocks", facts.residentBlocks);
        json.attribute("occupancy", facts.occupancy);
        json.attribute("log", llvm::json::fixUTF8(facts.log));
        if (facts.instructionsPerMma)
          json.attribute("instructions_per_mma", *facts.instructionsPerMma);
        else
          json.attribute("instructions_per_mma", nullptr);
      });
  });
  os << "\n";
  return text;
}

std::string lorac::kernelFactsTable(const std::vector<KernelFacts> &all) {
  std::string text = "| kernel | arch | threads | registers | shared bytes | spilt bytes | blocks "
                     "a multiprocessor | occupancy | instructions "
                     "per mma |\n|---|---|---:|---:|---:|---:|---:|---:|---:|\n";
  for (const KernelFacts &facts : all)
    text += llvm::formatv(
        "| `{0}` | {1} | {2} | {3} | {4} | {5} | {6} | {7:P0} | {8} |\n", facts.kernel, facts.arch,
        facts.threads, facts.registers, facts.sharedBytes, facts.spillBytes, facts.residentBlocks,
        facts.occupancy,
        facts.instructionsPerMma ? llvm::formatv("{0:F2}", *facts.instructionsPerMma).str() : "");
  return text;
}
