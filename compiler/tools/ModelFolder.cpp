#include "compiler/tools/ModelFolder.h"

#include "compiler/tools/Output.h"
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/MappedFile.h"

#include <filesystem>
#include <span>
#include <string_view>

namespace lorac::tools {

static constexpr const char *companions[] = {"generation_config.json",
                                             "tokenizer.json",
                                             "tokenizer_config.json",
                                             "special_tokens_map.json",
                                             "added_tokens.json",
                                             "vocab.json",
                                             "merges.txt",
                                             "tokenizer.model",
                                             "chat_template.jinja",
                                             "chat_template.json"};

Result<void> copyCompanions(const std::string &base, const std::string &folder,
                            formats::FolderManifest &manifest) {
  for (const char *name : companions) {
    if (std::error_code code; !std::filesystem::exists(base + "/" + name, code))
      continue;
    LORAC_TRY_ASSIGN(auto file, formats::MappedFile::openBeneath(base, name));
    const std::span<const uint8_t> bytes = file->bytes();
    const std::string_view text(reinterpret_cast<const char *>(bytes.data()), bytes.size());
    manifest.files[name] = formats::hashHex(text);
    LORAC_TRY(formats::writeDurably(folder + "/" + name, text));
  }
  if (!manifest.files.contains("tokenizer.json") && !manifest.files.contains("tokenizer.model"))
    sayLine("note: '" + base + "' has no tokenizer, and so the new model has none");
  return {};
}

} // namespace lorac::tools
