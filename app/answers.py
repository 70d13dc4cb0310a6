"""The answers on the page Complete: each run is asked, and what it says stands beside the average and its figures."""

import html
from collections.abc import Hashable
from functools import partial
from typing import NamedTuple

import numpy as np
import streamlit as st

from app import downloads, judges, look, pictures, state, stoppable
from app.components.album import album, figure, picture
from app.downloads import File
from genmodels import completion, media
from genmodels.analysis.completion import Question
from genmodels.analysis.judge import Judge
from genmodels.completion import Answers, Completer, Findings
from genmodels.config import UserError
from genmodels.figures import COLOURS
from genmodels.runs import by_id

WAYS = {
    "denoising": "out of noise, the known part put in again and again (RePaint)",
    "posterior": "codes drawn from the posterior, given what is known",
    "translation": "a translation: one question has one answer",
}
CELL = 84  # CSS pixels of a picture, about
COVER = COLOURS[1]  # of what is hidden
FORMULA = r"""
**One question.** An orthonormal change of the channels $y = R x$ makes the hole and the lost colour the same: some
numbers $y_k$ are known, the others are not. For a hole $R = I$; for colour the first channel of $y$ is the brightness
([Song et al. 2021](https://arxiv.org/abs/2011.13456), appendix I). Every method draws from $p(x \mid y_k)$.

**Diffusion**: in each step the known part is replaced by itself with the noise of that level,
$R^\top\!\big(m \odot R(\alpha_s x + \sigma_s \varepsilon) + (1 - m) \odot R\,x_s\big)$, and each step is repeated
with fresh noise, $x_t = \tfrac{\alpha_t}{\alpha_s} x_s + \sqrt{\sigma_t^2 - (\tfrac{\alpha_t}{\alpha_s}\sigma_s)^2}\,
\varepsilon$, so that both parts come to fit
([Lugmayr et al. 2022](https://arxiv.org/abs/2201.09865), algorithm 1). It is approximate: answers differ too little.

**VAE**: codes from $p(z \mid y_k) \propto p(z)\,p(y_k \mid z)^\tau$, by a sequential Monte Carlo sampler in which
$\tau$ grows from 0 to 1 and Hamiltonian Monte Carlo moves the codes
([Del Moral et al. 2006](https://doi.org/10.1111/j.1467-9868.2006.00553.x)); an answer is the mean picture of its code.

**pix2pix** learned one question from pairs, and gives one answer ([Isola et al. 2017](https://arxiv.org/abs/1611.07004)).

**The average** $\bar x$ of answers $x_i$ has the smallest squared error of all, for
$\tfrac1n \sum_i \|x_i - t\|^2 = \|\bar x - t\|^2 + \tfrac1n \sum_i \|x_i - \bar x\|^2$ whatever the truth $t$ is.

**Likelihood ratio**: $\log p(\text{answer}) - \log p(\text{true picture})$ in nats under the model itself, by
importance sampling with 200 codes of its encoder ([Burda et al. 2016](https://arxiv.org/abs/1509.00519), Eq. 8).
"""


class Asked(NamedTuple):
    """A question about a picture, uint8 (C, H, W), and what that is. kind: one of HIDDEN."""

    image: np.ndarray
    kind: str
    question: Question
    words: str
    n: int
    seed: int

    @property
    def key(self) -> tuple[Hashable, ...]:
        return self.image.tobytes(), self.kind, self.question.visible.numpy().tobytes(), self.n, self.seed


class Told(NamedTuple):
    """What a run says. reads: the class that a fixed network reads in each answer; empty without one."""

    found: Findings
    reads: list[str]
    accepted: float | None


def answered(completer: Completer, asked: Asked) -> Answers | None:
    """The answers of a run, from memory where it was asked before; None where it was stopped."""

    def preview(found: Answers) -> None:
        drafts = (255 * found.images.clip(0, 1)).astype(np.uint8)
        album([figure([_shown(each, completer.light, "A draft")], "…") for each in drafts])

    found = stoppable.made(
        (str(completer.run.path), completer.run.stamp, *asked.key),
        lambda: completion.answers(completer, asked.question, asked.image, asked.n, asked.seed),
        lambda _, now: (now.done, f"{min(1.0, now.done):.0%} of the way"), preview,
        all_of_it=False, name=completer.run.id,
    )  # fmt: skip
    return found[-1] if found else None


def _shown(image: np.ndarray, light: bool, alt: str, hidden: np.ndarray | None = None) -> str:
    """uint8 (C, H, W) as people write, what is hidden, bool (H, W), covered."""
    seen = media.as_people_write(image, light)
    if hidden is not None:
        cover = np.array(list(bytes.fromhex(COVER[1:])), np.uint8)[:, None, None]
        seen = np.where(hidden, cover, np.broadcast_to(seen, (3, *seen.shape[1:])))
    factor = pictures.layout(seen.shape[2], CELL, pictures.WIDTH)[0]
    return picture(seen, (factor * seen.shape[2], factor * seen.shape[1]), alt)


def show_question(asked: Asked, light: bool) -> None:
    """What the models see, beside what is true."""
    hidden = None if asked.question.about_colour else asked.question.hidden.numpy()
    given = completion.unknown(asked.question, asked.image)
    album(
        [figure([_shown(given, light, "What is known, the rest covered", hidden)], "What is known"),
         figure([_shown(asked.image, light, "The true picture")], "The true picture")]
    )  # fmt: skip
    st.caption(state.plain(asked.words))


def results(chosen: list[Completer], asked: Asked) -> None:
    """The answers of each run, and what can be said of them."""
    judge = judges.reader(chosen[0].run.config.dataset, chosen[0].classes)
    found: dict[str, Told] = {}
    for completer in chosen:
        st.markdown(f"**{state.plain(look.name_of(completer.run.id))}**  \n{_how(completer)}")
        try:
            told = _told(completer, asked, judge)
        except UserError as error:
            st.error(state.plain(str(error)))
            continue
        if told:
            _album(told, completer.light)
            found[completer.run.id] = told
    if found:
        _average(list(found.values()))
        _table(found)


def _told(completer: Completer, asked: Asked, judge: Judge | None) -> Told | None:
    """None with a sentence where there is no answer."""
    if wrong := completion.cannot(completer.run, asked.kind):
        st.caption(state.plain(wrong))
        return None
    given = answered(completer, asked)
    if given is None:
        return None
    found = completion.findings(completer, asked.question, asked.image, given.images)
    reads = [judge.facts.classes[c] for c in judge.probabilities(found.images).argmax(1)] if judge else []
    return Told(found, reads, given.accepted)


def _how(completer: Completer) -> str:
    return WAYS[completer.way][0].upper() + WAYS[completer.way][1:] + "."


def _album(told: Told, light: bool) -> None:
    cells = []
    for number, image in enumerate(told.found.images):
        words = f"{number + 1}" + (f": {told.reads[number]}" if told.reads else "")
        cells.append(figure([_shown(image, light, f"Answer {words}")], html.escape(words)))
    if len(told.found.images) > 1:
        cells.append(figure([_shown(told.found.average, light, "The average of all answers")], "Average", True))
    album(cells)


def _average(all_told: list[Told]) -> None:
    st.markdown(
        "**Why the average is a blur:** where the answers differ it takes the middle of them, which is like none of "
        "them; it has the smallest squared error of all guesses, so a model that may answer only once and is judged by "
        "that error learns to give it."
    )
    many = [told.found.measured for told in all_told if len(told.found.images) > 1]
    if many:
        each, average = (np.mean([getattr(of, name) for of in many]) for name in ("error", "error_of_average"))
        st.markdown(
            f"Here: squared error per hidden pixel {each:.4f} for an answer, {average:.4f} for their average, black 0 "
            "and white 1."
        )


def _table(found: dict[str, Told]) -> None:
    """Runs in columns."""
    columns: dict[str, list[str]] = {}
    for run_id, told in found.items():
        of, ratio, single = told.found.measured, told.found.ratio, len(told.found.images) == 1
        columns[look.short(by_id(run_id))] = [
            "one answer" if of.spread is None else f"{of.spread:.1%}",
            f"{of.disagreement:.1%}",
            f"{of.error:.4f}",
            "–" if single else f"{of.error_of_average:.4f}",
            "no likelihood" if ratio is None else f"{ratio:+.1f}",
            state.plain(", ".join(told.reads)) or "–",
            "–" if told.accepted is None else f"{told.accepted:.0%}",
        ]
    rows = [
        "Two answers differ by", "Off what is known", "Squared error", "of the average", "Log-likelihood ratio",
        "Read as", "Moves accepted",
    ]  # fmt: skip
    st.table({"Figure": rows, **columns}, hide_index=True)
    downloads.button(File("CSV", "answers.csv", partial(downloads.spreadsheet, {"Figure": rows, **columns})))
    st.caption(
        "Differences are means over pixels, as a share of the full range: of two answers in the hidden part; of an "
        "answer from what is known before that is pasted in. The log-likelihood ratio is log p(answer) − log p(true "
        "picture) in nats, the mean over the answers, by importance sampling: above 0 the model finds its answers more "
        "likely than the truth. Moves: of the codes of a VAE, at the end; some 40% to 90% is well."
    )
