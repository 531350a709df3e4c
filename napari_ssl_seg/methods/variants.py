"""Methods with settings of their own, written in one word: ``fdas:skd``, ``simmim:mask_ratio=0.6``.

So a comparison can hold a method several times, and a paper's ablation is one comparison (``fdas:ablation``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods.registry import get_method

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_ssl_seg.methods.base import Method

ABLATION = "ablation"
NAMED_SETTINGS = 2
"""More settings than this that differ from the defaults are counted in a title, not named."""


def split_variant(text: str) -> tuple[str, dict[str, Any]]:
    """The method's name and its settings: ``"fdas:skd:alpha=0.9"`` is FDAS's variant ``skd`` with another alpha.

    Raises
    ------
    UserError
        For an unknown variant, naming those there are.
    """
    import yaml

    name, *parts = (part.strip() for part in text.split(":"))
    settings: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if equals:
            try:
                settings[key.strip()] = yaml.safe_load(value)
            except yaml.YAMLError as error:
                raise UserError(f"the value of {key.strip()!r} in {text!r} cannot be read; write KEY=VALUE") from error
            continue
        known = type(get_method(name)).variants
        if part not in known:
            choices = ", ".join(known) or "none"
            raise UserError(f"method {name} has no variant {part!r} (it has: {choices}); or write KEY=VALUE")
        settings.update(known[part])
    return name, settings


def get_variant(text: str, settings: Mapping[str, Any] | None = None) -> Method:
    """The method that ``text`` stands for, with ``settings`` beside those that it names; errors as `get_method`'s."""
    name, own = split_variant(text)
    return get_method(name, {**own, **(settings or {})})


def expand_ablations(names: Iterable[str]) -> tuple[str, ...]:
    """``fdas:ablation`` becomes every variant of FDAS and then FDAS itself; a name that comes twice is kept once.

    Raises
    ------
    UserError
        For the ablation of a method that has no variants.
    """
    expanded: list[str] = []
    for text in names:
        name, _, variant = text.partition(":")
        if variant != ABLATION:
            expanded.append(text)
            continue
        variants = type(get_method(name)).variants
        if not variants:
            raise UserError(
                f"method {name} has no variants, so no ablation; write {name}:KEY=VALUE for one of your own"
            )
        expanded += [*(f"{name}:{variant}" for variant in variants), name]
    return tuple(dict.fromkeys(expanded))


def title_of(method: Method) -> str:
    """The method's title, with the variant or the settings that are not its defaults."""
    default = type(method.config)()
    changed = {
        key: value for key, value in method.config.model_dump().items() if value != getattr(default, key)
    }  # plain values, as variants hold them
    if not changed:
        return method.title
    for variant, settings in method.variants.items():
        if changed == dict(settings):
            return f"{method.title} ({variant})"
    if len(changed) > NAMED_SETTINGS:
        return f"{method.title} ({len(changed)} settings changed)"
    return f"{method.title} ({'; '.join(f'{key} {value}' for key, value in changed.items())})"
