"""What must not be in the code, and what must be in the requirements (specs/reliability.md, T13 and T15)."""

from __future__ import annotations

import ast
import re
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path for folder in ("napari_ssl_seg", "benchmarks", "sample_data", "docs") for path in (ROOT / folder).rglob("*.py")
)
CALLS = {
    *("eval", "exec", "compile", "__import__", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all"),
    *("os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads", "shelve.open"),
    *("joblib.load", "dill.load", "pandas.read_pickle", "shutil.unpack_archive", "subprocess.getoutput"),
}
METHODS = {"extractall", "load_state_dict_from_url", "unsafe_load"}
SUSPICIOUS = re.compile(
    r"\b(eval|exec|compile|__import__)\(|yaml\.|os\.(system|popen)|pickle|marshal|shelve|joblib|dill|unpack_archive|getoutput"
    r"|extractall|load_state_dict_from_url|torch\.load|n(um)?py?\.load|shell|server|weights_only"
)
SERVERS = ("http.server", "socketserver", "xmlrpc.server", "wsgiref.simple_server")


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _problems(path: Path) -> list[str]:
    found: list[str] = []
    text = path.read_text(encoding="utf-8")
    if not SUSPICIOUS.search(text):  # most files, and parsing takes its time
        return found
    for node in ast.walk(ast.parse(text)):
        where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [item.name for item in node.names] + [getattr(node, "module", None) or ""]
            found += [f"{where} imports {name}" for name in names if name in SERVERS]
        if not isinstance(node, ast.Call):
            continue
        name, given = _name(node.func), {item.arg: item.value for item in node.keywords}
        if name in CALLS or name.split(".")[-1] in METHODS:
            found.append(f"{where} calls {name}")
        if name == "torch.load" and not _is(given.get("weights_only"), True):
            found.append(f"{where} calls torch.load without weights_only=True")
        if name in ("np.load", "numpy.load") and not _is(given.get("allow_pickle", ast.Constant(False)), False):
            found.append(f"{where} lets numpy unpickle")
        if _is(given.get("weights_only"), False) or _is(given.get("allow_pickle"), True):
            found.append(f"{where} lets code in a file run")
        if _is(given.get("shell"), True):
            found.append(f"{where} runs a shell")
    return found


def _is(node: ast.AST | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_nothing_runs_what_a_file_says() -> None:
    """No weights_only=False, pickle, allow_pickle, yaml.load, eval, extractall, shell or server anywhere."""
    assert len(SOURCES) > 200
    assert [problem for path in SOURCES for problem in _problems(path)] == []


@pytest.mark.parametrize("code", ["torch.load(f)", "torch.load(f, weights_only=False)", "x.extractall(p)", "eval(s)", "yaml.load(s)", "pickle.load(f)", "np.load(f, allow_pickle=True)", "run(a, shell=True)", "import http.server"])  # fmt: skip
def test_the_gate_is_shut(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "code.py"
    path.write_text(f"{code}\n")
    monkeypatch.setitem(_problems.__globals__, "ROOT", tmp_path)
    assert _problems(path)


def test_the_requirements_leave_out_what_is_known_to_be_unsafe() -> None:
    """torch before 2.10 runs code in spite of weights_only (CVE-2026-24747), MONAI before 1.6 unpickles (GHSA-rghg-q7wp-9767)."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    given = [Requirement(line) for line in config["options"]["install_requires"].split("\n") if line.strip()]
    wanted = {"torch": "2.10", "monai": "1.6", "PyYAML": "6", "safetensors": "0.4"}
    for name, least in wanted.items():
        (requirement,) = [item for item in given if item.name.lower() == name.lower()]
        floors = [Version(part.version) for part in requirement.specifier if part.operator == ">="]
        assert floors and max(floors) >= Version(least), requirement
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        if name.strip() in wanted:
            assert Version(version.split("#")[0].strip().split("+")[0]) >= Version(wanted[name.strip()]), line
