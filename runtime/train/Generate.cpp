#include "runtime/train/Generate.h"

#include "runtime/formats/Finite.h"
#include "runtime/train/Signals.h"
#include "runtime/train/StopText.h"

#include <algorithm>
#include <memory>

namespace lorac::train {

namespace {

Result<std::vector<int32_t>> promptIds(const std::string &prompt, const Tokenizer &tokenizer,
                                       const Plan &plan) {
  Result<std::vector<int32_t>> encoded = tokenizer.encode(prompt);
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
  return ids;
}

/// A prompt and what follows it.
struct Sequence {
  Sequence(std::vector<int32_t> prompt, const Tokenizer &tokenizer,
           const std::vector<std::string> &stops)
      : ids(std::move(prompt)), decoder(tokenizer, /*skipSpecial=*/true), certain(stops) {
    out.promptIds = ids;
  }

  std::vector<int32_t> ids;
  int64_t fed = 0; ///< of `ids`: tokens whose keys and values are in the cache
  Generated out;
  StreamDecoder decoder;
  StopText certain;
  size_t told = 0; ///< bytes of the text

  bool isDone() const { return !out.finish.empty(); }
  void add(const Result<std::string> &text) {
    if (text)
      out.text += certain.push(*text);
  }
  void end(const char *finish) {
    add(decoder.finish());
    out.text += certain.finish();
    out.finish = finish;
  }
};

class TextRun {
public:
  TextRun(Session &session, const Tokenizer &tokenizer, const std::vector<std::string> &prompts,
          const GenerateOptions &options, const GenerateListener &listener)
      : session(session), plan(session.plan), tokenizer(tokenizer), prompts(prompts),
        options(options), listener(listener), all(prompts.size()),
        places(plan.isText ? size_t(plan.maxSegments) : 1) {}

  Result<void> run() {
    while (true) {
      LORAC_TRY(fillPlaces());
      tell();
      if (told == all.size())
        return {};
      if (stopSignal()) {
        all[told]->end("signal");
        tell();
        return {};
      }
      LORAC_TRY(step());
      tell(); // before the next prompt is refused
    }
  }

private:
  /// A place whose text is whole takes the next prompt.
  Result<void> fillPlaces() {
    for (Sequence *&place : places)
      while ((!place || place->isDone()) && begun < all.size()) {
        LORAC_TRY_ASSIGN(std::vector<int32_t> ids, promptIds(prompts[begun], tokenizer, plan));
        all[begun] = std::make_unique<Sequence>(std::move(ids), tokenizer, options.stops);
        place = all[begun++].get();
        if (options.maxNewTokens == 0)
          place->end("length");
      }
    return {};
  }

  /// One run of `hidden`: of each text the tokens that are new, as far as there is room. Those of
  /// which all tokens are in get one more.
  Result<void> step() {
    batch.clear();
    std::vector<Sequence *> whole;
    std::vector<int64_t> lastRows;
    for (Sequence *place : places) {
      if (place && !place->isDone()) {
        if (!plan.isText) // which has no cache
          place->fed = 0;
        const int64_t left = int64_t(place->ids.size()) - place->fed,
                      rows = std::min(left, plan.maxTokens - batch.tokens());
        for (int64_t end = place->fed + rows; place->fed < end; ++place->fed) {
          batch.ids.push_back(place->ids[size_t(place->fed)]);
          batch.positions.push_back(int32_t(place->fed));
          batch.targets.push_back(-100);
        }
        if (rows == left) {
          whole.push_back(place);
          lastRows.push_back(batch.tokens() - 1);
        }
      }
      batch.segmentStarts.push_back(int32_t(batch.tokens()));
    }
    Result<void> done = session.feed(batch);
    if (done)
      done = session.execute(Program::Hidden, batch);
    if (!done)
      return done.error();
    if (whole.empty())
      return {};
    LORAC_TRY_ASSIGN(const float *logits, session.logits(lastRows));
    for (size_t i = 0; i < whole.size(); ++i)
      LORAC_TRY(addToken(*whole[i], logits + int64_t(i) * Plan::leadingDim(plan.vocab)));
    return {};
  }

  Result<void> addToken(Sequence &sequence, const float *logits) {
    const size_t count = sequence.ids.size();
    LORAC_TRY(formats::requireFinite({logits, size_t(plan.vocab)}, "token " + std::to_string(count),
                                     "logits"));
    if (options.sampler.repetitionPenalty != 1) {
      scores.assign(logits, logits + plan.vocab);
      penalizeRepeats(scores, sequence.ids, options.sampler.repetitionPenalty);
      logits = scores.data();
    }
    const int32_t next = sampleToken(logits, plan.vocab, options.sampler, count);
    if (next == tokenizer.eos()) {
      sequence.end("stop");
      return {};
    }
    sequence.ids.push_back(next);
    sequence.out.ids.push_back(next);
    sequence.add(sequence.decoder.push(next));
    if (sequence.certain.found())
      sequence.end("stop");
    else if (int64_t(sequence.out.ids.size()) == options.maxNewTokens)
      sequence.end("length");
    else if (int64_t(sequence.ids.size()) > plan.maxLength)
      sequence.end("context");
    return {};
  }

  /// What is new of the first text that was not told as a whole, and of those behind it.
  void tell() {
    while (told < begun) {
      Sequence &sequence = *all[told];
      if (sequence.told < sequence.out.text.size())
        listener.piece(sequence.out.text.substr(sequence.told));
      sequence.told = sequence.out.text.size();
      if (!sequence.isDone())
        return;
      listener.ended(sequence.out);
      ++told;
    }
  }

  Session &session;
  const Plan &plan;
  const Tokenizer &tokenizer;
  const std::vector<std::string> &prompts;
  const GenerateOptions &options;
  const GenerateListener &listener;
  std::vector<std::unique_ptr<Sequence>> all;
  std::vector<Sequence *> places; ///< by segment
  size_t begun = 0, told = 0;     ///< of `all`
  MicroBatch batch;
  std::vector<float> scores;
};

} // namespace

Result<void> generate(Session &session, const Tokenizer &tokenizer,
                      const std::vector<std::string> &prompts, const GenerateOptions &options,
                      const GenerateListener &listener) {
  return TextRun(session, tokenizer, prompts, options, listener).run();
}

} // namespace lorac::train
