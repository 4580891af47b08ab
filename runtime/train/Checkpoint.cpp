#include "runtime/train/Checkpoint.h"

#include "runtime/formats/DurableFile.h"
#include "runtime/formats/Finite.h"
#include "runtime/formats/FolderManifest.h"
#include "runtime/formats/Hash.h"
#include "runtime/formats/ModelIdentity.h"
#include "runtime/formats/Safetensors.h"
#include "runtime/train/CheckpointRanks.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/RunSurvey.h"
#include "runtime/train/StateStorage.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <map>
#include <sys/stat.h>

namespace lorac::train {

namespace {

namespace fs = std::filesystem;

constexpr const char *hashedFiles[] = {"adapter_config.json", "adapter_model.safetensors",
                                       "optimizer.safetensors"};
/// Of the format of checkpoints: those that this program writes, and can read.
constexpr int64_t formatVersion = 1;
/// JSON text with bad UTF-8 replaced.
std::string dumpJson(const Json &json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

constexpr const char *adapterPrefix = "base_model.model.";

Json toJson(const TrainerState &state, const RunIdentity &identity) {
  Json json;
  json["lorac_checkpoint"] = formatVersion;
  json["step"] = state.step;
  json["updates"] = state.updates;
  json["total_steps"] = state.totalSteps;
  json["epoch"] = state.position.epoch;
  json["micro"] = state.position.micro;
  json["num_input_tokens_seen"] = state.tokensSeen;
  json["metrics_bytes"] = state.metricsBytes;
  if (!state.metricsHash.empty())
    json["metrics_hash"] = state.metricsHash;
  json["first_loss"] = state.firstLoss;
  json["last_loss"] = state.lastLoss;
  json["evals"] = Json::array();
  for (auto [step, loss] : state.evals)
    json["evals"].push_back({step, loss});
  if (state.ranks)
    json["ranks"] = ranksToJson(*state.ranks);
  json["target"] = identity.target;
  json["model"] = identity.model;
  if (!identity.base.empty())
    json["base"] = identity.base;
  json["data"] = identity.data;
  json["spec"] = Json::object();
  for (const auto &[key, value] : identity.spec)
    json["spec"][key] = value;
  return json;
}

/// How the model that the checkpoint was trained on differs from this one, in words.
std::string differentBase(const Fields &root, const RunIdentity &identity) {
  std::map<std::string, std::string> then;
  root.maybe("base").forMembers(
      [&](const std::string &key, const Fields &value) { then[key] = value.asText(); });
  return formats::differingFacts(then, identity.base);
}

/// All that differs between the checkpoint's run and this one.
std::string differences(const Fields &root, const RunIdentity &identity) {
  std::string out;
  auto add = [&](const std::string &what) { out += (out.empty() ? "" : "; ") + what; };
  // Weights are packed as the target wants them: of another one their hash says nothing.
  if (std::string target = root.textOr("target", "cpu"); target != identity.target)
    add("the target was " + target + " and is " + identity.target);
  else if (root.textOr("model", "") != identity.model)
    add("the model's weights");
  if (root.textOr("data", "") != identity.data)
    add("the data");
  std::map<std::string, std::string> then;
  root.maybe("spec").forMembers(
      [&](const std::string &key, const Fields &value) { then[key] = value.asText(); });
  for (const auto &[key, value] : identity.spec) {
    auto it = then.find(key);
    if (it == then.end())
      add("'" + key + "' is new, " + value);
    else if (it->second != value)
      add("'" + key + "' was " + it->second + " and is " + value);
    if (it != then.end())
      then.erase(it);
  }
  for (const auto &[key, value] : then)
    add("'" + key + "' was " + value + " and is gone");
  int64_t total = root.integerOr("total_steps", 0);
  if (identity.stepsMatter && total != identity.totalSteps)
    add("the number of steps, on which the schedule depends, was " + std::to_string(total) +
        " and is " + std::to_string(identity.totalSteps));
  return out;
}

TrainerState fromJson(const Fields &root) {
  constexpr int64_t most = int64_t(1) << 50;
  TrainerState state;
  state.step = root.integer("step", 0, most);
  state.updates = root.integer("updates", 0, state.step);
  state.totalSteps = root.integer("total_steps", 0, most);
  state.position = {root.integer("epoch", 0, most), root.integer("micro", 0, most)};
  state.tokensSeen = root.integer("num_input_tokens_seen", 0);
  state.metricsBytes = uint64_t(root.integer("metrics_bytes", 0));
  state.metricsHash = root.textOr("metrics_hash", "");
  state.firstLoss = root.number("first_loss");
  state.lastLoss = root.number("last_loss");
  root.at("evals").forEach([&](const Fields &pair) {
    if (!pair.json().is_array() || pair.size() != 2 || !pair.json()[0].is_number_integer() ||
        !pair.json()[1].is_number())
      return pair.fail("is not [step, loss]");
    state.evals.emplace_back(pair.json()[0].get<int64_t>(), pair.json()[1].get<double>());
  });
  if (root.has("ranks"))
    state.ranks = ranksFromJson(root.at("ranks"));
  return state;
}

/// Checks names, types and shapes of `file` against `targets`; all misfits in one text, "" where
/// there are none.
std::string tensorMisfits(const formats::Safetensors &file,
                          const std::vector<StateTensor> &targets) {
  std::string misfits, types;
  auto add = [](std::string &to, const std::string &what) {
    to += (to.empty() ? "" : "; ") + what;
  };
  for (const StateTensor &target : targets) {
    const formats::TensorInfo *info = file.find(target.name);
    if (!info)
      add(misfits, "'" + target.name + "' is missing");
    else if (info->shape != target.shape)
      add(misfits, "'" + target.name + "' has another shape");
    else if (info->dtype != target.type)
      add(types, "'" + target.name + "' is " + std::string(formats::toString(info->dtype)) +
                     ", expected " + std::string(formats::toString(target.type)));
  }
  if (misfits.empty() && types.empty() && file.tensors().size() != targets.size())
    add(misfits, "it has " + std::to_string(file.tensors().size()) + " tensors, the program " +
                     std::to_string(targets.size()));
  if (!misfits.empty())
    return "is of another model or adapter: " + misfits;
  return types.empty() ? "" : "is none that this program writes: " + types;
}

/// The parameters as the adapter's file has them.
std::vector<StateTensor> adapterTensors(const Plan &plan, const TrainedFloats &trained,
                                        const std::string &prefix) {
  std::vector<StateTensor> tensors;
  for (const PlanParam &param : plan.params)
    tensors.push_back(
        {prefix + param.name, formats::DType::F32, param.shape, trained.params + param.offset});
  return tensors;
}

/// Whether the checkpoint's states are others by the spec: that names it better than the tensors
/// which then differ.
bool hasOtherStates(const Fields &root, const RunIdentity &identity) {
  constexpr const char *deciding[] = {"optimizer.name", "optimizer.min_8bit_size",
                                      "optimizer.momentum", "optimizer.beta1"};
  return std::any_of(std::begin(deciding), std::end(deciding), [&](const char *key) {
    auto now = std::find_if(identity.spec.begin(), identity.spec.end(),
                            [&](const auto &setting) { return setting.first == key; });
    return root.maybe("spec").textOr(key, "") != (now == identity.spec.end() ? "" : now->second);
  });
}

} // namespace

std::string checkpointPath(const std::string &outDir, int64_t step) {
  return outDir + "/checkpoint-" + std::to_string(step);
}

Result<std::vector<std::string>> listCheckpoints(const std::string &outDir) {
  std::vector<std::pair<int64_t, std::string>> found;
  std::error_code error;
  for (fs::directory_iterator entry(outDir, error), end; !error && entry != end;
       entry.increment(error)) {
    std::string name = entry->path().filename().string();
    if (!isCheckpointName(name))
      continue;
    found.emplace_back(std::strtoll(name.c_str() + std::strlen("checkpoint-"), nullptr, 10),
                       outDir + "/" + name);
  }
  // One that cannot be read to its end may hold more: it is not taken for empty.
  if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory)
    return Error{"cannot list '" + outDir + "': " + error.message()};
  std::sort(found.rbegin(), found.rend());
  std::vector<std::string> paths;
  for (auto &[step, path] : found)
    paths.push_back(path);
  return paths;
}

namespace {

Error corrupt(const std::string &folder, const std::string &what) {
  return Error{"checkpoint '" + folder + "' is corrupt: " + what, Exit::ForeignFile, true};
}

bool isPlainFile(const std::string &path) {
  struct stat status;
  return lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

/// Whether the files have these hashes.
Result<void> checkFiles(const std::string &folder,
                        const std::map<std::string, std::string> &hashes) {
  for (const char *name : hashedFiles) {
    const std::string path = folder + "/" + name;
    if (!isPlainFile(path))
      return corrupt(folder, "'" + std::string(name) + "' is missing");
    Result<std::string> found = formats::hashFile(path);
    if (!found)
      return corrupt(folder, found.error().message);
    auto said = hashes.find(name);
    if (said == hashes.end() || said->second.empty())
      return corrupt(folder, "trainer_state.json has no hash of '" + std::string(name) + "'");
    if (*found != said->second)
      return corrupt(folder, "'" + std::string(name) + "' has hash " + *found +
                                 ", trainer_state.json says " + said->second);
  }
  return {};
}

/// trainer_state.json, with its hash and those of the other files checked.
Result<Json> readState(const std::string &folder) {
  Result<std::string> text = formats::readSmallFile(folder + "/trainer_state.json", 64 << 20);
  if (!text)
    return corrupt(folder, "it has no readable trainer_state.json");
  Result<Json> json = parseJson(*text, "trainer_state.json");
  if (!json || !json->is_object())
    return corrupt(folder, "trainer_state.json is not JSON");
  std::string error;
  Fields root(*json, "trainer_state", error);
  std::string hash = root.text("hash");
  json->erase("hash");
  if (!error.empty() || formats::hashHex(dumpJson(*json)) != hash)
    return corrupt(folder, "trainer_state.json has another hash than it says");
  std::map<std::string, std::string> hashes;
  const int64_t version = root.integer("lorac_checkpoint");
  if (!error.empty())
    return corrupt(folder, error);
  if (version != formatVersion)
    return Error{"checkpoint '" + folder + "' has the format " + std::to_string(version) +
                     ", this version reads format " + std::to_string(formatVersion) +
                     "; resume with the lorac that wrote it, or --overwrite",
                 Exit::ForeignFile};
  for (const char *name : hashedFiles)
    hashes[name] = root.maybe("files").textOr(name, "");
  LORAC_TRY(checkFiles(folder, hashes));
  return json;
}

/// Whether no number is NaN or infinite, and no absmax below 0.
Result<void> checkNumbers(const std::string &folder, const formats::Safetensors &file,
                          const std::vector<StateTensor> &targets) {
  std::array<float, 1024> some;
  for (const StateTensor &target : targets) {
    if (target.type != formats::DType::F32)
      continue;
    const std::span<const uint8_t> bytes = file.bytes(*file.find(target.name));
    for (size_t done = 0; done < bytes.size(); done += sizeof some) {
      const size_t count = std::min(sizeof some, bytes.size() - done) / sizeof(float);
      std::memcpy(some.data(), bytes.data() + done, count * sizeof(float));
      std::optional<size_t> at = formats::firstNotFinite({some.data(), count});
      for (size_t i = 0; target.isAbsmax && !at && i < count; ++i)
        if (some[i] < 0)
          at = i;
      if (at)
        return corrupt(folder, "'" + fs::path(file.path()).filename().string() + "': '" +
                                   target.name + "' is " + formats::numberText(some[*at]) +
                                   " at position " + std::to_string(done / sizeof(float) + *at) +
                                   " of " + std::to_string(target.count()));
    }
  }
  return {};
}

/// A checkpoint that is known to fit the run: what is left is to copy it.
struct OpenCheckpoint {
  TrainerState state;
  std::optional<formats::Safetensors> adapter, optimizer;
  std::vector<StateTensor> adapterTargets, optimizerTargets;
};

Result<OpenCheckpoint> openCheckpoint(const std::string &folder, const Plan &plan,
                                      const TrainedFloats &trained, const RunIdentity &identity) {
  LORAC_TRY_ASSIGN(Json json, readState(folder));
  std::string error;
  Fields root(json, "trainer_state", error);
  OpenCheckpoint open;
  for (auto [name, file] : {std::pair{"/adapter_model.safetensors", &open.adapter},
                            {"/optimizer.safetensors", &open.optimizer}}) {
    LORAC_TRY_ASSIGN(auto opened, formats::Safetensors::open(folder + name));
    *file = std::move(opened);
  }
  if (!plan.ranks)
    open.adapterTargets = adapterTensors(plan, trained, adapterPrefix);
  open.optimizerTargets = stateTensors(plan, trained);
  std::string misfits = plan.ranks ? "" : tensorMisfits(*open.adapter, open.adapterTargets);
  if (misfits.empty() && !hasOtherStates(root, identity))
    misfits = tensorMisfits(*open.optimizer, open.optimizerTargets);
  if (!misfits.empty())
    return Error{"checkpoint '" + folder + "' " + misfits, Exit::ForeignFile};
  if (std::string other = differentBase(root, identity); !other.empty())
    return Error{"checkpoint '" + folder + "' was trained on another base model: " + other +
                     "; resume with the model that it was begun with",
                 Exit::ForeignFile};
  std::string different = differences(root, identity);
  open.state = fromJson(root);
  if (!error.empty())
    return corrupt(folder, error);
  if (!different.empty())
    return Error{"checkpoint '" + folder + "' is of another run: " + different +
                     "; resume with what it was begun with, or --overwrite",
                 Exit::Refused};
  for (auto [file, targets] : {std::pair{&*open.adapter, &open.adapterTargets},
                               {&*open.optimizer, &open.optimizerTargets}})
    LORAC_TRY(checkNumbers(folder, *file, *targets));
  return open;
}

} // namespace

Result<void> requireFiniteState(const Plan &plan, const TrainedFloats &trained,
                                const std::string &what) {
  std::vector<StateTensor> tensors;
  if (!plan.ranks)
    tensors = adapterTensors(plan, trained, "");
  for (StateTensor &tensor : stateTensors(plan, trained))
    tensors.push_back(std::move(tensor));
  for (const StateTensor &tensor : tensors)
    if (tensor.type == formats::DType::F32)
      LORAC_TRY(formats::requireFinite(
          {static_cast<const float *>(tensor.data), size_t(tensor.count())}, what, tensor.name));
  return {};
}

Result<StagedCheckpoint> stageCheckpoint(const std::string &outDir, const Plan &plan,
                                         const TrainedFloats &trained,
                                         const formats::Adapter &adapter, const TrainerState &state,
                                         const RunIdentity &identity) {
  LORAC_TRY_ASSIGN(auto folder,
                   formats::DurableDirectory::create(checkpointPath(outDir, state.step)));
  const std::string &work = folder.workPath();
  std::map<std::string, std::string> hashes;
  LORAC_TRY(formats::writePeftAdapter(work, adapter, &hashes));
  std::vector<formats::TensorToWrite> tensors;
  for (const StateTensor &tensor : stateTensors(plan, trained))
    tensors.push_back({tensor.name, tensor.type, tensor.shape, tensor.data});
  LORAC_TRY(formats::writeSafetensors(work + "/optimizer.safetensors", tensors, {},
                                      &hashes["optimizer.safetensors"]));
  Json json = toJson(state, identity);
  json["files"] = Json::object();
  for (const char *name : hashedFiles)
    json["files"][name] = hashes[name];
  const std::string hash = formats::hashHex(dumpJson(json));
  json["hash"] = hash;
  LORAC_TRY(formats::writeDurably(work + "/trainer_state.json", dumpJson(json, 1) + "\n"));
  // What a reader would say of it is known before it has a name.
  if (Result<OpenCheckpoint> readBack = openCheckpoint(work, plan, trained, identity); !readBack)
    return Error{"what was written does not read back: " + readBack.error().message};
  LORAC_TRY(folder.sync());
  return StagedCheckpoint{std::move(folder), "checkpoint-" + std::to_string(state.step), hash};
}

CheckpointFacts inspectCheckpoint(const std::string &folder, bool listed, bool deep) {
  CheckpointFacts facts;
  std::error_code error;
  struct stat status;
  if (lstat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode))
    return facts;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name != "trainer_state.json" &&
        std::find(std::begin(hashedFiles), std::end(hashedFiles), name) == std::end(hashedFiles))
      facts.stranger = name;
  }
  const std::string path = folder + "/trainer_state.json";
  const auto damaged = [&](const Error &why) {
    facts.kind = CheckpointFacts::Damaged;
    facts.damage = why;
    return facts;
  };
  Result<std::string> text = Error{""};
  if (isPlainFile(path))
    text = formats::readSmallFile(path, 64 << 20);
  if (!text)
    return listed ? damaged(corrupt(folder, "it has no readable trainer_state.json")) : facts;
  auto json = formats::readHashedJson(*text, path, "lorac_checkpoint");
  if (!json)
    return damaged(corrupt(folder, json.error().message));
  if (!*json)
    return listed ? damaged(corrupt(folder, "trainer_state.json is not what lorac wrote")) : facts;
  facts.kind = CheckpointFacts::Whole;
  facts.hash = (*json)->hash;
  facts.files = (*json)->tables["files"];
  facts.metricsHash = (*json)->texts["metrics_hash"];
  facts.metricsBytes = std::strtoull((*json)->rest["metrics_bytes"].c_str(), nullptr, 10);
  if (deep)
    if (Result<void> whole = checkFiles(folder, facts.files); !whole)
      return damaged(whole.error());
  return facts;
}

Result<std::optional<CheckpointRanks>> readCheckpointRanks(const std::string &folder) {
  LORAC_TRY_ASSIGN(Json json, readState(folder));
  std::string error;
  Fields root(json, "trainer_state", error);
  std::optional<CheckpointRanks> ranks;
  if (root.has("ranks"))
    ranks = ranksFromJson(root.at("ranks"));
  if (!error.empty())
    return corrupt(folder, error);
  return ranks;
}

Result<TrainerState> readCheckpoint(const std::string &folder, const Plan &plan,
                                    const TrainedFloats &trained, const RunIdentity &identity) {
  LORAC_TRY_ASSIGN(OpenCheckpoint open, openCheckpoint(folder, plan, trained, identity));
  for (auto [file, targets] : {std::pair{&*open.adapter, &open.adapterTargets},
                               {&*open.optimizer, &open.optimizerTargets}})
    for (const StateTensor &target : *targets) {
      std::span<const uint8_t> bytes = file->bytes(*file->find(target.name));
      std::memcpy(target.data, bytes.data(), bytes.size());
    }
  return std::move(open.state);
}

} // namespace lorac::train
