"""What surface features of pairs say about their labels: shares, the audit's signals, and a classifier that
sees only words and lengths."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rmr1_lite.data.label_leaks import Row, find_signals
from rmr1_lite.types import Pair

FOLDS = 5
LEAST = 50  # with fewer pairs a cross-validated classifier is meaningless
WORDS = 20_000


@dataclass
class Leans:
    """shares: name -> (share of the pairs that differ in it and have it on the better side, their number).
    classifier: its cross-validated accuracy, None for fewer than `LEAST` pairs or a single prompt."""

    pairs: int
    prompts: int
    label_a: float
    shares: dict[str, tuple[float, int]] = field(default_factory=dict)
    signals: list[str] = field(default_factory=list)
    classifier: float | None = None

    def names(self) -> list[str]:
        """Names of the values of `shown`, in the same order."""
        shares = [f"better has it: {name}" for name in self.shares]
        return [
            "pairs",
            "prompts",
            "label A",
            *shares,
            "leans and leaks of the audit",
            "words and lengths tell",
        ]

    def shown(self) -> list[str]:
        """The values for a table."""
        shares = [f"{share:.1%} of {n}" for share, n in self.shares.values()]
        told = "-" if self.classifier is None else f"{self.classifier:.1%}"
        head = [str(self.pairs), str(self.prompts), f"{self.label_a:.1%}"]
        return [*head, *shares, str(len(self.signals)), told]


def better_and_worse(pair: Pair) -> tuple[str, str]:
    """The two responses of a labelled pair."""
    return (pair.response_a, pair.response_b) if pair.label == "A" else (pair.response_b, pair.response_a)


def audit_row(pair: Pair, file: str = "", number: int = 0) -> Row:
    """The pair in the audit's form."""
    better, worse = better_and_worse(pair)
    prompt = "\n".join(turn["content"] for turn in pair.prompt)
    return Row(pair.id, file, number, better, worse, prompt, pair.label)


def leans_of(pairs: Sequence[Pair], marks: Mapping[str, re.Pattern[str]]) -> Leans:
    """All checks of labelled pairs."""
    rows = [audit_row(pair, number=number) for number, pair in enumerate(pairs, 1)]
    sides = [(row.better, row.worse) for row in rows]
    shares = {"longer": _share([len(a) - len(b) for a, b in sides])}
    for name, mark in marks.items():
        shares[name] = _share([bool(mark.search(a)) - bool(mark.search(b)) for a, b in sides])
    prompts = [row.prompt for row in rows]
    label_a = sum(pair.label == "A" for pair in pairs) / max(1, len(pairs))
    signals = [signal.text() for signal in find_signals(rows)]
    told = classifier_accuracy(pairs, prompts)
    return Leans(len(rows), len(set(prompts)), label_a, shares, signals, told)


def _share(differences: Sequence[int]) -> tuple[float, int]:
    """Share of positive values among the nonzero ones, and the number of the latter."""
    told = [difference for difference in differences if difference]
    return (sum(difference > 0 for difference in told) / len(told) if told else 0.5), len(told)


def classifier_accuracy(pairs: Sequence[Pair], prompts: Sequence[str]) -> float | None:
    """How often the classifier of words and lengths predicts the label of pairs with unseen prompts."""
    margins = word_margins(pairs, prompts)
    return None if margins is None else sum(margin > 0 for margin in margins) / len(margins)


def word_margins(pairs: Sequence[Pair], prompts: Sequence[str], salt: str = "") -> list[float] | None:
    """For every pair, how surely a linear classifier fitted on other prompts predicts its label.

    Below 0 it predicts the other one. It sees the words of A minus those of B, and their lengths. salt: of
    the folds."""
    if len(pairs) < LEAST or len(set(prompts)) < FOLDS or len({pair.label for pair in pairs}) < 2:
        return None
    import numpy as np
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    # 1. words of one side minus words of the other, and the ratio of lengths: swapped sides swap signs
    words = CountVectorizer(binary=True, min_df=2, max_features=WORDS, token_pattern=r"\w+|[^\w\s]")
    both = words.fit_transform([text for pair in pairs for text in (pair.response_a, pair.response_b)])
    lengths = np.array([[len(pair.response_a), len(pair.response_b)] for pair in pairs], dtype=float)
    ratio = np.log(lengths[:, :1] + 1) - np.log(lengths[:, 1:] + 1)
    x = hstack([both[0::2] - both[1::2], csr_matrix(np.hstack([ratio, np.sign(ratio)]))]).tocsr()
    y = np.array([pair.label == "A" for pair in pairs])
    # 2. every prompt is predicted by a classifier fitted on other prompts
    folds = np.array([_fold(salt + prompt) for prompt in prompts])
    margins = np.zeros(len(y))
    for fold in range(FOLDS):
        held = folds == fold
        if held.any() and len(set(y[~held])) == 2:
            model = LogisticRegression(C=0.05, fit_intercept=False, max_iter=300).fit(x[~held], y[~held])
            margins[held] = model.decision_function(x[held]) * np.where(y[held], 1, -1)
    return margins.tolist()


def _fold(text: str) -> int:
    return hashlib.sha256(text.encode()).digest()[0] % FOLDS


def english_letters(pair: Pair) -> float:
    """Share of ASCII letters among all letters of a pair."""
    texts = [*(turn["content"] for turn in pair.prompt), pair.response_a, pair.response_b]
    letters = [character for text in texts for character in text if character.isalpha()]
    return sum(letter.isascii() for letter in letters) / max(1, len(letters))
