"""Trains the sentiment backend `neural`: head.json, tuned.f32 and golden.jsonl.

    pip install -r requirements.txt
    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2 && tar xzf vaderSentiment-3.3.2.tar.gz
    tar xzf vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz
    python train.py --model DIR/model.onnx --sets ../../../shared/audio/sentiment --more hutto_ICWSM_2014

DIR is the folder `minilm-l6-1.0.0` of `sidetone models fetch minilm-l6`.

Of the encoder only the biases and the normalisations' scales and shifts are trained (Ben Zaken
et al. 2022, "BitFit"), first on rated texts of another kind (Phang et al. 2018, "Sentence
encoders on STILTs"), then on the labelled sets. Its matrices stay as the file has them, so
that what was trained is small. A text's features are the mean over its tokens of the last
layer, and VADER's four figures; the head is linear, and starts as the logistic regression
over what the encoder gives at that time (Kumar et al. 2022, on why). Beside the classes it
learns the raters' mean where there is one, and its label is as sure as that mean is far from
the next.

Held out, never trained on, by rules that `sidetone eval sentiment --held-out` repeats:
- the whole set uci_yelp;
- of every other set, a text whose SHA-256 begins with a byte under 51 (one in five).
"""

import argparse
import csv
import hashlib
import json
import math
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from tokenizers import BertWordPieceTokenizer
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

HERE = Path(__file__).parent
LABELS = ["negative", "neutral", "positive"]
TOKENS_MAX = 128
UNSEEN = "uci_yelp"
HELD_OUT = 51
FOLDS = 3
# All of these were chosen by cross-validation within the training part.
C = 0.003  # of the regression that the head starts as
BATCH = 32
SURE = 0.3  # how far the raters' mean may be from everybody's, as a standard deviation
RATED = 0.5  # weight of the error in the raters' mean
PLAIN = 0.25  # share of the texts that are shown as a transcriber would write them
DROP = 25 / 256
AVERAGED = 0.99  # what is kept is the weights' running mean
FIRST = {"epochs": 2, "rate": 2e-3, "head_rate": 1e-3}
THEN = {"epochs": 4, "rate": 2e-3, "head_rate": 3e-4}

TOKENIZER = BertWordPieceTokenizer(str(HERE / "vocab.txt"), lowercase=True)
TOKENIZER.enable_truncation(TOKENS_MAX)
VADER = SentimentIntensityAnalyzer()


def tokens(text):
    return TOKENIZER.encode(text).ids


def lexicon(text):
    said = VADER.polarity_scores(text)
    return [said["neg"], said["neu"], said["pos"], said["compound"]]


def plain(text):
    """Words without case or punctuation, or the text where it has none."""
    return " ".join(re.sub(r"[^\w\s']", " ", text.lower()).split()) or text


class Encoder:
    """The network of the file in PyTorch: matrices as they are, and what is tuned of it."""

    def __init__(self, model):
        values = {value.name: onnx.numpy_helper.to_array(value) for value in model.graph.initializer}
        # A matrix is bytes times a scale for each of its columns.
        whole = lambda name: torch.tensor(values[name + "_q"].astype(np.float32) * values[name + "_scale"])
        self.words, self.places = (whole(f"inner.embeddings.{kind}_embeddings.weight") for kind in ("word", "position"))
        names = [name[:-2] for name in values if name.startswith("val_") and name.endswith("_q")]
        # Half the precision is twice as quick, and less is lost than was by the bytes.
        self.matrices = [whole(name).T.contiguous().bfloat16() for name in names]
        self.tuned = {
            name: torch.tensor(value, requires_grad=True)
            for name, value in values.items()
            if name.startswith("inner.") and value.dtype == np.float32 and not name.endswith("_scale")
        }

    def means(self, batch, drop=0.0):
        """The mean of the last layer over each text's tokens."""
        longest = max(map(len, batch))
        ids = torch.tensor([text + [0] * (longest - len(text)) for text in batch])
        there = torch.tensor([[1.0] * len(text) + [0.0] * (longest - len(text)) for text in batch])
        tuned = {name: value.bfloat16() for name, value in self.tuned.items()}
        matrix = iter(self.matrices)
        linear = lambda x, name: F.linear(x, next(matrix), tuned[name + ".bias"])
        norm = lambda x, name: F.layer_norm(x, x.shape[-1:], tuned[name + ".weight"], tuned[name + ".bias"], 1e-12)

        def dropped(x):
            if not drop:
                return x
            # By bytes: PyTorch's own draws take a sixth of the whole training.
            kept = torch.randint(0, 256, x.shape, dtype=torch.uint8) >= round(drop * 256)
            return x * (kept.to(x.dtype) / (1 - drop))

        kind = self.tuned["inner.embeddings.token_type_embeddings.weight"][0]
        x = (self.words[ids] + kind + self.places[:longest]).bfloat16()
        x = dropped(norm(x, "inner.embeddings.LayerNorm"))
        absent = ((there - 1) * 1e4)[:, None, None, :].bfloat16()
        heads = lambda x: x.view(len(batch), longest, 12, 32).transpose(1, 2)
        for layer in range(6):
            at = f"inner.encoder.layer.{layer}."
            query, key, value = (heads(linear(x, f"{at}attention.self.{part}")) for part in ("query", "key", "value"))
            looks = dropped(torch.softmax(query @ key.transpose(2, 3) / math.sqrt(32) + absent, -1))
            seen = (looks @ value).transpose(1, 2).flatten(2)
            seen = dropped(linear(seen, at + "attention.output.dense"))
            x = norm(x + seen, at + "attention.output.LayerNorm")
            inner = F.gelu(linear(x, at + "intermediate.dense"))
            x = norm(x + dropped(linear(inner, at + "output.dense")), at + "output.LayerNorm")
        return (x.float() * there[..., None]).sum(1) / there.sum(1, keepdim=True)


class Texts:
    """Labels are places in LABELS; a score is the raters' mean, or not a number."""

    def __init__(self, texts, labels, scores):
        self.labels, self.scores = np.array(labels), torch.tensor(scores, dtype=torch.float32)
        # A mean near where two labels meet might have been on the other side.
        below, above = (torch.special.ndtr((side * self.scores - 0.5) / SURE) for side in (-1, 1))
        soft = torch.stack([below, 1 - below - above, above], 1)
        hard = torch.eye(3)[self.labels]
        self.classes = torch.where(self.scores.isnan()[:, None], hard, soft)
        # As they were written, and as a transcriber would write them.
        self.tokens = [[tokens(text) for text in texts], [tokens(plain(text)) for text in texts]]
        self.lexicon = [torch.tensor([lexicon(way(text)) for text in texts]) for way in (str, plain)]


def features(encoder, texts, rows):
    rows = sorted(rows, key=lambda row: len(texts.tokens[0][row]))
    found = {}
    with torch.no_grad():
        for at in range(0, len(rows), 2 * BATCH):
            batch = rows[at : at + 2 * BATCH]
            found.update(zip(batch, encoder.means([texts.tokens[0][row] for row in batch])))
    rows = sorted(rows)
    return torch.cat([torch.stack([found[row] for row in rows]), texts.lexicon[0][rows]], 1)


class Head:
    """Logits of the classes, and the raters' mean."""

    def __init__(self, x, labels):
        self.mean, self.spread = x.mean(0), x.std(0) + 1e-6
        start = LogisticRegression(C=C, class_weight="balanced", max_iter=300)
        start.fit(((x - self.mean) / self.spread).numpy(), labels)
        weights, bias = torch.zeros(4, x.shape[1]), torch.zeros(4)
        weights[:3], bias[:3] = torch.tensor(start.coef_), torch.tensor(start.intercept_)
        self.trained = [weights.requires_grad_(), bias.requires_grad_()]

    def __call__(self, x, drop=0.0):
        return F.linear(F.dropout((x - self.mean) / self.spread, drop), *self.trained)

    def folded(self):
        """Weights for the features as they are: the scaling is multiplied in."""
        weights = self.trained[0].detach()[:3] / self.spread
        return weights, self.trained[1].detach()[:3] - weights @ self.mean


def tune(encoder, texts, rows, seed, epochs, rate, head_rate):
    """Tunes `encoder` on the rows, and gives the head that goes with it."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    start = np.sort(random.permutation(rows)[:4000])
    head = Head(features(encoder, texts, start), texts.labels[start])
    # The mean of a class's figures counts, not how many texts it has.
    counts = np.bincount(texts.labels[rows], minlength=3)
    class_weights = torch.tensor(len(rows) / 3 / counts, dtype=torch.float32)
    tuned = list(encoder.tuned.values())
    groups = [{"params": tuned, "lr": rate, "weight_decay": 0.0}, {"params": head.trained, "lr": head_rate}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    trained = tuned + head.trained
    average = [value.detach().clone() for value in trained]
    step, steps = 0, epochs * math.ceil(len(rows) / BATCH)
    for _ in range(epochs):
        # Texts of like length go together, in an order that chance makes.
        rows, batches = random.permutation(rows), []
        for at in range(0, len(rows), 16 * BATCH):
            near = sorted(rows[at : at + 16 * BATCH], key=lambda row: len(texts.tokens[0][row]))
            batches += [near[at : at + BATCH] for at in range(0, len(near), BATCH)]
        for batch in (batches[n] for n in random.permutation(len(batches))):
            ways = (random.random(len(batch)) < PLAIN).astype(int)
            means = encoder.means([texts.tokens[way][row] for way, row in zip(ways, batch)], DROP)
            said = torch.stack([texts.lexicon[way][row] for way, row in zip(ways, batch)])
            given = head(torch.cat([means, said], 1), 0.1)
            classes = texts.classes[batch]
            weights = classes @ class_weights
            loss = F.cross_entropy(given[:, :3], classes, reduction="none") @ weights / weights.sum()
            scores = texts.scores[batch]
            rated = ~scores.isnan()
            if rated.any():
                loss = loss + RATED * F.smooth_l1_loss(given[rated, 3], scores[rated])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            step += 1
            slowed = min(1, 2 * step * epochs / steps) * max(0.02, 1 - step / steps)
            for group, full in zip(optimizer.param_groups, (rate, head_rate)):
                group["lr"] = full * slowed
            optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(average, trained, 1 - min(AVERAGED, step / (step + 10)))
    with torch.no_grad():
        torch._foreach_copy_(trained, average)
    return head


def read_sets(folder):
    for path in sorted(folder.glob("*.tsv")):
        name = path.name.split(".")[0]
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                # The scores of the uci sets are their labels.
                score = float(row["score"]) if name.startswith("vader") else math.nan
                yield name, row["text"], LABELS.index(row["label"]), score


def read_more(folder, known):
    """Film reviews and editorials, labelled as the sets are; none that a set has."""
    for kind in ("movieReviewSnippets", "nytEditorialSnippets"):
        for line in (folder / f"{kind}_GroundTruth.txt").read_text(encoding="utf-8", errors="replace").split("\n"):
            _, score, text = (line.rstrip("\r").split("\t") + ["", ""])[:3]
            if text and text.strip() not in known:
                score = float(score)
                yield text, 0 if score <= -0.5 else 2 if score >= 0.5 else 1, score


def digest(text):
    return hashlib.sha256(text.strip().encode()).digest()


def softmax(z):
    z = np.exp(z - z.max(axis=-1, keepdims=True))
    return z / z.sum(axis=-1, keepdims=True)


def calibration_error(p, y, bins=10):
    top, right = p.max(axis=1), p.argmax(axis=1) == y
    bin_of = np.minimum((top * bins).astype(int), bins - 1)
    return sum(abs(top[bin_of == b].mean() - right[bin_of == b].mean()) * (bin_of == b).mean() for b in set(bin_of))


def report(sets, rows, y, p, vader):
    for name in sorted(set(sets[rows])):
        mine = rows & (sets == name)
        classes = sorted(set(y[mine]))
        f1 = lambda said: f1_score(y[mine], said, average="macro", labels=classes)
        print(
            f"  {name:<18} {mine.sum():>5} texts  macro-F1 {f1(p[mine].argmax(axis=1)):.3f}  VADER {f1(vader[mine]):.3f}"
            f"  calibration error {calibration_error(p[mine], y[mine]):.3f}",
            flush=True,
        )


def rounded(figures):
    return [float(f"{figure:.6g}") for figure in figures]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=Path, required=True)
    options.add_argument("--sets", type=Path, required=True)
    options.add_argument("--more", type=Path, required=True)
    options = options.parse_args()
    # The order of sums, and so their last digits, depends on the number of threads.
    torch.set_num_threads(1)

    sets, words, labels, scores = zip(*read_sets(options.sets))
    texts = Texts(words, labels, scores)
    sets, y, digests = np.array(sets), texts.labels, [digest(text) for text in words]
    held = (np.array([d[0] for d in digests]) < HELD_OUT) | (sets == UNSEEN)
    fold = np.array([d[1] % FOLDS for d in digests])
    compound = texts.lexicon[0][:, 3].numpy()
    vader = np.where(compound >= 0.05, 2, np.where(compound <= -0.05, 0, 1))

    model = onnx.load(options.model)
    encoder = Encoder(model)
    more = Texts(*zip(*read_more(options.more, {text.strip() for text in words})))
    tune(encoder, more, np.arange(len(more.labels)), 0, **FIRST)
    first = {name: value.detach().clone() for name, value in encoder.tuned.items()}
    print(f"tuned on {len(more.labels)} texts of another kind", flush=True)

    def tuned_on(rows, seed):
        with torch.no_grad():
            for name, value in encoder.tuned.items():
                value.copy_(first[name])
        return tune(encoder, texts, np.flatnonzero(rows), seed, **THEN).folded()

    # The temperature, from what is said of texts by those that were not trained on them.
    outside = np.zeros((len(y), 3))
    for f in range(FOLDS):
        weights, bias = tuned_on(~held & (fold != f), f)
        rows = np.flatnonzero(~held & (fold == f))
        outside[rows] = (features(encoder, texts, rows) @ weights.T + bias).numpy()
    loss = lambda t: -np.log(softmax(outside[~held] / t)[np.arange((~held).sum()), y[~held]]).mean()
    temperature = min(np.arange(0.5, 3.01, 0.05), key=loss)
    print("cross-validation within the training part:")
    report(sets, ~held, y, softmax(outside / temperature), vader)

    weights, bias = (figures.double().numpy() / temperature for figures in tuned_on(~held, FOLDS))
    tuned = {name: value.detach().numpy() for name, value in encoder.tuned.items()}
    (HERE / "tuned.f32").write_bytes(b"".join(value.astype("<f4").tobytes() for value in tuned.values()))
    (HERE / "head.json").write_text(
        json.dumps(
            {
                "labels": LABELS,
                "tokens_max": TOKENS_MAX,
                "bias": rounded(bias),
                "weights": [rounded(row) for row in weights],
                "tuned": [[name, value.size] for name, value in tuned.items()],
            }
        )
        + "\n"
    )

    # From here on it is what runs: the file's own network with what was tuned, in ONNX Runtime.
    for value in model.graph.initializer:
        if value.name in tuned:
            value.raw_data = tuned[value.name].astype("<f4").tobytes()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def weigh(text):
        ids = np.array([tokens(text)], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        (layer,) = session.run(["last_hidden_state"], given)
        return softmax(weights @ np.concatenate([layer[0].mean(axis=0), lexicon(text)]) + bias)

    print(f"trained on {(~held).sum()} texts, temperature {temperature:.2f}; held out:")
    p = np.stack([weigh(text) if out else np.zeros(3) for text, out in zip(words, held)])
    report(sets, held, y, p, vader)

    golden = [
        "", "  ", "no", "Thank you so much, that was wonderful help!", "I've been waiting for 45 minutes...",
        "This is terrible; I am really angry about it.", "Café au lait, naïve résumé, Ångström", "日本語 mixed in",
        "don't won't can't I'd rather not", "supercalifragilisticexpialidocious unbelievablenesses", "\t tabs\nand lines \u0000\u202e",
        "$4,111.00 (eleven) @home #tag 50% <b>&amp;</b>", "😡 bad 👍 good", "x" * 120, "my account number is four one one",
        "good " * 200,
    ]
    with (HERE / "golden.jsonl").open("w", encoding="utf-8") as file:
        for text in golden:
            line = {"text": text, "tokens": tokens(text), "weights": rounded(weigh(text))}
            file.write(json.dumps(line, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
