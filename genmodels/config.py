"""The base Config and its knobs: type, default, range and help are written once, here and nowhere else.

The Train page, the command line, the run folder and the docs are all drawn from a Config's fields.
"""

import difflib
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo


class UserError(ValueError):
    """Something a person can mend. The message is one plain sentence: what is wrong and what to do."""


def knob(
    default: Any,
    low: float | None = None,
    high: float | None = None,
    *,
    help: str,
    unit: str = "",
    advanced: bool = False,
    log: bool = False,
) -> Any:
    """Declare one field of a Config: its default, its inclusive range [low, high], and what it is for."""
    extra: dict[str, Any] = {"unit": unit, "advanced": advanced, "log": log}
    return Field(default=default, ge=low, le=high, description=help, json_schema_extra=extra)


class Config(BaseModel):
    """Knobs that cannot change once set. Unknown names and values out of range are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Build from names and values (numbers may be text), or raise a UserError that names the first bad knob."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise UserError(cls._sentence(error)) from None

    @classmethod
    def _sentence(cls, error: ValidationError) -> str:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])[:60] if first["loc"] else "the settings"
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, cls.model_fields, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "there is: " + ", ".join(cls.model_fields) + "."
            return f"There is no knob '{name}'; {hint}"
        given, field = first["input"], cls.model_fields.get(name)
        if len(first["loc"]) == 1 and field and field.annotation in (int, float) and first["type"] != "missing":
            return f"{name} must be {_wanted(field)}, not {_said(given)}."
        return f"Knob '{name}' cannot be {_short(given)}: {first['msg'][0].lower() + first['msg'][1:]}."


def _wanted(field: FieldInfo) -> str:
    """A number between 0 and 1,000."""
    limits = {key: getattr(each, key) for each in field.metadata for key in ("ge", "le") if hasattr(each, key)}
    low, high = (_said(limits[key]) if key in limits else "" for key in ("ge", "le"))
    kind = "a whole number" if field.annotation is int else "a number"
    if low and high:
        return f"{kind} between {low} and {high}"
    return kind + (f" of at least {low}" if low else f" of at most {high}" if high else "")


def _said(value: object) -> str:
    """1,000,000,000 rather than 1000000000.0; what is no number as it was given."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
        return f"{value:,.12g}"
    return _short(value)


def _short(value: object) -> str:
    """As Python writes it, or how that begins."""
    try:
        words = repr(value)
    except ValueError:  # a whole number of thousands of digits
        words = "that"
    return words if len(words) <= 60 else f"{words[:60]}…"


class Schedule(Config):
    """How long and how a run trains, whatever its family."""

    budget: float = knob(1, 0.001, 1_000_000, help="How long to train, counted in the unit beside it.")
    unit: Literal["minutes", "epochs", "steps"] = knob(
        "minutes", help="What the budget counts: time, passes over the data, or updates."
    )
    batch_size: int = knob(128, 1, 4096, help="Images looked at before each update.", unit="images", advanced=True)
    decay: Literal["cosine", "constant"] = knob(
        "cosine", help="Cosine: the learning rate falls to zero over the budget. Constant: it stays.", advanced=True
    )
    clip_norm: float = knob(
        0, 0, 1000, help="Longest gradient allowed; longer ones are shortened. 0: no limit.", advanced=True
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = knob("auto", help="Where to compute.", advanced=True)
    precision: Literal["auto", "float32", "bfloat16"] = knob(
        "auto", help="Auto: products in bfloat16 where the processor has it, sums in float32.", advanced=True
    )
    threads: int = knob(0, 0, 256, help="Processor threads; 0: all that the machine has room for.", advanced=True)
    log_every: int = knob(
        0, 0, 1_000_000, help="Steps between two points of the curves; 0: a few a second.", unit="steps", advanced=True
    )

    def steps(self, count: int) -> int | None:
        """Updates in the budget over `count` images, or None where the budget is time."""
        if self.unit == "minutes":
            return None
        return max(1, round(self.budget * (steps_per_epoch(count, self.batch_size) if self.unit == "epochs" else 1)))


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Whole batches in one pass; a dataset smaller than a batch is one batch."""
    return max(1, count // batch_size)
