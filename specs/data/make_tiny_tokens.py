#!/usr/bin/env python3
"""Writes tiny_tokens.safetensors: 8 batches of 4 samples of 32 tokens, vocabulary 512, as int32.

Each sample walks around one of four fixed cycles of eight tokens, from a place of its own: after two tokens the next is
certain. Labels stand at the input's position; the first of each sample is -100, since nothing comes before it.
Needs Python alone. Usage: make_tiny_tokens.py [FILE]
"""
import json
import os
import struct
import sys

STEPS, BATCH, LENGTH, VOCAB = 8, 4, 32, 512


def cycle(which):
    return [(which * 131 + place * 61 + 17) % VOCAB for place in range(8)]


def sample(index):
    tokens = cycle(index % 4)
    return [tokens[(index // 4 + place) % 8] for place in range(LENGTH)]


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "tiny_tokens.safetensors")
    samples = [sample(i) for i in range(STEPS * BATCH)]
    ids = [token for one in samples for token in one]
    labels = [token for one in samples for token in [-100] + one[1:]]
    shape, size = [STEPS, BATCH, LENGTH], 4 * len(ids)
    header = json.dumps({
        "input_ids": {"dtype": "I32", "shape": shape, "data_offsets": [0, size]},
        "labels": {"dtype": "I32", "shape": shape, "data_offsets": [size, 2 * size]},
    }).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(header)) + header)
        out.write(struct.pack(f"<{len(ids)}i", *ids) + struct.pack(f"<{len(labels)}i", *labels))


if __name__ == "__main__":
    main()
