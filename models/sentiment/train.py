"""Trains the head of the sentiment backend `neural`: head.json and golden.jsonl.

    pip install -r requirements.txt
    python train.py --model DIR/model.onnx --sets ../../../shared/audio/sentiment

DIR is the folder `minilm-l6-1.0.0` of `sidetone models fetch minilm-l6`.

The encoder stays as it is. A text's features are the means over its tokens of the last
layer and the two before it, and VADER's four figures; the head is one multinomial
logistic regression over them. Nothing is random: the same inputs give the same file.

Held out, never trained on, by rules that `sidetone eval sentiment --held-out` repeats:
- the whole set uci_yelp;
- of every other set, a text whose SHA-256 begins with a byte under 51 (one in five).
"""

import argparse
import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from tokenizers import BertWordPieceTokenizer
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

HERE = Path(__file__).parent
LABELS = ["negative", "neutral", "positive"]
LAYERS = ["last_hidden_state", "layer_norm_10", "layer_norm_8"]
TOKENS_MAX = 128
UNSEEN = "uci_yelp"
HELD_OUT = 51
FOLDS = 3
# Strength of regularisation: the best of 0.0003 … 0.1 by cross-validation within the
# training part.
C = 0.003


def with_layers(model: bytes) -> bytes:
    """The model with its inner layers as outputs too.

    In protobuf's encoding one message after another is their union, so what is appended
    are the fields graph (7) / output (12) / name (1) and type (2): tensor of floats.
    """

    def field(number, data):
        assert len(data) < 128
        return bytes([number << 3 | 2, len(data)]) + data

    for layer in LAYERS[1:]:
        value = field(1, layer.encode()) + field(2, field(1, bytes([1 << 3, 1])))
        model += field(7, field(12, value))
    return model


class Encoder:
    def __init__(self, model: Path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(with_layers(model.read_bytes()), options)
        self.tokenizer = BertWordPieceTokenizer(str(HERE / "vocab.txt"), lowercase=True)
        self.tokenizer.enable_truncation(TOKENS_MAX)
        self.vader = SentimentIntensityAnalyzer()

    def tokens(self, text: str) -> list[int]:
        return self.tokenizer.encode(text).ids

    def features(self, text: str) -> np.ndarray:
        ids = np.array([self.tokens(text)], dtype=np.int64)
        layers = self.session.run(
            LAYERS,
            {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)},
        )
        said = self.vader.polarity_scores(text)
        vader = [said["neg"], said["neu"], said["pos"], said["compound"]]
        return np.concatenate([layer[0].mean(axis=0) for layer in layers] + [vader])


def digest(text: str) -> bytes:
    return hashlib.sha256(text.strip().encode()).digest()


def read(folder: Path):
    for path in sorted(folder.glob("*.tsv")):
        name = path.name.split(".")[0]
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                yield name, LABELS.index(row["label"]), row["text"]


class Head:
    """Weights for the features as they are: the scaling is multiplied in."""

    def __init__(self, x, y):
        mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
        fitted = LogisticRegression(C=C, class_weight="balanced", max_iter=500).fit((x - mean) / spread, y)
        self.weights = fitted.coef_ / spread
        self.bias = fitted.intercept_ - self.weights @ mean

    def logits(self, x):
        return x @ self.weights.T + self.bias


def softmax(z):
    z = np.exp(z - z.max(axis=-1, keepdims=True))
    return z / z.sum(axis=-1, keepdims=True)


def calibration_error(p, y, bins=10):
    top, right = p.max(axis=1), p.argmax(axis=1) == y
    bin_of = np.minimum((top * bins).astype(int), bins - 1)
    return sum(abs(top[bin_of == b].mean() - right[bin_of == b].mean()) * (bin_of == b).mean() for b in set(bin_of))


def rounded(figures):
    return [float(f"{figure:.6g}") for figure in figures]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=Path, required=True)
    options.add_argument("--sets", type=Path, required=True)
    options = options.parse_args()

    encoder = Encoder(options.model)
    sets, labels, texts = zip(*read(options.sets))
    sets, y = np.array(sets), np.array(labels)
    digests = [digest(text) for text in texts]
    held = (np.array([d[0] for d in digests]) < HELD_OUT) | (sets == UNSEEN)
    x = np.stack([encoder.features(text) for text in texts])

    # The temperature, from what heads say of texts that they were not trained on.
    fold = np.array([d[1] % FOLDS for d in digests])
    outside = np.zeros((len(y), 3))
    for f in range(FOLDS):
        outside[fold == f] = Head(x[~held & (fold != f)], y[~held & (fold != f)]).logits(x[fold == f])
    loss = lambda t: -np.log(softmax(outside[~held] / t)[np.arange((~held).sum()), y[~held]]).mean()
    temperature = min(np.arange(0.5, 3.01, 0.05), key=loss)

    head = Head(x[~held], y[~held])
    head.weights, head.bias = head.weights / temperature, head.bias / temperature
    (HERE / "head.json").write_text(
        json.dumps(
            {
                "labels": LABELS,
                "layers": LAYERS,
                "tokens_max": TOKENS_MAX,
                "bias": rounded(head.bias),
                "weights": [rounded(row) for row in head.weights],
            }
        )
        + "\n"
    )

    p = softmax(head.logits(x))
    vader = np.where(x[:, -1] >= 0.05, 2, np.where(x[:, -1] <= -0.05, 0, 1))
    print(f"trained on {(~held).sum()} texts, temperature {temperature:.2f}; held out:")
    for name in sorted(set(sets)):
        rows = held & (sets == name)
        classes = sorted(set(y[rows]))
        f1 = lambda said: f1_score(y[rows], said, average="macro", labels=classes)
        print(
            f"{name:<18} {rows.sum():>5} texts  macro-F1 {f1(p[rows].argmax(axis=1)):.3f}  VADER {f1(vader[rows]):.3f}"
            f"  calibration error {calibration_error(p[rows], y[rows]):.3f}"
        )

    golden = [
        "", "  ", "no", "Thank you so much, that was wonderful help!", "I've been waiting for 45 minutes...",
        "This is terrible; I am really angry about it.", "Café au lait, naïve résumé, Ångström", "日本語 mixed in",
        "don't won't can't I'd rather not", "supercalifragilisticexpialidocious unbelievablenesses", "\t tabs\nand lines \u0000\u202e",
        "$4,111.00 (eleven) @home #tag 50% <b>&amp;</b>", "😡 bad 👍 good", "x" * 120, "my account number is four one one",
        "good " * 200,
    ]
    with (HERE / "golden.jsonl").open("w", encoding="utf-8") as file:
        for text in golden:
            said = softmax(head.logits(encoder.features(text)))
            line = {"text": text, "tokens": encoder.tokens(text), "weights": rounded(said)}
            file.write(json.dumps(line, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
