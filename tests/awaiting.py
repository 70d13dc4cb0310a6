"""What coroutines give, wherever they are called from."""

import asyncio
import contextvars
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Value = TypeVar("Value")


def awaited(coroutine: Coroutine[Any, Any, Value]) -> Value:
    """What it returns, from a loop in a thread of its own: in this one Playwright's loop runs after a browser test."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(contextvars.copy_context().run, asyncio.run, coroutine).result()
