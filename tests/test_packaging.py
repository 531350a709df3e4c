"""The manifest is one file, valid, and reaches a wheel; the start is light; the core knows no screen."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
NAME = "napari-ssl-seg"
HEAVY = ("torch", "monai", "SimpleITK", "skimage", "scipy", "segment_anything", "lightning_fabric", "napari", "qtpy")


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_manifest_as_a_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.read("napari_ssl_seg/napari.yaml").decode()
        names = archive.namelist()
    assert packed == (ROOT / "napari.yaml").read_text()
    assert not any(name.startswith("tests/") for name in names)


def test_one_name_everywhere(wheel: Path) -> None:
    manifest = yaml.safe_load((ROOT / "napari.yaml").read_text())
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert manifest["name"] == NAME == config["metadata"]["name"]
    with zipfile.ZipFile(wheel) as archive:
        fields = archive.read(next(n for n in archive.namelist() if n.endswith("METADATA"))).decode()
    assert f"Name: {NAME}\n" in fields
    assert all(command["id"].startswith(f"{NAME}.") for command in manifest["contributions"]["commands"])


def test_the_installed_manifest_is_valid_and_its_commands_exist() -> None:
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_distribution(NAME)
    manifest.validate_imports()
    assert manifest.package_version == metadata.version(NAME)
    npe2_command = [sys.executable, "-m", "npe2", "validate", "napari_ssl_seg"]
    assert subprocess.run(npe2_command, capture_output=True, check=False).returncode == 0


def test_importing_the_package_and_the_command_line_loads_nothing_heavy() -> None:
    loaded = run_python(
        f"import sys, napari_ssl_seg, napari_ssl_seg.cli; print([n for n in {HEAVY!r} if n in sys.modules])"
    )
    assert loaded == "[]"


@pytest.mark.parametrize(
    "module",
    [
        "volumes",
        "study",
        "sample",
        "networks",
        "pretext",
        "methods",
        "training",
        "evaluation",
        "workbench",
        "protocol",
        "cli",
    ],
)
def test_the_core_knows_no_screen(module: str) -> None:
    code = (
        f"import sys, pkgutil, importlib; package = importlib.import_module('napari_ssl_seg.{module}');"
        "[importlib.import_module(f'{package.__name__}.{item.name}')"
        " for item in pkgutil.iter_modules(getattr(package, '__path__', [])) if item.name != '__main__'];"
        "print([n for n in ('napari', 'qtpy', 'vispy', 'magicgui', 'superqt', 'PyQt6') if n in sys.modules])"
    )
    assert run_python(code) == "[]"


def test_no_qt_binding_is_named_in_the_code() -> None:
    sources = [path.read_text() for path in (ROOT / "napari_ssl_seg").rglob("*.py")]
    assert not [text for text in sources if "from PyQt" in text or "import PyQt" in text or "PySide6 import" in text]
