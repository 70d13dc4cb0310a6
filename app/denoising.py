"""What the page Denoising is made of: what is asked for, sampling that can be stopped, the film, ten tries.

The address carries `run`, `mode`, `asked` (a class), `seed`, `n`, `steps`, `sampler`, `guidance`, `level`, `start` with
`image`, `which` image is watched, and the `frame` of its film. Uploads and drawings are not in a link.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping

import numpy as np
import streamlit as st

from app import downloads, judges, look, paths, samples, start, state, stoppable
from app.charts import chart
from app.paths import Tried
from genmodels import figures
from genmodels.denoising import Denoiser, Moment, Way

TRIES, MOSTLY = 10, 9
MODES = {"noise": "From noise", "picture": "From a picture"}
MOST, MOST_STEPS = 8, 250
LEVELS = tuple(tenth / 10 for tenth in range(1, 11))
ASKED = "denoising-lost"
FORMULA = r"""
**Noise.** At level $t$ of the way to noise, a picture $x_0$, with pixels from $-1$ to $1$, has become
$x_t = \alpha_t x_0 + \sigma_t \varepsilon$ with $\varepsilon \sim \mathcal N(0, I)$. The network learned to say which
noise $\varepsilon$ is in $x_t$, and the image that is expected follows:
$\hat x_0 = (x_t - \sigma_t \hat\varepsilon) / \alpha_t$, cut off at $-1$ and $1$
([Ho et al. 2020](https://arxiv.org/abs/2006.11239), Eq. 4 and 15).

**A step** from $t$ to $s$ goes to $x_s = \alpha_s \hat x_0 + \sqrt{\sigma_s^2 - v^2}\,\hat\varepsilon + v z$ with fresh
noise $z \sim \mathcal N(0, I)$. DDIM adds none, $v = 0$: one noise always gives one image. DDPM adds
$v^2 = \frac{\sigma_s^2}{\sigma_t^2}\big(1 - \frac{\alpha_t^2}{\alpha_s^2}\big)$
([Song et al. 2021](https://arxiv.org/abs/2010.02502), Eq. 12 and 16). A model of flow matching has
$\alpha_t = 1 - t$ and $\sigma_t = t$, a straight line, on which DDIM is Euler's method
([Lipman et al. 2023](https://arxiv.org/abs/2210.02747)).

**Guidance** $w$ goes beyond what the class changes:
$\hat\varepsilon = \hat\varepsilon_\text{none} + w\,(\hat\varepsilon_\text{class} - \hat\varepsilon_\text{none})$. With
$w = 1$ the class is asked for plainly, with $w = 0$ not at all; above 1 images are more typical of their class, and
there is less variety ([Ho and Salimans 2022](https://arxiv.org/abs/2207.12598), Eq. 6, whose $w$ is one less).

**There and back.** A picture noised to level $t$ and denoised again keeps what the noise has not drowned: the coarse
rather than the fine ([Meng et al. 2022](https://arxiv.org/abs/2108.01073)).
"""


def offer() -> None:
    """No run denoises yet: one click trains one."""
    st.info("No trained run denoises yet. A few minutes are enough for a small one, which makes digits out of noise.")
    if st.button("Train a diffusion model on digits", type="primary", icon=":material/model_training:"):
        look.train_small("diffusion", "digits", minutes=3)


def choose_mode() -> str:
    return start.choice("mode", "Mode", MODES, "noise", label_visibility="collapsed")


def form(denoiser: Denoiser, first: Callable[[], float]) -> tuple[float, Way]:
    """What is asked first, and how it is denoised; all of it in the address."""
    offered, label, guidance = denoiser.model.SAMPLERS, None, 1.0
    with st.container(horizontal=True, vertical_alignment="bottom"):
        number = first()
        if denoiser.conditional:
            label = _asked(denoiser)
            guidance = _slider(
                "guidance", "Guidance", (0.0, 10.0, 0.5), 2.0, disabled=label is None,
                help="How much more than plainly the class is asked for. It needs a class.",
            )  # fmt: skip
        steps = int(_slider("steps", "Steps", (1, MOST_STEPS, 1), 50, help="From noise alone; a part takes its share."))
        sampler = offered[0]
        if len(offered) > 1:
            names = {each: each.upper() for each in offered}
            sampler = start.choice("sampler", "Sampler", names, sampler, help="DDPM adds fresh noise in each step.")
        seed = samples.seed_form()
    return number, Way(steps, sampler, 1.0 if label is None else guidance, label, seed)


def _asked(denoiser: Denoiser) -> int | None:
    """The class that is asked for."""
    names, none = denoiser.classes, -1
    chosen = start.whole("asked", len(names) - 1, none)
    st.session_state["denoising-asked"] = chosen

    def told() -> None:
        start.forget("asked")
        if (now := st.session_state["denoising-asked"]) != none:
            st.query_params["asked"] = str(now)

    st.selectbox(
        "Ask for", range(none, len(names)), key="denoising-asked", on_change=told, width=200,
        format_func=lambda each: "No class in particular" if each == none else names[each],
        help="What the model is asked for at each step.",
    )  # fmt: skip
    return None if chosen == none else chosen


def _slider(
    name: str, title: str, bounds: tuple[float, float, float], usual: float, *, disabled: bool = False, help: str = ""
) -> float:
    """A slider from the lowest to the highest in steps, in the address. What a link asks for beyond it is said."""
    low, high, step = bounds
    text, widget = st.query_params.get(name), f"denoising-{name}"
    try:
        value = usual if text is None else type(usual)(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:  # nor is a NaN
        st.warning(
            f"The link asks for {title.lower()} {state.plain(str(text)[:20])}; it goes from {low:g} to {high:g}."
        )
        value = usual
    st.session_state[widget] = value

    def told() -> None:
        st.query_params[name] = f"{st.session_state[widget]:g}"

    return st.slider(
        title, low, high, step=step, key=widget, on_change=told, disabled=disabled, help=help or None, width=180
    )


def sampled(
    denoiser: Denoiser, key: tuple[Hashable, ...], path: Callable[[], Iterator[Moment]], total: int
) -> list[Moment] | None:
    """All moments of a path of so many steps; None where it was stopped."""
    return stoppable.made(
        _key(denoiser, key), path, lambda number, _: _told(number, total),
        lambda moment: _preview(moment, denoiser.light),
    )  # fmt: skip


def _told(number: int, total: int) -> tuple[float, str]:
    return number / total, f"step {number} of {total}"


def _key(denoiser: Denoiser, of: tuple[Hashable, ...]) -> Hashable:
    """What is asked of the run as it is now."""
    return str(denoiser.run.path), denoiser.run.stamp, *of


def _preview(moment: Moment, light: bool) -> None:
    """Where it is now: each x_t beside what is expected of it."""
    paths.pairs(moment.noisy, moment.predicted, light, [str(number + 1) for number in range(len(moment.noisy))])


def from_noise(denoiser: Denoiser) -> None:
    """New images, and how they came out of noise."""
    number, way = form(denoiser, lambda: st.number_input("Images", 1, MOST, 4, key="n", bind="query-params", width=110))
    n = int(number)
    moments = sampled(denoiser, (n, way), lambda: denoiser.from_noise(n, way), way.steps)
    if moments is None:
        return
    judge = judges.reader(denoiser.run.config.dataset, denoiser.classes)
    tried = Tried(denoiser, moments, judge, way.label, f"{denoiser.run.id}-{way.seed}")
    with downloads.keeping("denoising", f"results-{tried.name}"):
        paths.results(tried, [])
    st.caption("In each pair: the noise, and the image that came out of it, with the class that it is read as.")
    _kept(tried, {way.label: "the class that was asked for"})
    paths.watch(tried)


def from_picture(denoiser: Denoiser) -> None:
    """A picture noised, and what it comes back as."""
    given = start.picture(denoiser, "denoising-pad", "Draw something: after each stroke it is noised anew.")
    if given is None:
        return
    image, label, words = given
    level, way = form(denoiser, _how_far)
    path, steps = lambda: denoiser.from_picture(image, level, TRIES, way), way.steps_from(level)
    moments = sampled(denoiser, (image.tobytes(), level, way), path, steps)
    if moments is None:
        return
    judge = judges.reader(denoiser.run.config.dataset, denoiser.classes)
    if label is None and judge:
        label = int(judge.probabilities(image[None])[0].argmax())
        words += f" It is read as {denoiser.classes[label]}."
    tried = Tried(denoiser, moments, judge, label, f"{denoiser.run.id}-{level:g}")
    with downloads.keeping("denoising", f"results-{tried.name}"):
        paths.results(tried, [image])
    st.caption(state.plain(f"{words} In each pair: the picture noised to level {level:g}, and what it came back as."))
    _kept(tried, {way.label: "the class that was asked for", label: "the class of the picture"})
    paths.watch(tried)
    lost(tried, image, way)


def _how_far() -> float:
    return _slider("level", "How far", (0.05, 1.0, 0.05), 0.5, help="The level of noise: at 1 nothing else is left.")


def _kept(tried: Tried, classes: Mapping[int | None, str]) -> None:
    """How many are read as each of these classes, and who reads. classes: with what they are, None for no class."""
    reads, judge = tried.read, tried.judge
    if reads is None or judge is None:
        return
    told: list[str] = []
    for label, what in classes.items():
        if label is not None:
            count, name = int((reads == label).sum()), state.plain(tried.denoiser.classes[label])
            read = "" if told else "is read " if count == 1 else "are read "
            told.append(f"**{count} of {len(reads)}** {read}as {name}, {what}")
    if told:
        st.markdown(
            f"{', and '.join(told)}. They are read by a fixed network that reads {judge.facts.accuracy:.1%} of "
            f"{judge.facts.n:,} test images as their class."
        )


def lost(tried: Tried, image: np.ndarray, way: Way) -> None:
    """How many tries keep the class from each level, once that is asked for."""
    denoiser, judge, label = tried.denoiser, tried.judge, tried.label
    if judge is None or label is None:
        return
    st.header("Where the class is lost")
    st.write(f"Ten tries from each of {len(LEVELS)} levels of noise: how many keep the class?")
    key = _key(denoiser, (image.tobytes(), LEVELS, way))
    if not stoppable.memory(key) and st.session_state.get(ASKED) != key:
        st.button(
            "Try all levels", icon=":material/query_stats:", on_click=st.session_state.update, args=({ASKED: key},)
        )
        return
    total = sum(way.steps_from(level) + 1 for level in LEVELS) - 1

    def path() -> Iterator[tuple[list[np.ndarray], Moment]]:
        """What came back so far, and where it is now: of all the moments there may be far too many to keep."""
        back: list[np.ndarray] = []
        for moment in denoiser.from_levels(image, LEVELS, TRIES, way):
            if moment.level == 0:
                back.append(moment.predicted)
            yield back, moment

    found = stoppable.made(
        key, path, lambda number, _: _told(number, total), lambda now: _preview(now[1], denoiser.light),
        all_of_it=False, name="all",
    )  # fmt: skip
    if found:
        read = judge.probabilities(np.concatenate(found[-1][0])).argmax(1)
        _kept_curve((read == label).reshape(len(LEVELS), TRIES).sum(1), 1 / len(denoiser.classes))


def _kept_curve(kept: np.ndarray, chance: float) -> None:
    """kept: how many tries keep the class from each of LEVELS. chance: the share that would have it by chance."""
    lines = {"kept": (np.array(LEVELS), kept / TRIES)}
    drawn = figures.without_legend(figures.live_curves(lines, x_title="level of noise", height=200, level=chance))
    safe = int(np.append(kept < MOSTLY, True).argmax())  # levels before the first at which fewer keep it
    told = f"At least {MOSTLY} of {TRIES} keep it up to level {LEVELS[safe - 1]:g}." if safe else ""
    if safe < len(LEVELS):
        told += f" At level {LEVELS[safe]:g} it is {kept[safe]}, and from noise alone {kept[-1]}."
    what = f"**Kept**, share of {TRIES} tries over the level of noise; dashed: by chance"
    chart(drawn, told.strip(), key="denoising-kept", heading=what)
