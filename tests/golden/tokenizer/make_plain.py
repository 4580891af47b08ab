#!/usr/bin/env python3
"""Makes plain_cases.json: ids of texts whose special tokens are text, by Hugging Face tokenizers.

    pip install tokenizers==0.23.3 && python3 make_plain.py

Run it in this folder. The configurations are those of bytelevel_cases.json and characters_cases.json.
"""
import json
import pathlib

from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).resolve().parent
TEXTS = ["", "no token here", "<|end|>", "text<|end|>more<|end|> <|end|>", "<|en<|end|>d|>", " <s> the <s>", "<s>the</s>\n", "</s>", "<unk>",
         "x<mask> y <mask>", "mask<word>mask <word> word", "<s><word></s>", "  <|end|>  ", "<0x41><s>", "<|END|> <S>"]


def main():
    out = []
    for base in ("bytelevel", "characters"):
        whole = json.loads((HERE / f"{base}.tokenizer.json").read_text())
        for configuration in json.loads((HERE / f"{base}_cases.json").read_text()):
            patched = json.loads(json.dumps(whole))
            for key, value in configuration["patch"].items():
                if key == "model":
                    patched["model"].update(value)
                else:
                    patched[key] = value
            tokenizer = Tokenizer.from_str(json.dumps(patched))
            tokenizer.encode_special_tokens = True
            out.append({"base": base, "name": configuration["name"], "cases": [
                {"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in TEXTS]})
    (HERE / "plain_cases.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")


main()
