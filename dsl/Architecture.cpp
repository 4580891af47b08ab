#include "dsl/Architecture.h"

#include "dsl/Bounds.h"
#include "dsl/TableReader.h"
#include "dsl/Text.h"

#include <algorithm>
#include <filesystem>
#include <set>

namespace lorac::dsl {

namespace {

constexpr size_t MaxTensorName = 200;

// A string of the TOML with the place of its first character. The text must stand as it is meant:
// escapes would move columns.
std::optional<EmbeddedText> embedded(const TomlValue &value, Diagnostics &diags) {
  const SourceRange &range = value.range;
  std::string_view line = range.file->line(range.beginLine);
  std::string_view raw = line.substr(byteOfColumn(line, range.beginColumn));
  bool multi = raw.starts_with("'''") || raw.starts_with("\"\"\"");
  bool literal = raw.starts_with("'");
  if (!literal && (multi || raw.substr(1, value.text.size()) != value.text)) {
    diags.error(range, "write it as a literal string, in ' or ''': escapes would move its columns");
    return std::nullopt;
  }
  EmbeddedText out{value.text, range};
  out.where.beginColumn += multi ? 3 : 1;
  if (multi && raw.size() == 3) { // the newline after the quotes is no part of the text
    ++out.where.beginLine;
    out.where.beginColumn = 1;
  }
  return out;
}

class ArchitectureReader {
public:
  ArchitectureReader(std::shared_ptr<const SourceFile> file, Diagnostics &diags)
      : file(std::move(file)), diags(diags), context{diags, "an architecture"} {}

  Architecture read(const TomlValue &root) {
    out.file = file;
    TableReader t(&root, "", context);
    Field<std::string> name;
    t.string("name", name);
    out.name = *name;
    if (!name.given())
      missing(root.range, "'name'");
    out.hfModelTypes = texts(t, "hf_model_types");
    out.ggufArchitectures = texts(t, "gguf_architectures");
    out.ggufAdapters = text(t, "gguf_adapters");
    each(t, "hyper", true, [&](const TomlEntry &entry) { hyper(entry); });
    each(t, "expects", false, [&](const TomlEntry &entry) { expectation(entry); });
    if (const TomlValue *table = t.table("harmless")) {
      TableReader section(table, "harmless", context);
      for (const char *key : {"hf", "gguf"})
        for (std::string &name : texts(section, key))
          out.harmless.push_back(std::move(name));
      section.finish();
    }
    each(t, "weights", true, [&](const TomlEntry &entry) { weight(entry); });
    each(t, "rope", false, [&](const TomlEntry &entry) { rope(entry); });
    out.embed = graph(t, "embed");
    blocks(t);
    out.head = graph(t, "head");
    t.finish();
    return std::move(out);
  }

private:
  void missing(const SourceRange &range, const std::string &what) {
    diags.error(range, what + " is missing");
  }

  static std::vector<std::string> texts(TableReader &t, std::string_view key) {
    Field<std::vector<Field<std::string>>> field;
    t.strings(key, field);
    std::vector<std::string> out;
    for (const Field<std::string> &text : *field)
      out.push_back(*text);
    return out;
  }

  static std::string text(TableReader &t, std::string_view key) {
    Field<std::string> field;
    t.string(key, field);
    return *field;
  }

  template <class F>
  void each(TableReader &t, std::string_view key, bool required, F read) {
    const TomlValue *table = t.table(key);
    if (!table) {
      if (required)
        missing({file, 1, 1, 1, 1}, "[" + std::string(key) + "]");
      return;
    }
    for (const TomlEntry &entry : table->entries) {
      bool good = !entry.key.empty() && !std::isdigit(static_cast<unsigned char>(entry.key[0])) &&
                  std::all_of(entry.key.begin(), entry.key.end(),
                              [](unsigned char c) { return std::isalnum(c) || c == '_'; });
      if (!good)
        diags.error(entry.keyRange,
                    "'" + printable(entry.key) + "' is no name: letters, digits and '_'");
      else if (!entry.value.isTable())
        diags.error(entry.value.range,
                    "'" + entry.key + "' must be a table, got " + entry.value.describe());
      else if (!names.insert(entry.key).second && key != "expects")
        diags.error(entry.keyRange, "'" + entry.key + "' is described twice");
      else
        read(entry);
    }
  }

  Expr expression(const TomlEntry *entry, const std::string &what) {
    if (!entry)
      return {};
    const TomlValue &value = entry->value;
    Expr out;
    out.range = value.range;
    if (value.isString()) {
      if (std::optional<EmbeddedText> text = embedded(value, diags))
        return parseExpression(*text, diags);
      return {};
    }
    out.kind = ExprKind::Number;
    if (value.kind == TomlValue::Kind::Integer)
      out.number = static_cast<double>(value.integer);
    else if (value.kind == TomlValue::Kind::Float)
      out.number = value.number;
    else if (value.kind == TomlValue::Kind::Boolean)
      out.number = value.boolean;
    else {
      diags.error(value.range,
                  what + " must be a number or an expression in a string, got " + value.describe());
      return {};
    }
    return out;
  }

  void hyper(const TomlEntry &entry) {
    TableReader t(&entry.value, "hyper." + entry.key, context);
    HyperDecl decl;
    decl.name = entry.key;
    decl.range = entry.keyRange;
    if (decl.name == "layer")
      diags.error(entry.keyRange, "'layer' is the number of a layer in 'when': name it otherwise");
    Field<std::string> type;
    t.string("type", type);
    if (*type == "number")
      decl.type = HyperType::Number;
    else if (*type == "bool")
      decl.type = HyperType::Bool;
    else if (*type == "word")
      decl.type = HyperType::Word;
    else if (*type != "integer" && !type.refused)
      diags.error(type.given() ? type.range : entry.keyRange,
                  "'type' must be one of integer, number, bool, word");
    decl.hf = texts(t, "hf");
    decl.gguf = texts(t, "gguf");
    decl.ggufAbsentTensor = text(t, "gguf_absent_tensor");
    decl.words = texts(t, "values");
    if ((decl.type == HyperType::Word) == decl.words.empty())
      diags.error(entry.keyRange,
                  "'values' are the words of a symbol of type \"word\", the default "
                  "first");
    const TomlEntry *fallback = t.any("default"), *least = t.any("least");
    if (fallback && decl.type == HyperType::Word)
      diags.error(fallback->value.range, "a word has no 'default': it is the first of 'values'");
    else
      decl.fallback = expression(fallback, "'default'");
    if (const TomlEntry *ofGguf = t.any("gguf_default")) {
      decl.ggufFallback = expression(ofGguf, "'gguf_default'");
      if (!fallback)
        diags.error(ofGguf->value.range, "'gguf_default' stands beside a 'default'");
    }
    decl.when = expression(t.any("when"), "'when'");
    decl.maybeZero = least != nullptr;
    if (least && (decl.type == HyperType::Bool || decl.type == HyperType::Word))
      diags.error(entry.keyRange, "'least' is of an integer or a number");
    else if (least && (least->value.kind != TomlValue::Kind::Integer || least->value.integer != 0))
      diags.error(least->value.range, "'least' is 0 or left out");
    t.finish();
    out.hyper.push_back(std::move(decl));
  }

  void expectation(const TomlEntry &entry) {
    TableReader t(&entry.value, "expects." + entry.key, context);
    Expectation expects;
    expects.name = entry.key;
    expects.range = entry.keyRange;
    expects.hf = texts(t, "hf");
    expects.gguf = texts(t, "gguf");
    expects.ggufAbsentTensor = text(t, "gguf_absent_tensor");
    expects.why = text(t, "why");
    if (const TomlEntry *values = t.any("values")) {
      if (values->value.kind != TomlValue::Kind::Array)
        diags.error(values->value.range,
                    "'values' must be an array, got " + values->value.describe());
      for (const TomlValue &value : values->value.elements) {
        if (value.kind == TomlValue::Kind::Boolean)
          expects.values.emplace_back(value.boolean);
        else if (value.kind == TomlValue::Kind::Integer)
          expects.values.emplace_back(value.integer);
        else if (value.kind == TomlValue::Kind::Float)
          expects.values.emplace_back(value.number);
        else if (value.isString())
          expects.values.emplace_back(value.text);
        else
          diags.error(value.range,
                      "expected a string, a number, true or false, got " + value.describe());
      }
    }
    t.finish();
    out.expects.push_back(std::move(expects));
  }

  /// A weight's name in a file. It goes on into dumps, comments of kernels and adapter files, so
  /// it is plain.
  std::string tensorName(TableReader &t, std::string_view key) {
    Field<std::string> name;
    t.string(key, name);
    bool plain = name->size() <= MaxTensorName &&
                 std::all_of(name->begin(), name->end(), [](unsigned char c) {
                   return std::isalnum(c) ||
                          std::string_view("._-{}").find(char(c)) != std::string_view::npos;
                 });
    if (!plain)
      diags.error(name.range, "'" + printable(*name) + "' is no name of a tensor: at most " +
                                  std::to_string(MaxTensorName) +
                                  " letters, digits and '.', '_', '-'");
    return *name;
  }

  void weight(const TomlEntry &entry) {
    TableReader t(&entry.value, "weights." + entry.key, context);
    WeightDecl decl;
    decl.key = entry.key;
    decl.range = entry.keyRange;
    Field<WeightKind> kind;
    t.word("kind", kind,
           {WeightKind::Linear, WeightKind::Embedding, WeightKind::Head, WeightKind::Norm,
            WeightKind::Row});
    if (!kind.given())
      missing(entry.keyRange, "'kind' of '" + entry.key + "'");
    decl.kind = *kind;
    shape(t, entry, decl, kind.refused);
    decl.hf = tensorName(t, "hf");
    decl.gguf = tensorName(t, "gguf");
    if (decl.hf.empty() || decl.gguf.empty())
      missing(entry.keyRange, std::string(decl.hf.empty() ? "'hf'" : "'gguf'") + " of '" +
                                  entry.key + "', its name in a file,");
    else if ((decl.hf.find("{layer}") == std::string::npos) !=
             (decl.gguf.find("{layer}") == std::string::npos))
      diags.error(entry.keyRange, "'hf' and 'gguf' of '" + entry.key + "' disagree about {layer}");
    Field<std::string> permute;
    t.string("permute", permute);
    decl.permuteHeads = expression(t.any("heads"), "'heads'");
    if (permute.given() && *permute != "rope")
      diags.error(permute.range, "'permute' is \"rope\" or left out");
    else if (permute.given() && isVector(decl.kind))
      diags.error(permute.range, "'permute' moves the rows of a matrix, and a weight of kind \"" +
                                     std::string(toString(decl.kind)) + "\" has none");
    else if (permute.given() != (decl.permuteHeads.kind != ExprKind::None))
      diags.error(entry.keyRange, "permute = \"rope\" and 'heads' go together");
    Field<double> added;
    t.number("hf_add", added);
    if (!fitsFloat32(*added))
      diags.error(added.range,
                  "'hf_add' must be a number that float32 holds, got " + shortest(*added));
    decl.hfAdd = *added;
    decl.tiedTo = text(t, "tied");
    t.finish();
    out.weights.push_back(std::move(decl));
  }

  void shape(TableReader &t, const TomlEntry &entry, WeightDecl &decl, bool kindRefused) {
    size_t want = isVector(decl.kind) ? 1 : 2;
    const TomlEntry *list = t.any("shape");
    if (kindRefused)
      return;
    if (!list || list->value.kind != TomlValue::Kind::Array ||
        list->value.elements.size() != want) {
      diags.error(list ? list->value.range : entry.keyRange,
                  "'" + entry.key + "' needs 'shape': " + (want == 1 ? "[size]" : "[out, in]"));
      return;
    }
    for (const TomlValue &size : list->value.elements) {
      TomlEntry element{"shape", size.range, size};
      decl.shape.push_back(expression(&element, "a size"));
    }
  }

  void rope(const TomlEntry &entry) {
    TableReader t(&entry.value, "rope." + entry.key, context);
    RopeDecl decl;
    decl.name = entry.key;
    decl.range = entry.keyRange;
    const std::pair<const char *, Expr *> numbers[] = {
        {"dim", &decl.dim},
        {"theta", &decl.theta},
        {"factor", &decl.factor},
        {"low_freq_factor", &decl.lowFreqFactor},
        {"high_freq_factor", &decl.highFreqFactor},
        {"original_positions", &decl.originalPositions}};
    for (auto [key, expr] : numbers)
      *expr = expression(t.any(key), "'" + std::string(key) + "'");
    if (decl.dim.kind == ExprKind::None || decl.theta.kind == ExprKind::None)
      missing(entry.keyRange, "'dim' or 'theta' of [rope." + entry.key + "]");
    decl.type = text(t, "type");
    Field<std::string> divisors;
    t.string("gguf_divisors", divisors);
    if (!divisors->empty() && *divisors != "rope_freqs.weight")
      diags.error(divisors.range, "'gguf_divisors' is \"rope_freqs.weight\" or left out: no other "
                                  "tensor is compared when a program meets a model");
    decl.ggufDivisors = *divisors;
    t.finish();
    out.ropes.push_back(std::move(decl));
  }

  // [block] with a graph, or tables of kinds, each with its own.
  void blocks(TableReader &t) {
    const TomlValue *table = t.table("block");
    if (!table)
      return missing({file, 1, 1, 1, 1}, "[block]");
    auto isKind = [](const TomlEntry &entry) { return entry.value.isTable(); };
    if (std::none_of(table->entries.begin(), table->entries.end(), isKind)) {
      TableReader section(table, "block", context);
      BlockDecl decl{"", {}, text(section, "hf_layer_type"), {}, table->range};
      decl.graph = graph(table, "block", &section);
      section.finish();
      out.blocks.push_back(std::move(decl));
      return;
    }
    for (const TomlEntry &entry : table->entries) {
      if (!isKind(entry)) {
        diags.error(entry.keyRange, "[block] has a 'graph', or kinds of blocks as tables");
        continue;
      }
      TableReader kind(&entry.value, "block." + entry.key, context);
      BlockDecl decl{entry.key, {}, "", {}, entry.keyRange};
      decl.when = expression(kind.any("when"), "'when'");
      decl.hfLayerType = text(kind, "hf_layer_type");
      decl.graph = graph(&entry.value, "block." + entry.key, &kind);
      kind.finish();
      if (!out.blocks.empty() && out.blocks.back().when.kind == ExprKind::None)
        diags.error(entry.keyRange, "[block." + out.blocks.back().name +
                                        "] takes all layers: its 'when' says which, or it stands "
                                        "last");
      out.blocks.push_back(std::move(decl));
    }
  }

  GraphAst graph(TableReader &t, const std::string &name) {
    const TomlValue *table = t.table(name);
    if (table)
      return graph(table, name);
    missing({file, 1, 1, 1, 1}, "[" + name + "]");
    return {};
  }

  // `reader` where the table has other keys too.
  GraphAst graph(const TomlValue *table, const std::string &name, TableReader *reader = nullptr) {
    TableReader alone(table, name, context);
    const TomlEntry *entry = (reader ? reader : &alone)->any("graph");
    if (!reader)
      alone.finish();
    if (!entry || !entry->value.isString()) {
      diags.error(table->range, "[" + name + "] needs 'graph', a literal string in '''");
      return {};
    }
    std::optional<EmbeddedText> text = embedded(entry->value, diags);
    return text ? parseGraph(*text, diags) : GraphAst{};
  }

  std::shared_ptr<const SourceFile> file;
  Diagnostics &diags;
  ReadContext context;
  Architecture out;
  std::set<std::string> names;
};

} // namespace

std::optional<Architecture> parseArchitecture(std::shared_ptr<const SourceFile> file,
                                              Diagnostics &diags) {
  size_t before = diags.errors();
  std::optional<TomlValue> root = parseToml(file, diags);
  if (!root)
    return std::nullopt;
  Architecture out = ArchitectureReader(file, diags).read(*root);
  return diags.errors() == before ? std::optional(std::move(out)) : std::nullopt;
}

std::optional<Architecture> loadArchitecture(const std::string &path, Diagnostics &diags) {
  std::shared_ptr<const SourceFile> file = readSource(path, diags);
  return file ? parseArchitecture(file, diags) : std::nullopt;
}

std::optional<Architecture> findArchitecture(
    const Spec &spec, const std::string &modelType, const std::vector<std::string> &folders,
    const std::vector<std::shared_ptr<const SourceFile>> &embedded, Diagnostics &diags) {
  namespace fs = std::filesystem;
  const Field<std::string> &wanted = spec.model.architecture;
  std::error_code ignored;
  if (wanted.given() && (wanted->find('/') != std::string::npos || wanted->ends_with(".toml"))) {
    if (!fs::is_regular_file(spec.resolve(*wanted), ignored)) {
      diags.error(wanted.range, "cannot read the architecture '" + printable(*wanted) + "'");
      return std::nullopt;
    }
    return loadArchitecture(spec.resolve(*wanted), diags);
  }
  std::vector<std::string> known;
  auto fits = [&](const Architecture &found) {
    for (const auto *names : {&found.hfModelTypes, &found.ggufArchitectures})
      if (std::find(names->begin(), names->end(), modelType) != names->end())
        return true;
    return false;
  };
  for (const std::string &folder : folders) {
    std::vector<fs::path> files;
    for (fs::directory_iterator it(folder, ignored), end; !ignored && it != end;
         it.increment(ignored))
      if (it->path().extension() == ".toml")
        files.push_back(it->path());
    std::sort(files.begin(), files.end());
    for (const fs::path &path : files) {
      if (wanted.given() && path.stem() != *wanted) {
        known.push_back(path.stem().string());
        continue;
      }
      std::optional<Architecture> found = loadArchitecture(path.string(), diags);
      if (!found || wanted.given())
        return found;
      known.push_back(found->name);
      if (fits(*found))
        return found;
    }
  }
  for (const std::shared_ptr<const SourceFile> &file : embedded) {
    std::optional<Architecture> found = parseArchitecture(file, diags);
    if (!found || (wanted.given() ? found->name == *wanted : fits(*found)))
      return found;
    known.push_back(found->name);
  }
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  std::string list;
  for (const std::string &name : known)
    list += (list.empty() ? "" : ", ") + name;
  Diagnostic &error =
      wanted.given()
          ? diags.error(wanted.range, "no architecture is named '" + printable(*wanted) + "'")
                .suggest(nearest(*wanted, known))
          : diags.error(spec.model.source.range, "the model is of type '" + printable(modelType) +
                                                     "', which no architecture describes");
  error.note("described: " + (list.empty() ? "none" : list));
  return std::nullopt;
}

} // namespace lorac::dsl
