"""Files of weights: what is read, what is refused, and in which words."""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from dataclasses import replace

import pytest
import torch

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.regions.sam_checkpoint import load_sam, read_tensors
from napari_ssl_seg.regions.sam_files import PRIVATE_NAME
from napari_ssl_seg.regions.sam_layout import SamLayout, build_sam, infer_layout
from tests.regions.tiny_sam import TINY, tiny_sam

OFFICIAL = SamLayout(
    image_size=1024,
    patch=16,
    width=768,
    depth=12,
    heads=12,
    window=14,
    global_blocks=(2, 5, 8, 11),
    mlp_ratio=4.0,
    qkv_bias=True,
    embedding=256,
    mask_channels=16,
    decoder_depth=2,
    decoder_mlp=2048,
    decoder_downsampling=2,
    iou_depth=3,
    iou_hidden=256,
    masks_per_point=3,
)
LARGER = {
    "vit_l": {"width": 1024, "depth": 24, "heads": 16, "global_blocks": (5, 11, 17, 23)},
    "vit_h": {"width": 1280, "depth": 32, "heads": 16, "global_blocks": (7, 15, 23, 31)},
}


@pytest.fixture(scope="module")
def state():
    return tiny_sam(0).state_dict()


@pytest.fixture
def file(tmp_path, state):
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    return path


def shapes_of(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def refusal(path, model_type=None):
    with pytest.raises(UserError) as caught:
        load_sam(path, model_type)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text
    return text


def equal(model, state):
    return all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_a_saved_network_comes_back(file, state):
    model = load_sam(file)
    assert equal(model, state) and not model.training
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in model.parameters())
    assert model.pixel_mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_the_published_layouts_are_read_off_the_shapes(name):
    layout = replace(OFFICIAL, **LARGER.get(name, {}))
    assert infer_layout(shapes_of(build_sam(layout, empty=True))) == layout
    assert layout.backbone == name


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"window": 16},  # as wide as the grid: every block is global
        {"image_size": 96, "patch": 16, "window": 4, "depth": 3, "global_blocks": (0, 2), "qkv_bias": False},
        {"embedding": 64, "decoder_downsampling": 1, "decoder_depth": 1, "masks_per_point": 2, "iou_depth": 2},
    ],
)
def test_other_layouts_are_read_off_the_shapes(changes):
    layout = replace(TINY, **changes)
    if layout.window == layout.image_size // layout.patch:
        layout = replace(layout, global_blocks=tuple(range(layout.depth)))
    assert infer_layout(shapes_of(build_sam(layout, empty=True))) == layout


@pytest.mark.parametrize("wrap", ["model", "state_dict"])
def test_what_training_scripts_save_is_read(tmp_path, state, wrap):
    path = tmp_path / "latest.pth"
    torch.save({wrap: {f"module.{name}": value for name, value in state.items()}, "epoch": 3}, path)
    assert equal(load_sam(path), state)


def test_the_format_before_archives_and_half_precision_are_read(tmp_path, state):
    path = tmp_path / "old.pth"
    torch.save({name: value.half() for name, value in state.items()}, path, _use_new_zipfile_serialization=False)
    model = load_sam(path)
    assert equal(model, {name: value.half().float() for name, value in state.items()})


def test_medsam_weights_are_a_vit_b_and_others_are_named(tmp_path, monkeypatch):
    from napari_ssl_seg.regions import sam_layout

    monkeypatch.setitem(sam_layout.BACKBONES, (TINY.width, TINY.depth), "vit_b")
    path = tmp_path / "medsam_vit_b.pth"
    torch.save(tiny_sam(1).state_dict(), path)
    assert load_sam(path, "medsam_vit_b") and load_sam(path, "vit_b")
    assert "vit_b where vit_h is set" in refusal(path, "vit_h")


def test_missing_empty_and_other_files_are_refused(tmp_path):
    assert "cannot be read" in refusal(tmp_path / "none.pth")
    assert "not a file" in refusal(tmp_path)
    page = tmp_path / "page.pth"
    page.write_text("<!DOCTYPE html><html>Not found</html>")
    assert "web page" in refusal(page)
    page.write_bytes(b"")
    assert "empty" in refusal(page)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_that_was_cut_short_is_refused(file, share):
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    assert "download it again" in refusal(file)


def test_flipped_bits_are_noticed(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(data)
    assert "damaged" in refusal(file)


@pytest.mark.parametrize("archive", [True, False])
def test_what_is_more_than_tensors_is_refused_and_not_run(tmp_path, state, archive):
    mark = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(mark),)

    path = tmp_path / "evil.pth"
    torch.save({**state, "extra": Payload()}, path, _use_new_zipfile_serialization=archive)
    assert "more than tensors" in refusal(path)
    path.write_bytes(pickle.dumps(Payload()))
    refusal(path)
    assert not mark.exists()


def test_sizes_are_looked_at_first(tmp_path, monkeypatch):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(10_000_000))
    assert "claims" in refusal(path)
    monkeypatch.setattr("napari_ssl_seg.regions.sam_checkpoint.LIMIT", 100)
    assert "more than any known model" in refusal(path)


def test_a_tensor_that_claims_more_than_the_file_holds_is_refused(tmp_path, state):
    path = tmp_path / "stretched.pth"
    torch.save({**state, "huge": torch.zeros(1).expand(1 << 40)}, path)
    assert "claims a size" in refusal(path)


def test_numbers_that_are_not_finite_are_refused(tmp_path, state):
    path = tmp_path / "nan.pth"
    name = "mask_decoder.iou_token.weight"
    torch.save({**state, name: torch.full_like(state[name], float("nan"))}, path)
    assert "not finite" in refusal(path) and name in refusal(path)


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}, {"a": "text"}, {1: torch.zeros(2)}])
def test_what_is_no_table_of_tensors_is_refused(tmp_path, content):
    path = tmp_path / "other.pth"
    torch.save(content, path)
    refusal(path)


def test_another_network_is_refused(tmp_path):
    path = tmp_path / "linear.pth"
    torch.save(torch.nn.Linear(3, 4).state_dict(), path)
    assert "holds no Segment Anything network" in refusal(path)


@pytest.mark.parametrize("kind", ["missing", "extra", "shape"])
def test_a_network_with_a_wrong_part_is_refused_with_its_name(tmp_path, state, kind):
    state, name = dict(state), "prompt_encoder.no_mask_embed.weight"
    if kind == "missing":
        del state[name]
    elif kind == "shape":
        state[name] = torch.zeros(1, 7)
    else:
        name = "image_encoder.adapter.weight"
        state[name] = torch.zeros(3)
    path = tmp_path / "part.pth"
    torch.save(state, path)
    text = refusal(path)
    assert name in text and f"of {len(tiny_sam(0).state_dict())} tensors match" in text


def test_a_missing_or_broken_package_is_not_blamed_on_the_file(file, monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.startswith(PRIVATE_NAME)]:
        monkeypatch.delitem(sys.modules, name)
    with monkeypatch.context() as inner, pytest.raises(UserError, match="pip install segment-anything") as caught:
        inner.setattr("importlib.util.find_spec", lambda name: None)
        load_sam(file)
    assert str(file) not in str(caught.value)
    modeling = tmp_path / "segment_anything" / "modeling"
    modeling.mkdir(parents=True)
    (modeling / "__init__.py").write_text("from .other import Sam\n")
    (modeling / "other.py").write_text("raise OSError('no such library')\n")
    spec = type("Spec", (), {"submodule_search_locations": [str(modeling.parent)]})
    with monkeypatch.context() as inner, pytest.raises(UserError, match="no such library"):
        inner.setattr("importlib.util.find_spec", lambda name: spec)
        load_sam(file)
    assert not [name for name in sys.modules if name.startswith(PRIVATE_NAME)]  # nothing half-loaded stays
    assert load_sam(file)


def test_reading_needs_no_network(file, state):
    tensors = read_tensors(file)
    assert set(tensors) == set(state) and all(value.dtype == torch.float32 for value in tensors.values())


def test_a_file_like_object_is_not_accepted_by_accident(tmp_path):
    with pytest.raises(TypeError):
        load_sam(io.BytesIO())
