"""Label maps on disk: what is read is what was written, or it is said to be damaged; one slice costs one slice."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_ssl_seg.regions import packs
from napari_ssl_seg.regions.packs import Damaged, pack_slice, read_areas, read_map, read_packed, read_shape, write_pack
from napari_ssl_seg.regions.store import CaseFile, Maps, RegionCacheWarning, RegionStack


def maps_of(count: int, shape: tuple[int, int] = (23, 17), seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 2 + 40 * z, shape).astype(np.int32) for z in range(count)]


def save(path: Path, label_maps: list[np.ndarray]) -> None:
    write_pack(path, label_maps[0].shape, [pack_slice(item) for item in label_maps], durable=False)


def case_file(folder: Path, label_maps: list[np.ndarray]) -> CaseFile:
    file = CaseFile(folder, "scan", "scan", (len(label_maps), *label_maps[0].shape))
    save(file.pack, label_maps)
    return file


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(
        np.uint32,
        st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
        elements=st.sampled_from([0, 1, 2, 255, 256, 65_535, 65_536]),
    )
)
def test_maps_of_any_size_and_numbering_come_back(stack: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.regions"
        save(path, list(stack))
        assert read_shape(path) == stack.shape
        for z, expected in enumerate(stack):
            np.testing.assert_array_equal(read_map(path, z), expected)
        for areas, expected in zip(read_areas(path), stack, strict=True):
            present = {int(label): int((expected == label).sum()) for label in np.unique(expected) if label}
            assert {n: int(area) for n, area in enumerate(areas, start=1) if area} == present
            assert len(areas) == expected.max()


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 2), np.float32), np.array([[-1]]), np.zeros((1, 2, 2), int), np.zeros((0, 3), int)]
)
def test_what_is_no_label_map_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="label map"):
        pack_slice(wrong)


def test_one_slice_of_two_hundred_costs_one_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    label_maps = maps_of(200, (64, 64))
    path = tmp_path / "x.regions"
    save(path, label_maps)
    size, read = path.stat().st_size, [0]

    class Counting(io.FileIO):
        def read(self, count: int | None = -1, /) -> bytes:  # type: ignore[override]
            data = super().read(-1 if count is None else count) or b""
            read[0] += len(data)
            return data

    monkeypatch.setattr(packs, "_open", lambda path: Counting(path, "rb"))
    np.testing.assert_array_equal(read_map(path, 150), label_maps[150])
    first = read[0]
    assert first < size / 50
    np.testing.assert_array_equal(read_map(path, 151), label_maps[151])
    assert read[0] - first == len(pack_slice(label_maps[151]).blob)  # the index is known by now


def test_areas_need_no_map(tmp_path: Path) -> None:
    label_maps = maps_of(5)
    path = tmp_path / "x.regions"
    save(path, label_maps)
    begin = path.stat().st_size - sum(len(pack_slice(item).blob) for item in label_maps)
    with path.open("r+b") as stream:
        stream.seek(begin)
        stream.write(b"\0" * (path.stat().st_size - begin))
    assert [areas.sum() for areas in read_areas(path)] == [int((item > 0).sum()) for item in label_maps]


def test_no_flipped_bit_and_no_cut_gives_a_wrong_map(tmp_path: Path) -> None:
    label_maps = maps_of(4)
    path = tmp_path / "x.regions"
    save(path, label_maps)
    good, rng = path.read_bytes(), np.random.default_rng(1)
    found = {"whole": 0, "damaged": 0}
    for trial in range(400):
        data = bytearray(good)
        if trial % 4:
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        else:
            del data[int(rng.integers(len(data))) :]
        path.write_bytes(data)
        for z, expected in enumerate(label_maps):
            try:
                np.testing.assert_array_equal(read_map(path, z), expected)
                found["whole"] += 1
            except Damaged:
                found["damaged"] += 1
        try:
            for areas, expected in zip(read_areas(path), label_maps, strict=True):
                assert areas.sum() == (expected > 0).sum()
        except Damaged:
            pass
    assert min(found.values()) > 100


def test_a_file_that_unpacks_to_more_than_it_says_takes_no_memory(tmp_path: Path) -> None:
    import zlib

    bomb = zlib.compress(b"\0" * 20_000_000)
    with pytest.raises(Damaged):
        packs.unpack(bomb, 100)


def test_a_replaced_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.regions"
    for seed in (1, 2, 3):
        label_maps = maps_of(3, seed=seed)
        save(path, label_maps)
        np.testing.assert_array_equal(read_map(path, 2), label_maps[2])


def test_a_case_is_gathered_from_its_slices_and_its_folder_goes(tmp_path: Path) -> None:
    label_maps = maps_of(6)
    file = CaseFile(tmp_path, "scan", "scan", (6, 23, 17))
    for z in (5, 0, 3, 1, 2):
        file.write(z, label_maps[z])
        np.testing.assert_array_equal(file.read(z), label_maps[z])
    assert not file.gather()
    with pytest.raises(FileNotFoundError):
        file.read(4)
    assert [areas is None for areas in file.areas()] == [False] * 4 + [True, False]
    file.write(4, label_maps[4])
    assert file.gather()
    assert not file.parts.exists()
    for z, expected in enumerate(label_maps):
        np.testing.assert_array_equal(file.read(z), expected)


def test_a_damaged_slice_file_is_removed_when_the_case_is_gathered(tmp_path: Path) -> None:
    label_maps = maps_of(3)
    file = CaseFile(tmp_path, "scan", "scan", (3, 23, 17))
    for z, item in enumerate(label_maps):
        file.write(z, item)
    file.part(1).write_bytes(file.part(1).read_bytes()[:-3])
    with pytest.raises(Damaged, match="slice 1"):
        file.gather()
    assert file.look()[0] == {0, 2}


def test_a_file_of_a_scan_with_another_shape_is_damaged(tmp_path: Path) -> None:
    file = case_file(tmp_path, maps_of(3))
    other = CaseFile(tmp_path, "scan", "scan", (3, 17, 23))
    with pytest.raises(Damaged, match="another shape"):
        other.read(0)
    with pytest.raises(Damaged, match="another shape"):
        other.check()
    assert file.check() == []


def test_a_damaged_slice_is_made_anew_with_a_warning_and_the_others_stay(tmp_path: Path) -> None:
    label_maps, made = maps_of(5), []
    file = case_file(tmp_path, label_maps)
    before = read_packed(file.pack)
    data = bytearray(file.pack.read_bytes())
    data[len(data) - len(before[4].blob) - len(before[3].blob) + 5] ^= 255  # type: ignore[union-attr]
    file.pack.write_bytes(data)
    assert file.check() == [3]

    def remake(case_id: str, z: int) -> np.ndarray:
        made.append((case_id, z))
        return label_maps[z].copy()

    maps = Maps({"scan": file}, remake)
    with pytest.warns(RegionCacheWarning, match="damaged"):
        stack = RegionStack("scan", file.shape, maps).cut(0, 5)
    np.testing.assert_array_equal(stack, label_maps)
    assert made == [("scan", 3)]
    assert file.check() == []


def test_a_cache_that_is_deleted_while_in_use_is_made_anew(tmp_path: Path) -> None:
    label_maps = maps_of(4)
    file = case_file(tmp_path / "cache", label_maps)
    maps = Maps({"scan": file}, lambda case_id, z: label_maps[z].copy())
    stack = RegionStack("scan", file.shape, maps)
    np.testing.assert_array_equal(stack.cut(1, 2)[0], label_maps[1])
    os.remove(file.pack)
    assert maps.get("scan", 3, make=False) is None
    with pytest.warns(RegionCacheWarning, match="gone"):
        np.testing.assert_array_equal(stack.cut(0, 4), label_maps)
    assert file.look()[0] == {0, 2, 3}  # slice 1 was still in memory


def test_a_cut_is_the_callers_own_and_stays_inside(tmp_path: Path) -> None:
    file = case_file(tmp_path, maps_of(4))
    stack = RegionStack("scan", file.shape, Maps({"scan": file}, lambda case_id, z: maps_of(4)[z]))
    part = stack.cut(1, 3)
    assert part.dtype == np.int32 and part.shape == (2, 23, 17)
    part[:] = 0
    np.testing.assert_array_equal(stack.cut(1, 3), maps_of(4)[1:3])
    assert stack.cut(2, 2).shape == (0, 23, 17)
    for z0, z1 in ((-1, 2), (3, 5), (3, 2)):
        with pytest.raises(IndexError, match="slices 0 to 3"):
            stack.cut(z0, z1)
