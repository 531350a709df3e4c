"""Downloads from a server on this machine that misbehaves on request."""

from __future__ import annotations

import hashlib
import io
import shutil
import socket
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.sample import DatasetInfo, fetch, get_dataset, list_datasets
from napari_ssl_seg.sample.__main__ import main
from napari_ssl_seg.training.events import drain

FOLDER = "Task99_Tiny"


def archive(*extra, folder=FOLDER):
    """A tar like the Decathlon's, with macOS's companions; ``extra`` are (name, bytes | TarInfo) to add."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in (
            (f"./._{folder}", b"companion"),
            (f"./{folder}/dataset.json", b"{}"),
            (f"{folder}/imagesTr/._a.nii.gz", b"companion"),
            (f"{folder}/imagesTr/a.nii.gz", bytes(range(256)) * 4000),
            *extra,
        ):
            if isinstance(data, tarfile.TarInfo):
                tar.addfile(data)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves ``body``; ``break_after`` cuts the first answers short; ``seen`` holds the Range headers."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = archive()
        self.etag = '"one"'
        self.break_after = []
        self.status = None
        self.redirect = None
        self.ranges = True
        self.seen = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/{FOLDER}.tar"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.seen.append(asked)
        if server.status:
            self.send_error(server.status)
            return
        if server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
            return
        start = 0
        if asked and server.ranges and self.headers.get("If-Range") == server.etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(server.body):
                self.send_error(416)
                return
        rest = server.body[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: server.break_after.pop(0)] if server.break_after else rest)


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


def info(server, **changes):
    known = DatasetInfo(
        name="tiny",
        title="Tiny",
        description="for tests",
        url=server.url,
        folder=FOLDER,
        size=len(server.body),
        checksum=f"md5:{hashlib.md5(server.body, usedforsecurity=False).hexdigest()}",
        licence="CC0",
        licence_url="https://creativecommons.org/publicdomain/zero/1.0/",
        citation="none",
    )
    return replace(known, **changes)


def get(what, target):
    return drain(fetch(what, target, wait=0.01))


def leftovers(target):
    return sorted(path.name for path in target.iterdir() if not path.name.endswith(".lock"))


def test_a_set_arrives_whole_and_is_not_fetched_twice(server, tmp_path):
    events = fetch(info(server), tmp_path)
    told = []
    while True:
        try:
            told.append(next(events))
        except StopIteration as end:
            folder = end.value
            break
    assert folder == tmp_path / FOLDER
    assert (folder / "imagesTr" / "a.nii.gz").read_bytes() == bytes(range(256)) * 4000
    assert not list(folder.rglob("._*"))
    assert "CC0" in (folder / "SOURCE.json").read_text()
    assert leftovers(tmp_path) == [FOLDER]
    assert {event.kind for event in told} == {"progress"}
    assert {event.data["what"].split()[0] for event in told} == {"downloading", "checking", "unpacking"}
    assert all(event.data["done"] <= event.data["total"] and "seconds_left" in event.data for event in told)
    assert get(info(server), tmp_path) == folder
    assert len(server.seen) == 1


def test_a_broken_connection_is_taken_up_where_it_broke(server, tmp_path):
    server.break_after = [300_000, 200_000]
    folder = get(info(server), tmp_path)
    assert (folder / "dataset.json").is_file()
    assert server.seen == [None, "bytes=300000-", "bytes=500000-"]


def test_a_stopped_download_goes_on_at_the_next_call(server, tmp_path):
    server.break_after = [400_000] + [0] * 9
    with pytest.raises(UserError, match=r"0\.4 MB"):
        get(info(server), tmp_path)
    assert not (tmp_path / FOLDER).exists()
    server.break_after = []
    asked = len(server.seen)
    get(info(server), tmp_path)
    assert server.seen[asked:] == ["bytes=400000-"]


def test_closing_the_generator_keeps_what_has_arrived(server, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_ssl_seg.sample._pace._EVERY", 0.0)
    events = fetch(info(server), tmp_path)
    next(events)
    events.close()
    assert 0 < (tmp_path / f".{FOLDER}.tar.part").stat().st_size < len(server.body)
    get(info(server), tmp_path)
    assert server.seen[1].startswith("bytes=")


def test_everything_had_arrived_but_was_not_yet_unpacked(server, tmp_path):
    server.break_after = [400_000] + [0] * 9
    with pytest.raises(UserError):
        get(info(server), tmp_path)
    (tmp_path / f".{FOLDER}.tar.part").write_bytes(server.body)
    server.break_after = []
    assert (get(info(server), tmp_path) / "dataset.json").is_file()


@pytest.mark.parametrize("change", ["etag", "ranges"])
def test_a_changed_file_or_a_server_without_ranges_starts_anew(server, tmp_path, change):
    server.break_after = [400_000]
    events = fetch(info(server), tmp_path, wait=0.01)
    if change == "etag":
        original, server.etag = server.etag, '"two"'
        assert original != server.etag
    else:
        server.ranges = False
    assert (drain(events) / "dataset.json").is_file()


def test_without_a_version_nothing_is_glued_together(server, tmp_path):
    server.etag = None
    server.break_after = [400_000]
    get(info(server), tmp_path)
    assert server.seen == [None, None]


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(UserError, match="checksum"):
        get(info(server, checksum="md5:" + "0" * 32), tmp_path)
    assert leftovers(tmp_path) == []


def member(name, kind, link=""):
    it = tarfile.TarInfo(name)
    it.type, it.linkname = kind, link
    return it


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("../outside", b"x"),
        (f"{FOLDER}/../../outside", b"x"),
        ("/outside", b"x"),
        ("Other/file", b"x"),
        (f"{FOLDER}/a:b", b"x"),
        (f"{FOLDER}\\..\\outside", b"x"),
        (f"{FOLDER}/dataset.json", b"twice"),
        ("link", member(f"{FOLDER}/link", tarfile.SYMTYPE, "/etc/passwd")),
        ("hard", member(f"{FOLDER}/hard", tarfile.LNKTYPE, f"{FOLDER}/dataset.json")),
        ("device", member(f"{FOLDER}/device", tarfile.CHRTYPE)),
        ("pipe", member(f"{FOLDER}/pipe", tarfile.FIFOTYPE)),
    ],
)
def test_dangerous_archives_leave_nothing_unpacked(server, tmp_path, name, content):
    server.body = archive((name, content))
    target = tmp_path / "deep" / "target"
    with pytest.raises(UserError, match="nothing was unpacked"):
        get(info(server), target)
    assert not (target / FOLDER).exists()
    assert not list(tmp_path.rglob("outside"))
    assert all(name.startswith(f".{FOLDER}.tar.part") for name in leftovers(target))


def test_a_damaged_archive_is_refused(server, tmp_path):
    server.body = b"this is no archive" * 100
    with pytest.raises(UserError, match="damaged"):
        get(info(server), tmp_path)


def test_an_archive_that_unpacks_to_too_much_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_ssl_seg.sample.download._EXPANSION", 0)
    monkeypatch.setattr("napari_ssl_seg.sample.download._ROOM", 1000)
    with pytest.raises(UserError, match="more than 1000 bytes"):
        get(info(server), tmp_path)
    assert not (tmp_path / FOLDER).exists()


def test_a_file_much_larger_than_told_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_ssl_seg.sample.download._ROOM", 0)
    with pytest.raises(UserError, match="not downloaded"):
        get(info(server, size=1000), tmp_path)
    assert leftovers(tmp_path) == []


def test_no_network_is_said_in_one_sentence(server, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match="cannot be reached"):
        get(info(server, url=f"http://127.0.0.1:{port}/x.tar"), tmp_path)


def test_a_refusal_by_the_server_is_passed_on(server, tmp_path):
    server.status = 404
    with pytest.raises(UserError, match="404"):
        get(info(server), tmp_path)
    assert len(server.seen) == 1  # no use in asking again
    server.status = 503
    with pytest.raises(UserError, match="503"):
        get(info(server), tmp_path)
    assert len(server.seen) > 2


@pytest.mark.parametrize(
    "url", ["http://example.org/a.tar", "file:///etc/passwd", "ftp://127.0.0.1/a.tar", "https:///a"]
)
def test_only_encrypted_addresses_are_used(server, tmp_path, url):
    with pytest.raises(UserError, match="https"):
        get(info(server, url=url), tmp_path)
    assert leftovers(tmp_path) == []


def test_a_redirect_to_an_open_address_is_not_followed(server, tmp_path):
    server.redirect = "http://example.org/a.tar"
    with pytest.raises(UserError, match="not an https address"):
        get(info(server), tmp_path)


def test_a_full_disk_is_noticed_before_it_is_full(server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match="free some space"):
        get(info(server), tmp_path)
    assert server.seen == []


def test_a_folder_of_the_users_own_is_not_touched(server, tmp_path):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="choose another folder"):
        get(info(server), tmp_path)
    assert (tmp_path / FOLDER / "mine.txt").read_text() == "mine"


def test_two_downloads_of_the_same_set_do_not_mix(server, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_ssl_seg.sample._pace._EVERY", 0.0)
    first = fetch(info(server), tmp_path)
    next(first)
    with pytest.raises(UserError, match="another process"):
        get(info(server), tmp_path)
    first.close()


def test_the_registry_names_licence_size_and_checksum():
    assert {"hippocampus", "heart", "spleen"} <= set(list_datasets())
    for known in list_datasets().values():
        assert known.url.startswith("https://")
        assert known.licence == "CC BY-SA 4.0"
        assert known.licence in known.notice()
        assert known.url in known.notice()
        assert len(known.checksum.removeprefix("md5:")) == 32
    assert get_dataset("Task04_Hippocampus") is get_dataset("HIPPOCAMPUS")
    with pytest.raises(UserError, match="hippocampus"):
        get_dataset("elbow")


def test_the_registry_agrees_with_monai():
    datasets = pytest.importorskip("monai.apps.datasets")
    for known in list_datasets().values():
        assert datasets.DecathlonDataset.resource[known.folder] == known.url
        assert f"md5:{datasets.DecathlonDataset.md5[known.folder]}" == known.checksum


def test_the_command_asks_for_the_licence_first(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # not a terminal: nobody can have read it
    assert main(["--dataset", "hippocampus", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "CC BY-SA 4.0" in said
    assert "--accept-licence" in said
    assert not list(tmp_path.iterdir())


def test_the_command_lists_and_downloads(server, tmp_path, capsys, monkeypatch):
    assert main(["--list"]) == 0
    assert "CC BY-SA 4.0" in capsys.readouterr().out
    monkeypatch.setattr("napari_ssl_seg.sample.datasets._ALL", (info(server),))
    assert main(["--dataset", "tiny", "--accept-licence", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / FOLDER)
