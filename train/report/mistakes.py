"""Mistakes worth looking at: the most confused pairs of classes, and the most certain errors."""

import numpy as np
from numpy.typing import NDArray

from pages.document import Section
from pages.markup import Html, fill, join, paragraph, percent
from train.report import confusion
from train.report.photos import Thumbnails
from train.report.results import Results

PAIRS, PER_PAIR, CERTAIN = 8, 3, 18


def pairs(results: Results, thumbnails: Thumbnails) -> Section | None:
    """What is taken for what, with photos of both."""
    found = confusion.pairs(results.evaluation.confusion, PAIRS)
    if not found:
        return None
    lead = "The mistakes that happen most, and what the network learned the other class from."
    parts = [paragraph(lead, "soft")]
    parts += [_pair(pair, results, thumbnails) for pair in found]
    return Section("Most confused pairs", join(parts))


def _pair(pair: confusion.Pair, results: Results, thumbnails: Thumbnails) -> Html:
    labels, answers, train = results.labels, results.answers, results.splits.train
    wrong = np.flatnonzero((answers.targets == pair.true) & (answers.predicted == pair.predicted))
    wrong = _most_certain(wrong, results, PER_PAIR)
    typical = np.flatnonzero(train.targets == pair.predicted)[:PER_PAIR]
    left = [_answer(results, int(at), thumbnails) for at in wrong]
    right = [thumbnails.figure(train, int(at), "") for at in typical]
    return fill(
        '<div class="pair"><h3>$true taken for $predicted<br><small>$photos</small></h3>'
        '<div>$left</div><div><p class="soft">$predicted, training photos</p>$right</div></div>',
        true=labels[pair.true],
        predicted=labels[pair.predicted],
        photos=f"{pair.photos:,} of {pair.of:,} photos, {percent(pair.photos / pair.of, 0)}",
        left=join([paragraph("taken wrongly", "soft"), thumbnails.row(left)]),
        right=thumbnails.row(right),
    )


def certain(results: Results, thumbnails: Thumbnails) -> Section | None:
    """The network was sure and the label says otherwise: often it is the label that is wrong."""
    answers = results.answers
    wrong = np.flatnonzero(answers.targets != answers.predicted)
    if not len(wrong):
        return None
    chosen = _most_certain(wrong, results, CERTAIN)
    lead = (
        f"Of {len(wrong):,} mistakes on {results.split} the ones the network was surest of. Look "
        "at their labels first: a wrong label looks like this, and so does a photo that shows both."
    )
    photos = [_answer(results, int(at), thumbnails, named=True) for at in chosen]
    body = join([paragraph(lead, "soft"), thumbnails.row(photos, "big")])
    return Section("Most certain mistakes", body)


def _most_certain(positions: NDArray[np.int64], results: Results, most: int) -> NDArray[np.int64]:
    return positions[np.argsort(-results.answers.probability[positions], kind="stable")[:most]]


def _answer(results: Results, at: int, thumbnails: Thumbnails, named: bool = False) -> Html:
    """The photo at place `at` of the answers; `named` with its file's name and both labels."""
    answers, labels = results.answers, results.labels
    position, index = int(answers.positions[at]), results.evaluated
    sure = percent(float(answers.probability[at]))
    if not named:
        return thumbnails.figure(index, position, f"{sure} sure")
    caption = fill(
        "$sure <b>$predicted</b><br>label <b>$true</b><br>$name",
        sure=sure,
        predicted=labels[answers.predicted[at]],
        true=labels[answers.targets[at]],
        name=index.name(position) if position >= 0 else "",
    )
    return thumbnails.figure(index, position, caption)
