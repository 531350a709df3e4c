"""Bytes from an https address into a file, going on where an earlier attempt stopped.

``FILE.part`` holds what has arrived, ``FILE.part.json`` from where and which version (ETag or date), so that the rest is
only asked for if the server still has the same thing (If-Range, RFC 9110 section 13.1.5).
"""

from __future__ import annotations

import errno
import http.client
import ssl
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import read_json, write_json
from napari_ssl_seg.sample._pace import Pace

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_ssl_seg.training.events import Event

_CHUNK = 256 * 1024
_TIMEOUT = 30.0
_ATTEMPTS = 5
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_BROKEN = (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException)


def check_address(url: str) -> None:
    """Refuse anything but https (plain http only to this machine itself)."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return
    raise UserError(f"{url} is not an https address; only those are downloaded from")


def transfer(url: str, part: Path, *, limit: int, what: str, wait: float = 1.0) -> Generator[Event, None, None]:
    """Bring the whole of ``url`` into ``part``; closing the generator keeps what has arrived.

    Parameters
    ----------
    limit : int
        Most bytes that are accepted.
    what : str
        Named in the progress events.
    wait : float
        Seconds before the first new attempt after a broken connection; doubled each time.

    Raises
    ------
    UserError
        No network, refused by the server, too large, disk full.
    """
    check_address(url)
    for attempt in range(_ATTEMPTS):
        before = _size(part)
        try:
            yield from _attempt(url, part, limit, what)
            return
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == _ATTEMPTS - 1:
                raise UserError(f"{url} was refused by its server ({error.code} {error.reason}); try later") from error
        except (*_BROKEN, urllib.error.URLError) as error:
            progressed = _size(part) > before
            if attempt == _ATTEMPTS - 1 or not (progressed or attempt == 0):
                raise UserError(
                    f"{url} cannot be reached ({_reason(error)}); check the network and start again, it goes on from"
                    f" {_size(part) / 1e6:.1f} MB"
                ) from error
        time.sleep(wait * 2**attempt)


def _attempt(url: str, part: Path, limit: int, what: str) -> Generator[Event, None, None]:
    notes = part.with_name(part.name + ".json")
    known = _notes(notes, url)
    have = _size(part) if known else 0
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "napari-ssl-seg"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", known["version"])
    try:
        reply = urllib.request.build_opener(_SafeRedirects).open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have and known.get("total") == have:
            return  # everything had arrived already
        if error.code == 416:
            part.unlink(missing_ok=True)
            raise ConnectionError("the server has no such rest; starting anew") from error
        raise
    with reply:
        resumed = reply.status == 206 and _starts_at(reply.headers.get("Content-Range", "")) == have
        if reply.status == 206 and not resumed:
            part.unlink(missing_ok=True)
            raise ConnectionError("the server sent another part than was asked for")
        done = have if resumed else 0
        length = reply.headers.get("Content-Length")
        total = done + int(length) if length and length.isdigit() else None
        if total is not None and total > limit:
            raise UserError(f"{url} is {total} bytes long, more than the {limit} expected; it was not downloaded")
        version = reply.headers.get("ETag") or reply.headers.get("Last-Modified")
        if version and not version.startswith("W/"):
            write_json(notes, {"url": url, "version": version, "total": total})
        else:
            notes.unlink(missing_ok=True)  # nothing to tell versions apart by: a later attempt starts anew
        pace = Pace(what, total, done)
        try:
            with part.open("ab" if resumed else "wb") as file:
                while chunk := reply.read(_CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    if done > limit:
                        raise UserError(f"{url} sends more than the {limit} bytes expected; the download was stopped")
                    yield from pace.at(done)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(
                    f"{part.parent} is full after {done / 1e6:.0f} MB; free some space and start again, it goes on there"
                ) from error
            raise
        if total is not None and done < total:
            raise ConnectionError(f"the connection broke after {done} of {total} bytes")
        yield from pace.finish(done)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_address(newurl)
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise UserError(f"{req.full_url} leads to {newurl}, which is not encrypted; it was not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _notes(path: Path, url: str) -> dict[str, Any]:
    """What an earlier attempt noted, if it was about the same address; else nothing."""
    if not path.is_file():
        return {}
    try:
        notes = read_json(path, limit=10_000)
    except UserError:
        return {}
    usable = isinstance(notes, dict) and notes.get("url") == url and isinstance(notes.get("version"), str)
    return notes if usable and notes["version"].isprintable() else {}


def _starts_at(content_range: str) -> int | None:
    unit, _, span = content_range.partition(" ")
    start = span.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _reason(error: BaseException) -> str:
    inner = getattr(error, "reason", None)
    return str(inner or error or type(error).__name__)
