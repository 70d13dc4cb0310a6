"""How many processor threads a small model should use: found by trying, again and again while it trains.

On an idle machine two threads are up to twice as fast as one. On a busy one they can be ten times slower, because
every product waits for the thread whose processor is doing something else.
"""

import torch

TRIAL = (0.15, 6)  # seconds and steps, at least, that a count is tried for
AGAIN = (3.0, 15.0)  # seconds until the others are tried again: at first, while a page draws itself, and later
SLUMP = 0.7  # or as soon as the speed falls below this share of what it was


class ThreadChooser:
    """Call `tick` after each step. Tries one thread and `most`, keeps the faster, and looks again now and then."""

    def __init__(self, most: int) -> None:
        self.counts = sorted({1, most})
        self.rates: dict[int, float] = {}
        self.since: tuple[float, int] | None = None  # seconds and step when the running count was set
        self.settled: float | None = None
        self.trials = 0

    def tick(self, seconds: float, step: int) -> None:
        """seconds: a clock that only goes forward. step: updates made so far."""
        if len(self.counts) == 1:
            return
        if self.since is None:  # the first step pays for what is set up once; one thread is never a disaster
            self._use(1, seconds, step)
            return
        elapsed, steps = seconds - self.since[0], step - self.since[1]
        rate = steps / max(elapsed, 1e-9)
        beaten = rate < SLUMP * max(self.rates.values(), default=0.0)
        if elapsed < TRIAL[0] or (steps < TRIAL[1] and not beaten):
            return
        count = torch.get_num_threads()
        if self.settled is None:
            self.rates[count] = rate
            untried = [each for each in self.counts if each not in self.rates]
            if untried:
                self._use(untried[0], seconds, step)
            else:
                self._use(max(self.rates, key=lambda each: self.rates[each]), seconds, step)
                self.settled, self.trials = seconds, self.trials + 1
        elif rate < SLUMP * self.rates[count] or seconds - self.settled > AGAIN[self.trials > 1]:
            self.rates, self.settled = {count: rate}, None
            self._use(next(each for each in self.counts if each != count), seconds, step)
        else:
            self.since = (seconds, step)

    def _use(self, count: int, seconds: float, step: int) -> None:
        torch.set_num_threads(count)
        self.since = (seconds, step)
