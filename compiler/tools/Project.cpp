#include "compiler/tools/Project.h"

#include "compiler/tools/AdapterProgram.h"
#include "compiler/tools/EmbeddedArchitectures.h"
#include "compiler/tools/Identity.h"
#include "compiler/tools/Output.h"
#include "compiler/tools/Resources.h"
#include "compiler/tools/SourceFacts.h"
#include "dsl/Architecture.h"
#include "dsl/Parse.h"

#include <cstdlib>
#include <filesystem>

namespace lorac::tools {
namespace {

/// Environment first, then flags: the later wins.
std::vector<dsl::Override> overrides(const SpecInput &input, dsl::Diagnostics &diags) {
  std::vector<dsl::Override> all =
      dsl::environmentOverrides([](const char *name) { return std::getenv(name); });
  for (const std::string &flag : input.sets)
    if (auto parsed = dsl::parseOverride(flag, diags))
      all.push_back(std::move(*parsed));
  return all;
}

/// The architecture files that lorac carries, for what none on disk describes.
std::vector<std::shared_ptr<const dsl::SourceFile>> embedded() {
  std::vector<std::shared_ptr<const dsl::SourceFile>> files;
  for (const EmbeddedArchitecture &one : embeddedArchitectures())
    files.push_back(std::make_shared<dsl::SourceFile>("architectures/" + std::string(one.name),
                                                      std::string(one.text)));
  return files;
}

std::optional<dsl::Architecture> architecture(const std::string &specPath, const dsl::Spec &spec,
                                              const std::string &modelType,
                                              dsl::Diagnostics &diags) {
  return dsl::findArchitecture(spec, modelType, architectureFolders(specPath), embedded(), diags);
}

/// Whether some error is about what the model's files say, and not about the spec.
bool blamesFiles(const dsl::Spec &spec, const SourceFacts &source, const dsl::Diagnostics &diags) {
  if (source.facts.kind == dsl::ModelFacts::Kind::None)
    return false;
  const dsl::SourceRange &named = spec.model.source.range;
  for (const dsl::Diagnostic &diagnostic : diags.all()) {
    const dsl::SourceRange &at = diagnostic.range;
    if (diagnostic.severity == dsl::Severity::Error && at.file &&
        (at.file->path == source.facts.path ||
         (at.file == named.file && at.beginLine == named.beginLine)))
      return true;
  }
  return false;
}

/// Opens the spec's model and binds its description to numbers. `source` stays empty without one.
Exit bindModel(const std::string &specPath, const dsl::Spec &spec, SourceFacts &source,
               BaseModel &out, dsl::Diagnostics &diags) {
  dsl::BoundModel &model = out.model;
  if (const auto &path = spec.model.source; !path->empty()) {
    Result<SourceFacts> read = readSourceFacts(spec.resolve(*path));
    if (!read) {
      diags.error(path.range, read.error().message);
      return read.error().code;
    }
    source = std::move(*read);
    for (const std::string &note : source.notes)
      diags.warning(path.range, note);
  }
  auto described = architecture(specPath, spec, source.modelType, diags);
  if (!described || !dsl::bind(*described, spec.model, source.facts, model, diags)) {
    if (blamesFiles(spec, source, diags))
      return Exit::ForeignFile;
    // A graph that lorac carries is right: numbers that it cannot take are the file's.
    const bool areItsNumbers =
        described && source.source && spec.model.architecture->empty() && !spec.model.shape.given();
    if (!areItsNumbers)
      return Exit::Refused;
    diags.error(spec.model.source.range, "the model '" + source.facts.path + "' says sizes that '" +
                                             described->name + "' cannot compute with");
    return Exit::ForeignFile;
  }
  if (source.checkWeights)
    if (Result<void> whole = source.checkWeights(model); !whole) {
      diags.error(spec.model.source.range, whole.error().message);
      return whole.error().code;
    }
  out.source = source.source;
  out.identity = identityOf(*described, model, source.source.get());
  if (source.source)
    if (Result<void> known = formats::checkIdentity(*source.source, out.identity); !known) {
      diags.error(spec.model.source.range, known.error().message);
      return known.error().code;
    }
  out.ggufArchitecture = source.facts.ggufArchitecture;
  if (out.ggufArchitecture.empty())
    out.ggufArchitecture = described->ggufAdapters;
  if (out.ggufArchitecture.empty() && !described->ggufArchitectures.empty())
    out.ggufArchitecture = described->ggufArchitectures.front();
  return Exit::Done;
}

/// Errors of one run belong together: what a wrong spec asks of its model is said too, as far as
/// the model can be read for all that is wrong.
void noteUnmatchedModules(const std::string &specPath, const dsl::Spec &spec,
                          dsl::Diagnostics &diags) {
  SourceFacts source;
  BaseModel base;
  dsl::Diagnostics ofModel; // another run's
  if (bindModel(specPath, spec, source, base, ofModel) == Exit::Done)
    dsl::resolveAdapters(spec, base.model.adaptableModules(), diags);
}

void noteFormats(const SourceFacts &source, const dsl::BoundModel &model,
                 std::map<std::string, formats::WeightFormat> &formats) {
  const bool gguf = source.facts.kind == dsl::ModelFacts::Kind::Gguf;
  for (const dsl::BoundWeight &weight : model.weights)
    for (int64_t layer = 0; layer < (weight.perLayer ? model.layers : 1); ++layer)
      if (auto format = source.tensorFormat(gguf ? weight.ggufName(layer) : weight.hfName(layer)))
        formats[weight.hfName(layer)] = *format;
}

} // namespace

Exit loadProject(const SpecInput &input, Project &out, dsl::Diagnostics &diags) {
  std::vector<dsl::Override> changes = overrides(input, diags);
  if (diags.hasErrors())
    return Exit::Usage;
  out.spec = dsl::loadSpec(input.path, changes, diags);
  if (!diags.hasErrors())
    dsl::checkFiles(out.spec, diags);
  if (diags.hasErrors()) {
    noteUnmatchedModules(input.path, out.spec, diags);
    return Exit::Refused;
  }

  SourceFacts source;
  BaseModel base;
  if (Exit bound = bindModel(input.path, out.spec, source, base, diags); bound != Exit::Done)
    return bound;
  out.model = std::move(base.model);
  out.identity = std::move(base.identity);
  out.adapters = dsl::resolveAdapters(out.spec, out.model.adaptableModules(), diags);
  out.ranks = dsl::resolveRankBudget(out.spec, out.model, out.adapters, diags);
  dsl::checkModel(out.spec, out.model, diags);
  if (diags.hasErrors())
    return Exit::Refused;
  if (Exit fits = checkInitFrom(out, diags); fits != Exit::Done)
    return fits;
  if (source.tensorFormat)
    noteFormats(source, out.model, out.sourceFormats);
  return Exit::Done;
}

Exit loadProject(const SpecInput &input, Project &out) {
  dsl::Diagnostics diags;
  Exit code = loadProject(input, out, diags);
  if (std::string text = diags.text(); !text.empty())
    sayLine(text);
  return code;
}

Exit loadModel(const std::string &path, BaseModel &out, dsl::Diagnostics &diags) {
  dsl::Spec spec;
  spec.model.source.value = path;
  std::error_code ignored;
  spec.directory = std::filesystem::current_path(ignored).string();
  SourceFacts source;
  return bindModel("", spec, source, out, diags);
}

Exit loadSpecModel(const std::string &specPath, BaseModel &out, dsl::Diagnostics &diags) {
  dsl::Spec spec = dsl::loadSpec(specPath, {}, diags);
  if (diags.hasErrors())
    return Exit::Refused;
  SourceFacts source;
  return bindModel(specPath, spec, source, out, diags);
}

} // namespace lorac::tools
