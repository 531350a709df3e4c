"""The atomic writer: whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import atomic_path, inside, read_json, sweep_temporaries, write_bytes, write_json

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write_json(tmp_path / "sub" / "a.json", {"x": [1, 2.5, None]})
    assert read_json(tmp_path / "sub" / "a.json") == {"x": [1, 2.5, None]}
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a.json"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_bytes(target, b"old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_bytes(b"half of the n")
        raise ZeroDivisionError
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_full_disk_is_said_in_a_sentence(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_bytes(target, b"old")
    with pytest.raises(UserError, match=r"a\.bin could not be written .*earlier version is unharmed"):
        with atomic_path(target):
            raise OSError(28, "No space left on device")
    assert target.read_bytes() == b"old"


def test_a_kill_at_any_instant_leaves_a_whole_file(tmp_path: Path) -> None:
    code = (
        "import sys; from napari_ssl_seg.files import write_bytes\n"
        "n = 0\n"
        "while True:\n"
        "    write_bytes(sys.argv[1], bytes([n % 251]) * 4_000_000); n += 1\n"
    )
    target = tmp_path / "big.bin"
    for attempt in range(6):
        with subprocess.Popen([sys.executable, "-c", code, str(target)]) as child:
            deadline = time.monotonic() + 20
            while not target.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.013 * (attempt + 1))
            child.kill()
        data = target.read_bytes()
        assert len(data) == 4_000_000
        assert len(set(data)) == 1
    sweep_temporaries(tmp_path)
    assert os.listdir(tmp_path) == ["big.bin"]


def test_json_that_is_not_json_or_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{")
    with pytest.raises(UserError, match=r"a\.json cannot be read as JSON"):
        read_json(path)
    path.write_text("[" + "1," * 100 + "1]")
    with pytest.raises(UserError, match="more than the 10 that"):
        read_json(path, limit=10)


def test_no_path_leads_out(tmp_path: Path) -> None:
    assert inside(tmp_path, "a/b.txt") == tmp_path.resolve() / "a" / "b.txt"
    (tmp_path / "link").symlink_to("/")
    for path in ("../x", "/etc/passwd", "link/etc/passwd"):
        with pytest.raises(UserError, match="leads out of"):
            inside(tmp_path, path)
