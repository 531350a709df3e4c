"""Weights from a server on this machine, through the real code."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace

import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.places import WEIGHTS_VARIABLE
from napari_ssl_seg.regions.sam_weights import fetch_weights, find_checkpoint, known_weights
from napari_ssl_seg.training.events import drain
from tests.sample.test_download import Server

BODY = bytes(range(256)) * 9000


@pytest.fixture
def server():
    with Server() as server:
        server.body = BODY
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "weights"))
    return tmp_path / "weights"


def info(server, **changes):
    known = known_weights()["vit_b"]
    here = {"url": server.url, "bytes": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest()}
    return replace(known, **{**here, **changes})


def left(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_what_is_known_is_complete_and_can_be_shown():
    known = known_weights()
    assert set(known) == {"vit_b", "vit_l", "vit_h", "medsam_vit_b"}
    for weights in known.values():
        assert weights.url.startswith("https://") and weights.url.endswith(weights.file)
        assert len(weights.sha256) == 64 and int(weights.sha256, 16)
        for part in (weights.title, weights.url, weights.licence, weights.sha256, "B from"):
            assert part in weights.notice()
    assert known["vit_b"].bytes == 375_042_383


def test_fetched_weights_are_whole_and_found(server, folder):
    assert find_checkpoint("vit_b") is None
    events = fetch_weights(info(server), wait=0.01)
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as end:
            path = end.value
            break
    assert path.read_bytes() == BODY and left(folder) == [path.name]
    assert find_checkpoint("vit_b") == path and find_checkpoint("vit_h") is None
    assert {event.kind for event in seen} == {"progress"}
    assert seen[-1].data["done"] == seen[-1].data["total"] == len(BODY)
    assert any("checking" in event.data["what"] for event in seen)


def test_weights_that_are_there_are_not_fetched_again(server, folder):
    path = drain(fetch_weights(info(server), wait=0.01))
    asked = len(server.seen)
    assert drain(fetch_weights(info(server), wait=0.01)) == path
    assert len(server.seen) == asked


def test_another_folder(server, tmp_path):
    path = drain(fetch_weights(info(server), tmp_path / "mine", wait=0.01))
    assert path.parent == tmp_path / "mine" and path.read_bytes() == BODY


def test_a_broken_connection_goes_on_where_it_stopped(server, folder):
    server.break_after = [700_000, 900_000]
    assert drain(fetch_weights(info(server), wait=0.01)).read_bytes() == BODY
    assert server.seen == [None, "bytes=700000-", "bytes=1600000-"]


def test_a_stopped_download_goes_on_later(server, folder):
    server.break_after = [600_000] * 6
    first = fetch_weights(info(server), wait=0.5)
    with pytest.raises(UserError, match="goes on from"):
        server.etag = '"one"'
        server.break_after = [600_000] + [0] * 5
        drain(fetch_weights(info(server), wait=0.01))
    first.close()
    assert left(folder) == [".sam_vit_b_01ec64.pth.part", ".sam_vit_b_01ec64.pth.part.json"]
    server.break_after = []
    assert drain(fetch_weights(info(server), wait=0.01)).read_bytes() == BODY
    assert server.seen[-1] == "bytes=600000-"


@pytest.mark.parametrize("changes", [{"sha256": "0" * 64}, {"bytes": len(BODY) + 1}])
def test_what_does_not_arrive_as_published_is_deleted(server, folder, changes):
    with pytest.raises(UserError, match="did not arrive as published"):
        drain(fetch_weights(info(server, **changes), wait=0.01))
    assert left(folder) == []


def test_more_than_was_published_is_not_downloaded(server, folder):
    with pytest.raises(UserError, match="more than the"):
        drain(fetch_weights(info(server, bytes=1000), wait=0.01))
    assert find_checkpoint("vit_b") is None


def test_a_users_own_file_of_that_name_is_kept(server, folder):
    folder.mkdir()
    own = folder / info(server).file
    own.write_bytes(b"mine")
    with pytest.raises(UserError, match="already"):
        drain(fetch_weights(info(server), wait=0.01))
    assert own.read_bytes() == b"mine" and server.seen == []


def test_an_address_without_encryption_and_an_unknown_name_are_refused(server, folder):
    with pytest.raises(UserError, match="https"):
        drain(fetch_weights(info(server, url="http://example.org/sam.pth")))
    with pytest.raises(UserError, match="vit_b"):
        drain(fetch_weights("vit_x"))
    with pytest.raises(UserError, match="medsam_vit_b"):
        find_checkpoint("huge")


def test_two_processes_do_not_fetch_at_once(server, folder):
    first = fetch_weights(info(server), wait=0.01)
    next(first)
    with pytest.raises(UserError, match="another process"):
        drain(fetch_weights(info(server), wait=0.01))
    assert drain(first).read_bytes() == BODY
