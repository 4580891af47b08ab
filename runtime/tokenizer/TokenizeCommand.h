#pragma once
// The body of `lorac tokenize`.

#include <iosfwd>
#include <string>

namespace lorac {

/// Tokenizes `in` with the tokenizer at `model` (see Tokenizer::load).
/// With `json`: each line of `in` is one JSON string, each line of `out` the JSON array of its ids,
/// written and flushed before the next line is read. Otherwise `in` is one text, and `out` lists a
/// token a line: its id, and its text as the file writes it, as a JSON string.
/// Messages go to `err`. Returns an exit code of runtime/Result.h; a line that is no JSON string or
/// no text stops the run with Exit::Refused.
int runTokenize(const std::string &model, bool json, std::istream &in, std::ostream &out,
                std::ostream &err);

} // namespace lorac
