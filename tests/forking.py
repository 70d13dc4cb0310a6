"""Workers forked from the process that tests: real processes, locks and signals, without the import of torch."""

import math
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import IO

import pytest
import torch

from genmodels import session, steering, worker
from genmodels.runs import Run

# With a process's first gradient torch settles whether it needs threads, and with threads it refuses to be forked.
# After an export to ONNX it would need some: so this is the first.
torch.ones((), requires_grad=True).backward()


def at_steps(patch: pytest.MonkeyPatch) -> dict[int, Callable[[Run], object]]:
    """What happens after that many updates in workers that are forked from now on, as the dictionary says when they
    are: however slow the machine, they have come neither less far nor farther. They save at their first step, when they
    are paused and at their end, and look at each step what is asked for."""
    happens: dict[int, Callable[[Run], object]] = {}
    between = steering.Helm.between

    def and_then(helm: steering.Helm, step: int, now: float) -> None:
        happens.get(step, lambda run: None)(helm.run)
        between(helm, step, now)

    patch.setattr(steering.Helm, "between", and_then)
    patch.setattr(steering, "LOOK_EVERY", 0.0)
    patch.setattr(session, "CHECKPOINT_EVERY", math.inf)
    return happens


def kill_9(run: Run) -> None:
    """The process that works on it, which is this one."""
    os.kill(os.getpid(), signal.SIGKILL)


class Forked:
    """What `jobs` asks of a subprocess.Popen. It takes what a test has patched with it."""

    def __init__(self, log: IO[bytes] | int) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._work(reading, log)
        os.close(reading)
        self.stdin = os.fdopen(writing, "wb")

    def _work(self, reading: int, log: IO[bytes] | int) -> None:
        """In the new process, which never comes back from here."""
        code = 1
        try:
            os.setsid()
            said = os.open(os.devnull, os.O_WRONLY) if log == subprocess.DEVNULL else log.fileno()  # type: ignore[union-attr]
            for stream, file in enumerate((reading, said, said)):
                os.dup2(file, stream)
            os.closerange(3, 1024)  # of what was open only these belong to a worker
            sys.stdin, sys.stdout = open(0), open(1, "w", buffering=1)  # noqa: SIM115
            sys.stderr = sys.stdout
            code = worker.main(None)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def poll(self) -> int | None:
        """None as long as it works; then it is reaped, and this is not 0 where a signal ended it."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return 0
        return status if pid else None
