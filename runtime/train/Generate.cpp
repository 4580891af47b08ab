#include "runtime/train/Generate.h"

#include "runtime/formats/Finite.h"
#include "runtime/train/Signals.h"

namespace lorac::train {

Result<Generated> generate(Session &session, const Tokenizer &tokenizer,
                           const GenerateOptions &options,
                           const std::function<void(const std::string &)> &piece) {
  const Plan &plan = session.plan;
  Result<std::vector<int32_t>> encoded = tokenizer.encode(options.prompt);
  if (!encoded)
    return Error{"the prompt: " + encoded.error().message, Exit::Refused};
  std::vector<int32_t> ids;
  if (tokenizer.addBos() && tokenizer.bos() >= 0 &&
      (encoded->empty() || encoded->front() != tokenizer.bos())) // the prompt may bring its own
    ids.push_back(tokenizer.bos());
  ids.insert(ids.end(), encoded->begin(), encoded->end());
  if (ids.empty())
    return Error{"the prompt is empty; give some text", Exit::Refused};
  if (int64_t(ids.size()) > plan.maxLength)
    return Error{"the prompt has " + std::to_string(ids.size()) + " tokens, the program holds " +
                     std::to_string(plan.maxLength) +
                     "; shorten it, or compile with a larger train.max_length",
                 Exit::Refused};
  for (int32_t id : ids)
    if (id >= plan.vocab)
      return Error{"token " + std::to_string(id) +
                       " of the prompt is outside of the model's vocabulary of " +
                       std::to_string(plan.vocab),
                   Exit::ForeignFile};

  Generated out;
  out.promptIds = ids;
  out.finish = "length";
  StreamDecoder decoder(tokenizer, /*skipSpecial=*/true);
  auto give = [&](const Result<std::string> &text) {
    if (text && !text->empty()) {
      out.text += *text;
      piece(*text);
    }
  };
  MicroBatch batch;
  for (int64_t made = 0; made < options.maxNewTokens; ++made) {
    if (stopSignal()) {
      out.finish = "signal";
      break;
    }
    if (int64_t(ids.size()) > plan.maxLength) {
      out.finish = "context";
      break;
    }
    int64_t count = int64_t(ids.size());
    batch.clear();
    batch.ids = ids;
    batch.targets.assign(ids.size(), -100);
    for (int64_t i = 0; i < count; ++i)
      batch.positions.push_back(int32_t(i));
    batch.segmentStarts.push_back(int32_t(count));
    Result<void> done = session.feed(batch);
    if (done)
      done = session.execute(Program::Hidden, batch);
    if (!done)
      return done.error();
    LORAC_TRY_ASSIGN(const float *logits, session.logits(count - 1, 1));
    LORAC_TRY(formats::requireFinite({logits, size_t(plan.vocab)}, "token " + std::to_string(count),
                                     "logits"));
    int32_t next = sampleToken(logits, plan.vocab, options.sampler, uint64_t(count));
    if (next == tokenizer.eos()) {
      out.finish = "stop";
      break;
    }
    ids.push_back(next);
    out.ids.push_back(next);
    give(decoder.push(next));
  }
  give(decoder.finish());
  return out;
}

} // namespace lorac::train
