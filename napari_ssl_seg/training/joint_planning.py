"""What a joint fine-tuning asks of its method, its network and its scans. No torch here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_ssl_seg.methods.base import Method
    from napari_ssl_seg.networks import NetworkSpec


def joint_method(joint: str | Method | None, settings: Mapping[str, Any] | None) -> Method | None:
    """The method to train beside the supervised loss, with its settings; None for none.

    Raises
    ------
    UserError
        When there is no such method, it cannot be trained so, or there are settings and no method.
    """
    from napari_ssl_seg.methods import list_methods
    from napari_ssl_seg.methods.variants import get_variant

    if joint is None:
        if settings:
            raise RunError(
                f"the setting {next(iter(settings))!r} belongs to no method; name one to train jointly with, such as mod"
            )
        return None
    method = get_variant(joint, settings) if isinstance(joint, str) else joint
    if not method.joint:
        known = ", ".join(kind.name for kind in list_methods() if kind.joint)
        raise RunError(
            f"{method.title} cannot be trained jointly with labels, only before them; joint methods: {known}"
        )
    return method


def check_network(method: Method, spec: NetworkSpec) -> None:
    """Refuse a network that the method does not work on.

    Raises
    ------
    UserError
        Saying which it works on, or what is wrong with the patch.
    """
    if method.networks and spec.name not in method.networks:
        raise RunError(
            f"{method.title} works on the networks {', '.join(method.networks)}, not on {spec.name}; start from another run"
            " or from scratch"
        )
    method.on_network(spec)


def unlabelled_cases(method: Method, train: Iterable[str], used: Sequence[str]) -> dict[str, list[str]]:
    """Cases of the split train whose labels are not used, where the method is to see these, too.

    Raises
    ------
    RunError
        When it is, and there are none.
    """
    if not method.config.unlabelled:
        return {}
    others = [case_id for case_id in train if case_id not in set(used)]
    if not others:
        raise RunError(
            "every scan of the train split is used with its label; leave out `unlabelled`, or use fewer labels"
        )
    return {"unlabelled": others}
