from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_ssl_seg.study.cache import ByteCache


def test_least_recently_used_goes_first():
    cache = ByteCache[str](10, len)
    for key in ("aaaa", "bbbb"):
        cache.get(key, lambda key=key: key)
    cache.get("aaaa", pytest.fail)
    cache.get("cccc", lambda: "cccc")
    made = []
    cache.get("aaaa", pytest.fail)
    cache.get("bbbb", lambda: made.append(1) or "bbbb")
    assert made == [1] and cache.nbytes == 8


def test_larger_than_the_limit_is_not_kept():
    cache = ByteCache[str](3, len)
    assert cache.get("k", lambda: "long text") == "long text"
    assert cache.nbytes == 0 and cache.get("k", lambda: "abc") == "abc" and cache.nbytes == 3
    cache.clear()
    assert cache.nbytes == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9))), st.integers(0, 20))
def test_never_above_the_limit(asked, limit):
    cache = ByteCache[bytes](limit, len)
    for key, size in asked:
        cache.get((key, size), lambda size=size: bytes(size))
        assert 0 <= cache.nbytes <= limit


def test_made_once_however_many_ask():
    cache, calls = ByteCache[str](100, len), []

    def make() -> str:
        calls.append(threading.get_ident())
        time.sleep(0.05)
        return "value"

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: cache.get("key", make), range(8))) == {"value"}
    assert len(calls) == 1


def test_a_failure_is_not_remembered():
    cache = ByteCache[str](100, len)

    def fail() -> str:
        raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        cache.get("key", fail)
    assert cache.get("key", lambda: "value") == "value"
