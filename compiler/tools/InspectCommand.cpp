// `lorac inspect`: what a compiled folder holds, or what a model is.

#include "compiler/tools/Command.h"
#include "compiler/tools/DescribeModel.h"
#include "compiler/tools/GeneratedFolder.h"
#include "compiler/tools/Output.h"
#include "dsl/Diagnostics.h"
#include "nlohmann/json.hpp"
#include "runtime/formats/MappedFile.h"

#include <algorithm>
#include <filesystem>

namespace fs = std::filesystem;

namespace lorac::tools {
namespace {

struct InspectOptions {
  std::string folder; ///< or a GGUF file
  std::string part;   ///< a stage ("30", "30-backward"), a kernel, or empty: the list
  bool json = false;
};

struct Part {
  std::string name; ///< 30-backward, linear_forward_…, plan
  std::string kind; ///< stage, kernel, plan
  std::string path;
  std::string text; ///< a kernel of 60-kernels; empty: the whole of `path`
};

std::vector<Part> partsIn(const fs::path &folder, bool kernels) {
  std::vector<Part> parts;
  std::error_code code;
  for (fs::directory_iterator entry(folder, code), end; !code && entry != end;
       entry.increment(code)) {
    std::string name = entry->path().filename().string();
    std::error_code ignored;
    if (!entry->is_regular_file(ignored))
      continue;
    std::string stem = entry->path().stem().string();
    std::string path = entry->path().string();
    if (kernels)
      parts.push_back({name, "kernel", path});
    else if (name == "plan.md" || name == "plan.json" || name == "run.json")
      parts.push_back({name, "plan", path});
    else if (isGeneratedName(name) && name.size() > 3 && name[2] == '-')
      parts.push_back({stem, "stage", path});
  }
  std::sort(parts.begin(), parts.end(),
            [](const Part &a, const Part &b) { return a.name < b.name; });
  return parts;
}

Result<std::string> contents(const std::string &path) {
  return formats::readSmallFile(path, uint64_t(1) << 30);
}

Result<std::string> contents(const Part &part) {
  if (!part.text.empty())
    return part.text;
  return contents(part.path);
}

/// The CPU's kernels are functions of one module: each from its line `  func.func @NAME.body(` to
/// its closing brace.
Result<std::vector<Part>> kernelsOf(const Part &stage) {
  LORAC_TRY_ASSIGN(std::string text, contents(stage.path));
  const std::string open = "  func.func @", close = "\n  }";
  std::vector<Part> kernels;
  for (size_t at = text.compare(0, open.size(), open) == 0 ? 0 : text.find("\n" + open);
       at != std::string::npos;) {
    size_t begin = at + (text[at] == '\n' ? 1 : 0);
    size_t end = text.find(close, begin);
    if (end == std::string::npos)
      break;
    end = std::min(text.find('\n', end + 1), text.size() - 1) + 1;
    std::string name =
        text.substr(begin + open.size(), text.find('(', begin) - begin - open.size());
    if (name.size() > 5 && name.compare(name.size() - 5, 5, ".body") == 0)
      name.resize(name.size() - 5);
    kernels.push_back({name, "kernel", stage.path, text.substr(begin, end - begin)});
    at = text.find("\n" + open, end - 1);
  }
  return kernels;
}

/// By the whole name, without its ending, or by a stage's number.
std::vector<const Part *> matching(const std::vector<Part> &parts, const std::string &word) {
  std::vector<const Part *> found;
  for (const Part &part : parts)
    if (part.name == word || fs::path(part.name).stem() == word ||
        (part.text.empty() && fs::path(part.path).filename() == word))
      return {&part};
  for (const Part &part : parts)
    if (part.name.compare(0, word.size(), word) == 0)
      found.push_back(&part);
  return found;
}

Exit list(const std::vector<Part> &parts, bool asJson) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  size_t width = 0;
  for (const Part &part : parts)
    width = std::max(width, part.name.size());
  for (const Part &part : parts) {
    Result<std::string> text = contents(part);
    if (!text)
      return fail(text.error());
    long long lines = std::count(text->begin(), text->end(), '\n');
    json.push_back(
        {{"name", part.name}, {"kind", part.kind}, {"path", part.path}, {"lines", lines}});
    if (!asJson) {
      std::string count = grouped(lines);
      print(
          part.kind + std::string(8 - part.kind.size(), ' ') + part.name +
          std::string(width - part.name.size() + 2 + (9 - std::min<size_t>(9, count.size())), ' ') +
          count + " lines\n");
    }
  }
  if (asJson)
    print(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  return Exit::Done;
}

} // namespace

static Exit runInspect(const InspectOptions &options) {
  std::error_code ignored;
  if (!fs::exists(options.folder, ignored))
    return fail({"there is no '" + options.folder + "'; `lorac compile SPEC` writes a folder"});
  std::vector<Part> parts = partsIn(options.folder, false);
  if (std::none_of(parts.begin(), parts.end(),
                   [](const Part &part) { return part.kind == "stage"; })) {
    if (fs::is_directory(options.folder, ignored) &&
        !fs::exists(fs::path(options.folder) / "config.json", ignored))
      return fail({"'" + options.folder +
                   "' holds neither a model (config.json) nor stages; `lorac compile SPEC -o DIR` "
                   "writes a folder with these"});
    if (!options.part.empty())
      return fail({"'" + options.folder +
                       "' is a model, which has no stages and no kernels: leave out '" +
                       dsl::printable(options.part) + "'",
                   Exit::Usage});
    return describeModel(options.folder, options.json);
  }
  for (size_t i = 0; i < parts.size(); ++i)
    if (parts[i].name == "60-kernels") {
      Result<std::vector<Part>> kernels = kernelsOf(parts[i]);
      if (!kernels)
        return fail(kernels.error());
      parts.insert(parts.end(), kernels->begin(), kernels->end());
      break;
    }
  for (Part &kernel : partsIn(fs::path(options.folder) / "kernels", true))
    parts.push_back(std::move(kernel));
  if (options.part.empty())
    return list(parts, options.json);

  std::vector<const Part *> found = matching(parts, options.part);
  if (found.size() == 1) {
    Result<std::string> text = contents(*found.front());
    if (!text)
      return fail(text.error());
    if (options.json)
      print(nlohmann::ordered_json{
                {"name", found.front()->name}, {"kind", found.front()->kind}, {"text", *text}}
                .dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
            "\n");
    else
      print(*text);
    return Exit::Done;
  }
  std::vector<std::string> names;
  for (const Part &part : parts)
    names.push_back(part.name);
  if (found.empty()) {
    std::string best = dsl::nearest(options.part, names);
    return fail({"no stage or kernel is named '" + dsl::printable(options.part) + "'" +
                     (best.empty() ? "; see `lorac inspect " + options.folder + "`"
                                   : "; did you mean '" + best + "'?"),
                 Exit::Usage});
  }
  std::string some;
  for (size_t i = 0; i < std::min<size_t>(found.size(), 4); ++i)
    some += (i ? ", " : "") + found[i]->name;
  return fail({"'" + dsl::printable(options.part) + "' fits " + std::to_string(found.size()) +
                   " names: " + some + (found.size() > 4 ? ", …" : ""),
               Exit::Usage});
}

static Action add(CLI::App &app) {
  auto options = std::make_shared<InspectOptions>();
  app.add_option("DIR", options->folder,
                 "a folder that `lorac compile` wrote, or a model: a GGUF file or its folder")
      ->type_name("");
  app.add_option("PART", options->part,
                 "a stage (30, 30-backward), a kernel or a file of the plan [none: the list]")
      ->type_name("");
  app.add_flag("--json", options->json, "print JSON");
  return {[options] { return needs(options->folder, "DIR"); },
          [options] { return runInspect(*options); }};
}

const Command commandInspect = {
    "inspect",
    "what a compiled folder holds: the list, one stage, or one kernel; or what a model is",
    R"(| `inspect DIR [STAGE\|KERNEL]` | what a compiled folder holds; `30` is enough for `30-backward`. Of a model (a GGUF file, a Hugging Face folder): its architecture, its tensors by type, its tokenizer, and what keeps it from being trained |)",
    add};

} // namespace lorac::tools
