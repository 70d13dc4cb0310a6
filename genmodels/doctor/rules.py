"""The rules: each looks at some numbers of a run and says what is odd and why, or what is in order."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from genmodels.analysis.balance import EARLY, RECENT, SURE, listed, missing
from genmodels.doctor.cures import Cure
from genmodels.doctor.numbers import MOST_DOUBLINGS, Numbers, level, levels, trend
from genmodels.figures import CARRIES, number

Level = Literal["serious", "notice", "hint"]  # it spoils the run; it costs something; it does no harm
LEVELS = get_args(Level)
FEW = 5  # points of a curve, below which there is no trend
CLIMBED = 0.25  # of all that the loss had fallen: so much lost again in training is no noise
# Of all that the loss has fallen, gained by as much again in budget. The runs that come with the app, trained until
# they looked good, stand below 0.02, a diffusion model after 150 steps at 0.05, a VAE after 20 steps at 0.4.
STEEP = 0.03
OVERFITTED = 0.03  # of all that the test loss had fallen, lost again while the training loss went on falling
APART = 0.1  # of all that the test loss had fallen; in the runs that come with the app it is 0.01 at most
LARGE = 0.01  # the learning rate that no family begins with by itself
NOTHING = 0.1  # of what tells images apart: the mean image and a little noise
COPIED = 0.5  # of what tells images apart: copies that lose more look like the class, not like the image
# Nats between the codes of all images together and the prior: where codes are drawn from for samples, there are e^2 = 7
# times as few of images. On MNIST a VAE of beta 1 stands at 1.1, of beta 0.25 at 3.3.
LOOSE = 2.0
# Of the sharpness of real images. A sample is the mean of what its code leaves open, so no VAE of dense layers has all:
# on MNIST it is 0.44 at beta 1 and 0.24 at beta 4.
BLURRED = 1 / 3
CHANCE = 3  # standard errors of a share beyond which it is not the luck of the images drawn
NUMBERLESS = "no longer a number"  # how `training.DivergedError` says it


class Finding(NamedTuple):
    """name: of the rule. why: what was seen, and from where on it counts, in sentences."""

    name: str
    title: str
    level: Level
    why: str
    cure: Cure | None = None


Verdict = Finding | str | None  # a finding, what was seen to be in order, or nothing to look at


def diverging(n: Numbers) -> Verdict:
    """The loss climbs, or was no number any more."""
    cure = Cure(_slower(n, 10), "Smaller steps do not jump out of the valley.") if "learning_rate" in n.knobs else None
    if n.status.state == "failed" and NUMBERLESS in (n.status.error or ""):
        why = f"{(n.status.error or '').partition(',')[0]}: its steps were too large."
        return Finding("diverging", "Diverged", "serious", why, cure)
    steps, values = n.train
    if len(steps) < FEW:
        return None
    smooth = levels(n.train)
    at, now = int(smooth.argmin()), float(smooth[-1])
    fall = float(values[0] - smooth[at])
    if now - smooth[at] <= CLIMBED * max(fall, 0.0):
        return f"the training loss does not climb: {number(now)}, {number(smooth[at])} at its lowest"
    why = (
        f"The training loss was {number(smooth[at])} at step {steps[at]:,.0f} and has climbed to {number(now)}; it "
        f"began at {number(values[0])}. Losing more than {CLIMBED:.0%} of what was gained is more than noise."
    )
    return Finding("diverging", "Diverging", "serious", why, cure)


def too_short(n: Numbers) -> Verdict:
    """Still falling when the budget was used up."""
    if n.status.state != "finished":
        return None
    budget = n.config.schedule.budget
    if len(n.points) < FEW:
        made = f"{n.status.step:,} {'update' if n.status.step == 1 else 'updates'}"
        why = f"It ended after {made}, with fewer than {FEW} points on its curve: no trend can be seen in them."
        cure = Cure({"budget": budget * 2**MOST_DOUBLINGS}, "Then its curve says how long it needs.")
        return Finding("too_short", "Too short a training", "serious", why, cure)
    if len(n.train[0]) < FEW:
        return None
    fall, gains = trend(n.train)
    if fall <= 0:
        return None  # that is worse
    if gains[0] <= STEEP * fall:
        return f"the curve is flat at the end: twice the budget would lower it by about {number(gains[0])}"
    times = next((i for i in range(1, MOST_DOUBLINGS) if gains[i] - gains[i - 1] <= STEEP * fall), MOST_DOUBLINGS)
    now = level(n.train, n.train[0][-1])
    why = (
        f"The loss was still falling steeply: going on like this, twice the budget would bring it from {number(now)} "
        f"down by about {number(gains[0])}, which is {gains[0] / fall:.0%} of all it has fallen so far. Below "
        f"{STEEP:.0%} it would count as done."
    )
    hope = f"By its slope, {2**times} times the budget may bring it to about {number(now - gains[times - 1])}."
    cure = Cure({"budget": round(budget * 2**times, 4)}, hope)
    return Finding("too_short", "Too short a training", "serious", why, cure)


def memorising(n: Numbers) -> Verdict:
    """Copies of training images among the samples, or test images that fare worse."""
    samples, losses = _copies(n), _gap(n)
    if isinstance(samples, Finding) or isinstance(losses, Finding):
        return samples if isinstance(samples, Finding) else losses
    return "; ".join(each for each in (losses, samples) if each) or None


def _gap(n: Numbers) -> Verdict:
    """The test loss rises while the training loss goes on falling, or lies far above it."""
    steps, values = n.test
    if len(steps) < FEW or n.knobs.get("resampling"):  # then the training loss is of other images, drawn for being odd
        return None
    smooth = levels(n.test)
    at, now, after = int(smooth.argmin()), float(smooth[-1]), level(n.train, steps[-1])
    fall, before = max(float(values[0] - smooth[at]), 0.0), level(n.train, steps[at])
    if now - smooth[at] > OVERFITTED * fall and after < before:
        why = (
            f"On test images the loss was lowest at step {steps[at]:,.0f}, {number(smooth[at])}, and has risen to "
            f"{number(now)}; on training images it went on falling, from {number(before)} to {number(after)}. "
            f"Losing more than {OVERFITTED:.0%} of what was gained counts."
        )
        hope = f"It ends at step {steps[at]:,.0f}, where test images fared best. More images would help more."
        cure = Cure({"budget": float(steps[at]), "unit": "steps"}, hope)
        return Finding("memorising", "Memorising", "serious", why, cure)
    if now - after > APART * fall:
        why = (
            f"On training images the loss is {number(after)}, on test images {number(now)}: they are apart by more "
            f"than {APART:.0%} of all that the latter has fallen, so part of what was learned is true of those alone."
        )
        return Finding("memorising", "Memorising", "notice", why, _smaller(n))
    beta = n.knobs.get("beta", 1)
    what = "the loss" if beta == 1 else f"the loss, with the KL times beta {beta:g},"
    return f"test images fare as well as ever: {what} is {number(now)}, on training images {number(after)}"


def _copies(n: Numbers) -> Verdict:
    """More samples that are as near to training images as copies than there would be by chance."""
    found = n.metric("memorised")
    if not found or _sharp(n) < BLURRED:  # a blur is near to everything, and a copy is as sharp as what it copies
        return None
    share, usual, of = found["value"], found.get("floor") or 0.0, found["n"]
    seen = f"{share:.1%} of {of:,} samples are nearer to a training image than 99% of these are to another"
    if share <= usual + CHANCE * (max(usual * (1 - usual), 0.25 / of) / of) ** 0.5:
        return f"{seen}, which is usual"
    why = f"{seen}; of real images it is {usual:.1%}, and this is more than chance."
    return Finding("memorising", "Memorising", "serious", why, _smaller(n))


def posterior_collapse(n: Numbers) -> Verdict:
    """No dimension says anything about the image."""
    if n.kl is None or n.young:
        return None
    active = int((n.kl > CARRIES).sum())
    if active:
        carried = f"{active} of {len(n.kl)} dimensions carry something, {number(float(n.kl.sum()), 'nats')} nats in all"
        return f"the code is not empty: {carried}"
    why = (
        f"No latent dimension carries more than {CARRIES:g} nats about the image: the fullest carries "
        f"{number(float(n.kl.max()), 'nats')}, all {len(n.kl)} together {number(float(n.kl.sum()), 'nats')}. Whatever "
        "the code, one and the same picture is drawn."
    )
    beta, cure = float(n.knobs.get("beta", 0)), None
    if beta > 1:
        why += f" With beta {beta:g} each nat in the code costs {beta:g} nats of reconstruction."
        cure = Cure({"beta": 1.0}, "With beta 1 a nat in the code costs one nat, as in the plain VAE.")
    elif beta and not n.knobs.get("beta_warm_up", 1):
        hope = "Beta grows from 0 over half of the training, so that the code is of use before it costs anything."
        cure = Cure({"beta_warm_up": max(1, n.status.step // 2)}, hope)
    elif beta:
        cure = Cure({"beta": beta / 4}, "The code costs a quarter.")
    return Finding("posterior_collapse", "Posterior collapse", "serious", why, cure)


def mean_image(n: Numbers) -> Verdict:
    """Copies that are all the same, though the code may say something."""
    if n.copied is None or n.young:
        return None
    kept = max(0.0, n.copied)
    if kept >= NOTHING:
        # Less than that is fair for a short code, and no praise.
        return f"copies keep {kept:.0%} of what tells images apart" if kept >= COPIED else None
    code = "" if n.kl is None else f", though {number(float(n.kl.sum()), 'nats')} nats are in the code"
    why = (
        f"Copies keep {kept:.0%} of what tells test images apart{code}: whatever the code, the decoder draws about the "
        f"mean of all images. Below {NOTHING:.0%} that is what one sees."
    )
    if n.knobs.get("learning_rate", 0) > LARGE:
        cure = Cure(_slower(n, 10), "Large steps at the start can silence a network for good; smaller ones do not.")
    else:
        cure = _longer(n, "What tells images apart is learned after their mean, often suddenly.", 4)
    return Finding("mean_image", "All copies alike", "serious", why, cure)


def beta_high(n: Numbers) -> Verdict:
    """Codes too dear, so that copies lose what tells images apart."""
    beta = n.knobs.get("beta")
    if beta is None or n.copied is None or "kl" not in n.losses or n.young:
        return None
    if n.copied >= COPIED or beta <= 1:
        return None  # how much they keep stands with `mean_image`
    kl = float(n.points[-1]["train"]["kl"])
    why = (
        f"Each nat in the code costs {beta:g} nats of reconstruction, so only {number(kl, 'nats')} are in it, and "
        f"copies keep {max(0.0, n.copied):.0%} of what tells test images apart; below {COPIED:.0%} they show the kind "
        "of image and not the image. Leave it where such simple codes are what you want."
    )
    return Finding(
        "beta_high", "Beta too high", "notice", why, Cure({"beta": 1.0}, "With beta 1 a nat in the code costs one nat.")
    )


def beta_low(n: Numbers) -> Verdict:
    """Good copies, and codes that are not where samples are drawn from."""
    beta, found = n.knobs.get("beta"), n.metric("aggregate_mismatch")
    if beta is None or not found:
        return None
    apart = number(found["value"], "nats")
    if found["value"] > LOOSE and beta >= 1:
        return None
    if found["value"] <= LOOSE:
        return f"codes lie about where samples are drawn from, {apart} nats off"
    copies = "S" if n.copied is None else f"Copies keep {n.copied:.0%} of what tells images apart, but s"
    why = (
        f"With beta {beta:g} the codes of all images together stray from the normal distribution that samples are "
        f"drawn from, by at least {apart} nats; above {LOOSE:g} it counts. {copies}amples come from codes that few "
        "images have."
    )
    cure = Cure({"beta": 1.0}, "With beta 1 codes and samples come from about the same place; copies lose a little.")
    return Finding("beta_low", "Beta too low", "notice", why, cure)


def unused(n: Numbers) -> Verdict:
    """More dimensions than the images need."""
    if n.kl is None or n.status.active:
        return None
    active = int((n.kl > CARRIES).sum())
    if not active or active >= len(n.kl) / 2:
        return None  # the count stands with `posterior_collapse`
    enough = max(2, round(1.25 * active))
    why = (
        f"{len(n.kl) - active} of {len(n.kl)} latent dimensions carry less than {CARRIES:g} nats, more than half. That "
        "does no harm: an unused dimension is noise that the decoder has learned to pass over."
    )
    hope = f"A code of {enough} has room for the {active} that are used, and fewer sliders to look at."
    cure = Cure({"latent_size": enough}, hope) if "latent_size" in n.knobs and enough < len(n.kl) else None
    return Finding("unused", "Unused dimensions", "hint", why, cure)


def _sharp(n: Numbers) -> float:
    """Of samples, as a share of the sharpness of real images; 1 where it was not measured."""
    found = n.metric("sharpness")
    return found["value"] / found["floor"] if found.get("floor") else 1.0


def blur(n: Numbers) -> Verdict:
    """Samples that lack the edges of real images."""
    found, share = n.metric("sharpness"), _sharp(n)
    if not found.get("floor"):
        return None
    if share >= BLURRED:
        return f"samples are {share:.0%} as sharp as real images"
    why = (
        f"Samples are {share:.0%} as sharp as real images ({number(found['value'])} against "
        f"{number(found['floor'])}); below {BLURRED:.0%} one sees it."
    )
    if gone := _gone(n).words:
        why += f" So a judge reads hardly any of them as {gone}."
    if n.knobs.get("beta", 0) > 1:
        cure = Cure(
            {"beta": 1.0}, "A smaller beta leaves more in the code, and what is in the code need not be blurred."
        )
    elif n.knobs.get("body") == "mlp":
        cure = Cure({"body": "conv"}, "Convolutions draw edges better than dense layers; each step takes longer.")
    else:
        cure = _longer(n, "Details are learned last, so longer training sharpens.")
    return Finding("blur", "Blurred samples", "notice", why, cure)


def discriminator_strong(n: Numbers) -> Verdict:
    """D tells nearly all images apart, and so teaches little."""
    told = [p["train"] for p in n.points if {"d_real", "d_fake"} <= set(p["train"])][-RECENT:]
    if len(told) < RECENT or n.points[-1]["step"] < EARLY:
        return None
    real, fake = np.array([[p["d_real"], p["d_fake"]] for p in told]).T
    seen = f"D(x) is {real.mean():.2f} and D(G(z)) {fake.mean():.2f}"
    if (real <= SURE).any() or (fake >= 1 - SURE).any():
        return f"the discriminator does not tell all images apart: {seen}"
    why = (
        f"{seen} over the last {RECENT} points: with more than {SURE} and less than {1 - SURE:.2f} nearly all images "
        "are told apart, and the slope that the generator learns from is flat."
    )
    return Finding("discriminator_strong", "Discriminator too strong", "serious", why, _fairer(n))


def mode_collapse(n: Numbers) -> Verdict:
    """Classes that are hardly ever made, by name."""
    plays, gone = "d_fake" in n.losses, _gone(n)
    if not gone.of or (gone.lost > 0 and not plays and _sharp(n) < BLURRED):  # told by `blur`
        return None
    if gone.lost <= 0:
        return f"of {gone.of:,} samples every class has its share"
    each = "it has" if gone.lost == 1 else "each has"
    why = (
        f"Of {gone.of:,} samples hardly any is read as {gone.words}: less than a tenth of the share {each} among real "
        "images."
    )
    cure = _fairer(n) if plays else _longer(n, "What is rare is learned last.")
    kind = "Mode collapse" if plays else "Missing classes"
    return Finding("mode_collapse", f"{kind}: no {gone.words}" if gone.named else kind, "serious", why, cure)


class Gone(NamedTuple):
    """How many classes are missing among so many samples (0: nobody read any), and which, where that is known."""

    lost: int = 0
    of: int = 0
    words: str = ""
    named: bool = False


def _gone(n: Numbers) -> Gone:
    """As measured at the end; before it as a judge read the samples, where the real shares are known."""
    shares, of = _shares(n)
    measured, known = n.metric("missing_classes"), n.config.classes
    if measured:
        count, of = int(measured["value"]) - int(measured.get("floor") or 0), measured["n"]
        rarest = np.argsort(shares, kind="stable")[: max(0, count)] if shares is not None else ()
        names = [known[c] for c in sorted(rarest)]
    elif n.real is not None and shares is not None and not n.young:
        names = [known[c] for c in missing(shares, n.real)]
        count = len(names)
    else:
        return Gone()
    words = listed(names) if names else f"{count} of {len(known)} classes" if count > 0 else ""
    return Gone(count, of, words, bool(names))


def _shares(n: Numbers) -> tuple[np.ndarray | None, int]:
    """Of each class among the samples as a judge reads them, (K,), and of how many samples: those measured at the end,
    else those of the last snapshot."""
    found = n.metric("class_histogram")
    if parts := found.get("parts"):
        return np.array([parts.get(name, 0.0) for name in n.config.classes]), found["n"]
    if n.counts is not None and n.counts.sum():
        return n.counts / n.counts.sum(), int(n.counts.sum())
    return None, 0


def _slower(n: Numbers, times: float) -> dict[str, Any]:
    return {"learning_rate": max(1e-6, float(f"{n.knobs['learning_rate'] / times:.3g}"))}


def _smaller(n: Numbers) -> Cure | None:
    """A network that is half as wide, where it has a width."""
    name = "width" if n.knobs.get("body", "conv") == "conv" and "width" in n.knobs else "hidden_size"
    if name not in n.knobs:
        return None
    hope = "A smaller network has less room to learn images by heart. More images would help more."
    return Cure({name: max(8, n.knobs[name] // 2)}, hope)


def _longer(n: Numbers, hope: str, times: int = 2) -> Cure:
    return Cure({"budget": times * n.config.schedule.budget}, hope)


def _fairer(n: Numbers) -> Cure | None:
    """What usually brings a game back into balance, the first that is not done yet."""
    if n.knobs.get("loss") == "minimax":
        return Cure({"loss": "non-saturating"}, "This loss has a slope also where the discriminator is sure.")
    if n.knobs.get("spectral_norm") is False:
        return Cure({"spectral_norm": True}, "A smooth discriminator has a slope everywhere, and favours variety.")
    if n.knobs.get("discriminator_steps", 1) > 1:
        return Cure({"discriminator_steps": 1}, "With as many moves as the generator it is less far ahead.")
    if "learning_rate" in n.knobs:
        return Cure(_slower(n, 2), "In smaller steps neither side outruns the other.")
    return None


RULES: tuple[Callable[[Numbers], Verdict], ...] = (
    diverging, too_short, posterior_collapse, mean_image, discriminator_strong, mode_collapse, memorising, beta_high,
    beta_low, blur, unused,
)  # fmt: skip
# What follows from what: told alone, the first is the one to cure.
_OF_CODES = ("mean_image", "beta_high", "beta_low", "blur", "mode_collapse", "unused")
EXPLAINS: dict[str, tuple[str, ...]] = {
    "diverging": ("too_short", "posterior_collapse", "discriminator_strong", "memorising", *_OF_CODES),
    "too_short": ("posterior_collapse", *_OF_CODES),
    "memorising": ("too_short",),
    "discriminator_strong": ("blur",),
    "posterior_collapse": _OF_CODES,
    "mean_image": ("blur", "mode_collapse", "unused"),
    "beta_low": ("blur", "mode_collapse"),
    "beta_high": ("mean_image", "blur", "mode_collapse", "unused"),
}
