#!/usr/bin/env python3
"""Makes the small vocabularies and expected ids of this folder, with the incumbents.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3 && python3 make_cases.py

Run it in this folder. The training text is docs/design.md of the commit that brought the script; another text gives
another vocabulary and other ids, equally valid. `tokenizer_cases.json` is not made here: it holds SmolLM2's ids.
"""
import io
import json
import pathlib
import sys

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).resolve().parent
TEXT = (HERE / "../../../docs/design.md").read_text().splitlines(keepends=True)
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?"
         r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")

# tokenizers 0.23 decodes an added token to its normalized text, earlier versions to its text: not checked.
ENCODE_ONLY = {"added normalized"}

STRINGS = [
    "", " ", "  ", "   \n", "\n\n\n", "\r\n", "a\r\nb\r\n\r\n", "\t\ttab", "Hello, World!", " the kernel", "the kernel ",
    "The buffers are [tokens, n]: float32", "it's we'll I'M THEY'RE don\u2019t '\u017f", "x = y+1; // 100%", "1234567890 12,345.67",
    "\u0661\u0662\u0663 \u0967\u0968 \u2167 \u00b2\u00bd", "na\u00efve caf\u00e9 cafe\u0301", "e\u0323\u0301 e\u0301\u0323 \u0345\u0344",
    "\ufb01 \u212b \uff21 \u1e9b\u0323 \ud55c\uae00 \u1112\u1161\u11ab", "\u0130stanbul STRASSE stra\u00dfe \u03a3\u03c2",
    "a\u180eb\u200bc\u00a0d\u2028e\u3000f\u0085g\u001ch", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f3fd \U0001f1e9\U0001f1ea",
    "\u4e00\u4e8c\u4e09 \u65e5\u672c\u8a9e \uff0c\u3002", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0928\u092e\u0938\u094d\u0924\u0947",
    "\u2581the\u2581 \u2581\u2581x", "\u0120the \u010a", "<0x41><0x0A>", "null\u0000byte", "\x7f\x1b[0m", "\ufeffbom \ufffd \ufffe",
    "<|end|>", "text<|end|>more<|end|> <|end|>", "<|en<|end|>d|>", " <s> the <s>", "<s>the</s>\n", "x<mask> y <mask>", "mask<word>mask <word> word",
    "a" * 70, " " * 50 + "x", "ab " * 20, "camelCaseWords HTTPServer iPhone", "snake_case__name--dash", "\U0010ffff\U000e0001",
    "\u0301starts with a mark", "ends with\u0301", "==>>  <<==", "(a+b)*[c]{d}", "http://example.org/?q=1&r=%20",
]


def special(content, **flags):
    return {"id": None, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": True, **flags}


def with_added(base, *tokens):
    count = len(base["model"]["vocab"])
    added = [t for t in base["added_tokens"]]
    for token in tokens:
        known = base["model"]["vocab"].get(token["content"])
        token = dict(token, id=count if known is None else known)
        count += known is None
        added.append(token)
    return {"added_tokens": added}


def byte_level_base():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=384, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  special_tokens=["<|end|>"], show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    return json.loads(tokenizer.to_str())


def characters_base():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=160, show_progress=False, limit_alphabet=70,
                                  special_tokens=["<unk>", "<s>", "</s>"])
    tokenizer.train_from_iterator(TEXT, trainer)
    base = json.loads(tokenizer.to_str())
    vocabulary = base["model"]["vocab"]
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    return base


def case(text, ids, decoded, skipping=None):
    """What is not said is the same again: `skipping` as `decoded`, `decoded` as `text`."""
    result = {"text": text, "ids": ids}
    if decoded != text:
        result["decoded"] = decoded
    if skipping is not None and skipping != decoded:
        result["decoded_skip_special"] = skipping
    return result


def run(base, patch):
    merged = {**base, **patch, "model": {**base["model"], **patch.get("model", {})}}
    tokenizer = Tokenizer.from_str(json.dumps(merged))
    cases = []
    for text in STRINGS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        cases.append(case(text, ids, tokenizer.decode(ids, skip_special_tokens=False),
                          tokenizer.decode(ids, skip_special_tokens=True)))
    return cases


def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def pre(*steps):
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": list(steps)}}


def norm(*steps):
    return {"normalizer": {"type": "Sequence", "normalizers": list(steps)}}


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
LLAMA2_DECODER = {"decoder": {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}}


def byte_level_patches(base):
    yield "gpt2", {}
    yield "prefix space", {"pre_tokenizer": {**BYTES, "add_prefix_space": True, "use_regex": True}}
    yield "llama3", {**pre(split({"Regex": LLAMA3}, "Isolated"), BYTES), "model": {"ignore_merges": True}}
    yield "cased", pre(split({"Regex": CASED}, "Isolated"), BYTES)
    yield "digits", pre({"type": "Digits", "individual_digits": True}, {**BYTES, "use_regex": True})
    yield "digit runs", pre({"type": "Digits", "individual_digits": False}, {**BYTES, "use_regex": True})
    yield "punctuation", pre({"type": "Punctuation", "behavior": "Contiguous"}, {**BYTES, "use_regex": True},
                             {"type": "Digits", "individual_digits": False}, split({"Regex": "[0-9][0-9][0-9]"}, "Isolated"))
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        yield f"split {behavior}", pre(split({"Regex": r"[\s,]"}, behavior), BYTES)
        yield f"split string {behavior}", pre(split({"String": "e"}, behavior), BYTES)
    yield "inverted", pre(split({"Regex": r"\w+|[^\w\s]+"}, "Removed", True), BYTES)
    yield "lookahead", pre(split({"Regex": r"\p{N}+"}, "Isolated"), split({"Regex": r"(?=(\d{3})+(?!\d))"}, "Isolated"), BYTES)
    yield "class algebra", pre(split({"Regex": r"[\p{L}&&[^\p{Han}a-f]]+|[x[yz]]|\h+|a{1,2}+|(?m:b.)|^.|\u65e5$"}, "Isolated"), BYTES)
    yield "possessive", pre(split({"Regex": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"},
                                  "Isolated"), BYTES)
    yield "delimiter", pre({"type": "CharDelimiterSplit", "delimiter": "e"}, BYTES)
    yield "bert", pre({"type": "BertPreTokenizer"}, BYTES)
    yield "whitespace split", pre({"type": "WhitespaceSplit"}, BYTES)
    for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"):
        yield form, {"normalizer": {"type": form}}
    yield "strip", norm({"type": "NFD"}, {"type": "StripAccents"}, {"type": "Strip", "strip_left": True, "strip_right": False})
    yield "replace regex", norm({"type": "Replace", "pattern": {"Regex": r" {2,}|\s$"}, "content": "_$0"})
    yield "added", with_added(base, special("<s>"), special("</s>", rstrip=True), special("<mask>", lstrip=True),
                              special("<word>", single_word=True, special=False), special("  ", special=False),
                              special("caf\u00e9", special=False, normalized=True))
    yield "added normalized", {**with_added(base, special("THE", special=False, normalized=True), special("<S>", normalized=True),
                                            special("Caf\u00e9", special=False, normalized=True, lstrip=True)),
                               **norm({"type": "NFC"}, {"type": "Lowercase"})}
    for left, right in ((False, True), (True, False), (True, True)):
        yield f"white space token {left} {right}", with_added(
            base, special("\n", lstrip=left, rstrip=right), special("  ", lstrip=right, special=False), special("e", single_word=True))
    yield "pairs of merges", {"model": {"merges": [list(m) if isinstance(m, list) else m.split(" ") for m in base["model"]["merges"]]}}
    yield "lines of merges", {"model": {"merges": [" ".join(m) if isinstance(m, list) else m for m in base["model"]["merges"]]}}


def characters_patches(base):
    prepend = norm({"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"})
    fallback = {"model": {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}}
    yield "llama2", {**prepend, "pre_tokenizer": None, **LLAMA2_DECODER, **fallback}
    for scheme in ("always", "first", "never"):
        for cut in (False, True):
            meta = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": cut}
            yield f"metaspace {scheme} {cut}", {"pre_tokenizer": meta, "decoder": {**meta}, **fallback}
    yield "unknown", {}
    yield "unknown fused", {"model": {"fuse_unk": True}}
    yield "no unknown", {"model": {"unk_token": None}}
    yield "gemma", {**norm({"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}),
                    "pre_tokenizer": split({"String": " "}, "MergedWithPrevious"), **LLAMA2_DECODER, **fallback}
    yield "whitespace", {"pre_tokenizer": {"type": "Whitespace"}, "decoder": None}
    yield "word piece", {"pre_tokenizer": {"type": "Whitespace"}, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}}
    yield "suffix decoder", {"pre_tokenizer": {"type": "Whitespace"}, "decoder": {"type": "BPEDecoder", "suffix": "e"}}
    yield "strip decoder", {"decoder": {"type": "Strip", "content": "\u2581", "start": 1, "stop": 0}}


def sentence_piece():
    """SentencePiece's own BPE: pieces, scores and types as GGUF stores them, and its ids."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line.rstrip("\n") for line in TEXT), model_writer=model, vocab_size=400, model_type="bpe",
        byte_fallback=True, character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False,
        user_defined_symbols=["<word>"], minloglevel=2)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    size = processor.vocab_size()

    def kind(i):
        return (2 if processor.is_unknown(i) else 3 if processor.is_control(i) else 6 if processor.is_byte(i)
                else 4 if processor.id_to_piece(i) == "<word>" else 1)

    cases = []
    for text in STRINGS:
        if any(mark in text for mark in ("<s>", "</s>", "<unk>", "<word>", "<mask>")):
            continue  # SentencePiece does not recognise control tokens in a text, and gives user tokens no prefix
        ids = processor.encode(text)
        cases.append(case(text, ids, processor.decode(ids)))
    return {"tokens": [processor.id_to_piece(i) for i in range(size)], "scores": [processor.get_score(i) for i in range(size)],
            "types": [kind(i) for i in range(size)], "cases": cases}


def write(name, value):
    (HERE / name).write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")


def main():
    for name, base, patches in (("bytelevel", byte_level_base(), byte_level_patches), ("characters", characters_base(), characters_patches)):
        write(f"{name}.tokenizer.json", base)
        write(f"{name}_cases.json", [{"name": n, "patch": p, "cases": run(base, p), **({"encode_only": True} if n in ENCODE_ONLY else {})}
                                     for n, p in patches(base)])
    write("sentencepiece.json", sentence_piece())


if __name__ == "__main__":
    sys.exit(main())
