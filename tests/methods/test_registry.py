from __future__ import annotations

import json
import subprocess
import sys

import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods import describe_methods, get_method, list_methods


def test_settings_are_taken_over_and_text_is_read():
    method = get_method("volume_fusion", {"levels": "2", "max_boxes": 20})
    assert method.config.levels == 2
    assert method.config.max_boxes == 20
    assert method.config.min_boxes == 10
    assert get_method("simmim", {"normalise_target": "true"}).config.normalise_target is True


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("fusion", {}, ["'fusion'", "volume_fusion", "simmim"]),
        ("volume_fusion", {"levels": 0}, ["levels", "0", "from 1 to 16", "default 4"]),
        ("volume_fusion", {"levels": "many"}, ["levels", "'many'", "from 1 to 16"]),
        ("volume_fusion", {"level": 3}, ["'level'", "levels", "max_boxes"]),
        ("volume_fusion", {"max_boxes": 5}, ["min_boxes 10 is larger than max_boxes 5"]),
        ("simmim", {"fill": "black"}, ["fill", "mean", "zero", "noise"]),
        ("simmim", {"mask_ratio": 1.5}, ["mask_ratio", "1.5", "from 0.05 to 0.95"]),
    ],
)
def test_what_is_wrong_is_named_with_its_bounds(name, settings, words):
    with pytest.raises(UserError) as caught:
        get_method(name, settings)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_methods_come_in_the_same_order_and_are_json():
    names = [method.name for method in list_methods()]
    assert names[:5] == ["volume_fusion", "fdas", "lrc", "alice", "mod"]
    assert {"simmim", "models_genesis", "patch_swap", "mae"} < set(names)
    assert json.loads(json.dumps(describe_methods())) == describe_methods()


def test_listing_methods_and_networks_loads_no_torch():
    code = (
        "import sys; from napari_ssl_seg.methods import describe_methods; from napari_ssl_seg.networks import list_networks;"
        "describe_methods(), list_networks(); print(sorted({'torch', 'monai', 'PIL', 'skimage'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
