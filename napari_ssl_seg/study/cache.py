"""Scans kept in memory for as long as they fit."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Value = TypeVar("Value")
GIBIBYTE = 2**30


class ByteCache(Generic[Value]):
    """The values used last, up to a number of bytes; safe to use from several threads.

    Two threads that ask for the same missing value wait for one another instead of both making it; threads that ask for
    different values do not wait.
    """

    def __init__(self, limit: int, size: Callable[[Value], int]) -> None:
        self.limit, self._size = limit, size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()
        self.nbytes = 0
        """Bytes held now, never above ``limit``."""

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of ``key``, made if it is not there; one larger than the limit is made but not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._values:  # another thread made it meanwhile
                    self._values.move_to_end(key)
                    return self._values[key]
            try:
                value = make()
                self._keep(key, value)
            finally:
                with self._lock:
                    self._making.pop(key, None)
            return value

    def _keep(self, key: Hashable, value: Value) -> None:
        size = self._size(value)
        with self._lock:
            if size > self.limit or key in self._values:
                return
            self._values[key] = value
            self.nbytes += size
            while self.nbytes > self.limit:
                _, oldest = self._values.popitem(last=False)
                self.nbytes -= self._size(oldest)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
            self.nbytes = 0


def default_limit() -> int:
    """A quarter of the memory that is free now, between 256 MiB and 16 GiB."""
    import psutil

    return int(min(max(psutil.virtual_memory().available / 4, GIBIBYTE / 4), 16 * GIBIBYTE))
