// `lorac schema`: which keys a spec has, for editors and for readers.

#include "compiler/tools/Command.h"
#include "compiler/tools/Output.h"
#include "dsl/Schema.h"

namespace lorac::tools {

static Action add(CLI::App &app) {
  auto markdown = std::make_shared<bool>(false);
  app.add_flag("--markdown", *markdown, "print docs/spec.md instead, a table a table");
  return {[] { return std::string(); },
          [markdown] {
            print(*markdown ? dsl::schemaMarkdown() : dsl::schemaJson());
            return Exit::Done;
          }};
}

const Command commandSchema = {
    "schema", "the keys of a spec as a JSON Schema, by which editors complete and explain them",
    R"(| `schema` | the keys of a spec as a JSON Schema: names, types, words, defaults, bounds, meanings ("In an editor", below); `--markdown` prints them as [spec.md](spec.md) |)",
    add, /*readsSpec=*/false};

} // namespace lorac::tools
