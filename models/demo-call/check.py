"""Transcribe each channel of call.wav and compare it with reference.tsv.

Exits 1 when a channel's word error rate reaches 10 %. The recogniser is only
a measuring instrument here: it is neither shipped nor needed to build the call.
"""
import csv
import os
import pathlib
import re
import sys
import wave

import numpy as np
from moonshine_voice import ModelArch, Transcriber, get_assets_path

HERE = pathlib.Path(__file__).resolve().parent
LIMIT = 0.10


def words(text):
    # Case and punctuation are the recogniser's taste, not something it heard.
    return re.sub(r"[^a-z0-9' ]+", " ", text.lower().replace("\u2019", "'")).split()


def errors(ref, hyp):
    """Least number of word insertions, deletions and substitutions."""
    row = list(range(len(hyp) + 1))
    for i, r in enumerate(ref, 1):
        prev, row = row, [i]
        for j, h in enumerate(hyp, 1):
            row.append(min(prev[j] + 1, row[j - 1] + 1, prev[j - 1] + (r != h)))
    return row[-1]


def at_16k(x):
    # The model hears 16 kHz. Padding the spectrum doubles the rate exactly.
    spec = np.fft.rfft(x)
    return np.fft.irfft(np.pad(spec, (0, len(x) - len(spec) + 1)), 2 * len(x)) * 2


def main():
    where = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    with wave.open(str(where / "call.wav")) as w:
        assert (w.getnchannels(), w.getsampwidth(), w.getframerate()) == (2, 2, 8000)
        audio = np.frombuffer(w.readframes(w.getnframes()), "<i2").reshape(-1, 2) / 32768
    with open(where / "reference.tsv", encoding="utf-8") as f:
        turns = list(csv.DictReader(f, delimiter="\t"))

    model = os.path.join(str(get_assets_path()), "tiny-en")
    ears = Transcriber(model_path=model, model_arch=ModelArch.TINY)
    bad = False
    for side, who in enumerate(("agent", "caller")):
        lines = ears.transcribe_without_streaming(at_16k(audio[:, side]).tolist(), 16000).lines
        heard = " ".join(line.text for line in lines)
        said = " ".join(t["text"] for t in turns if t["speaker"] == who)
        wrong, n = errors(words(said), words(heard)), len(words(said))
        bad |= wrong / n >= LIMIT
        print(f"{who}: WER {wrong / n:.1%} ({wrong} of {n} words)\n  heard: {heard}")
    sys.exit(bad)


if __name__ == "__main__":
    main()
