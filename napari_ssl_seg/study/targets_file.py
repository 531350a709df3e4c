"""A file of targets, YAML or JSON, read as what a person sees in it.

YAML has more in it than that: names that stand for the whole tree above them (a few hundred bytes become gigabytes), calls
of functions, ``no`` for false and ``012`` for ten. So the text is looked through first, and every value is read as the
text that it is; what consists of digits is a number, in tens.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import StudyError

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 2**20
"""Bytes."""
DEEPEST = 20
LONGEST_NUMBER = 18
_WHOLE = re.compile(r"[+-]?[0-9]+")


def read_targets_file(path: Path) -> tuple[dict[str, Any], list[Any] | None]:
    """The mapping of names to label values, and nnU-Net's ``regions_class_order`` where it has one, for `read_targets`.

    Raises
    ------
    StudyError
        Naming the file and the reason.
    """
    content = _read(path)
    if not isinstance(content, dict):
        raise StudyError(f"{path} names no targets; write for example 'tumour core: [1, 4]', a line a target")
    order = content.pop("regions_class_order", None)
    given = content.get("labels", content)
    if not isinstance(given, dict) or not given or not (order is None or isinstance(order, list)):
        raise StudyError(f"{path} names no targets; write for example 'tumour core: [1, 4]', a line a target")
    return {name: values for name, values in given.items() if values not in (0, [0])}, order


def _read(path: Path) -> Any:
    import yaml

    try:
        size = path.stat().st_size
        if size > LIMIT:
            raise StudyError(f"{path} holds {size} bytes, more than the {LIMIT} that a file of targets may have")
        text = path.read_text(encoding="utf-8")
        _look_through(path, text)
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise StudyError(
            f"{path} cannot be read as YAML or JSON ({_one_line(error)}); it names targets and their label values"
        ) from error
    return None if node is None else _value(path, node)


def _look_through(path: Path, text: str) -> None:
    """Refuse names for parts of the tree, tags and great depth, event by event, before anything is built."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise StudyError(f"{path} has an alias (& or *), which is not read here; write the values out")
        if getattr(event, "tag", None):
            raise StudyError(f"{path} has a tag (!), which is not read here; leave it out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise StudyError(f"{path} is more than {DEEPEST} levels deep; a line a target is enough")


def _value(path: Path, node: Any) -> Any:
    import yaml

    if isinstance(node, yaml.SequenceNode):
        return [_value(path, item) for item in node.value]
    if not isinstance(node, yaml.MappingNode):
        number = _WHOLE.fullmatch(node.value) and len(node.value) <= LONGEST_NUMBER and node.style in (None, "")
        return int(node.value) if number else node.value
    found: dict[str, Any] = {}
    for key, item in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise StudyError(f"{path} has a list or mapping where a name should be; write a line a target")
        if key.value in found:
            raise StudyError(f"{path} has {key.value!r} twice; leave one of them out")
        found[key.value] = _value(path, item)
    return found


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
