#pragma once
// The keys of a spec as a list, for what tells of them: docs/spec.md, the JSON Schema by which
// editors complete and explain, the variables of the environment, suggestions.

#include "dsl/Spec.h"

#include <string>
#include <vector>

namespace lorac::dsl {

struct SchemaKey {
  enum class Type {
    Truth,
    Integer,
    Integers,
    IntegersByPattern,
    Number,
    NumbersByPattern,
    Text,
    Texts,
    Word,
    Pair,
    Bytes,
    Shape
  };
  std::string name;
  Type type = Type::Text;
  std::vector<std::string> words; ///< of Type::Word
  std::string fallback;           ///< the default as TOML; "": none, or About::otherwise
  About about;
};

struct SchemaTable {
  std::string name;    ///< "adapter.loraplus"
  bool isList = false; ///< [[name]]
  About about;
  std::vector<SchemaKey> keys;
};

/// All tables that have keys; one stands behind those of the table that it is in.
const std::vector<SchemaTable> &schemaOf();

/// docs/spec.md.
std::string schemaMarkdown();
/// A JSON Schema (draft 7, which editors of TOML read).
std::string schemaJson();

} // namespace lorac::dsl
