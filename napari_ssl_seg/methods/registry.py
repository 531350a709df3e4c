"""Methods by name. A new method is one file and one line here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from napari_ssl_seg.methods.base import Method, MethodConfig

_HOME = "napari_ssl_seg.methods."
_FAMILIES = {
    "Structure, fusion, anatomy": {
        "volume_fusion": ("volume_fusion", "VolumeFusion"),
        "fdas": ("fdas", "FDAS"),
        "lrc": ("lrc", "LRC"),
        "alice": ("alice", "Alice"),
        "mod": ("mod", "MOD"),
    },
    "Hidden or spoilt, then restored": {
        "simmim": ("simmim", "SimMIM"),
        "mae": ("mae", "MAE"),
        "models_genesis": ("models_genesis", "ModelsGenesis"),
        "patch_swap": ("patch_swap", "PatchSwap"),
    },
    "Two views of one image": {
        "simclr": ("simclr", "SimCLR"),
        "moco": ("moco", "MoCo"),
        "moco_v3": ("moco_v3", "MoCoV3"),
        "byol": ("byol", "BYOL"),
        "simsiam": ("simsiam", "SimSiam"),
        "dino": ("dino", "DINO"),
        "ibot": ("ibot", "IBOT"),
        "densecl": ("densecl", "DenseCL"),
    },
    "Place and orientation": {
        "rotation": ("rotation", "Rotation"),
        "relative_location": ("relative_location", "RelativeLocation"),
        "voco": ("voco", "VoCo"),
    },
    "Several tasks at once": {
        "swin_unetr_pretext": ("swin_pretext", "SwinPretext"),
    },
}
_CLASSES = {name: home for family in _FAMILIES.values() for name, home in family.items()}


def list_methods() -> list[type[Method]]:
    """Every method, in the order in which they are offered."""
    return [_load(name) for name in _CLASSES]


def family_of(name: str) -> str:
    """The family under which a method is offered; empty for a name that is not one of ours."""
    return next((family for family, names in _FAMILIES.items() if name in names), "")


def get_method(name: str, settings: Mapping[str, Any] | None = None) -> Method:
    """The method of that name with its defaults, but for ``settings``.

    Parameters
    ----------
    name
        As in `list_methods`.
    settings
        Values of the method's ``Config`` by field; text is read as the field's type.

    Raises
    ------
    UserError
        For an unknown method or field, or a value out of bounds; names the field and its bounds.
    """
    if name not in _CLASSES:
        raise UserError(f"there is no method {name!r}; choose one of: {', '.join(_CLASSES)}")
    method = _load(name)
    try:
        return method(method.Config.model_validate(dict(settings or {})))
    except ValidationError as error:
        raise UserError(_explain(name, method.Config, error.errors()[0])) from error


def _load(name: str) -> type[Method]:
    module, attribute = _CLASSES[name]
    return getattr(import_module(_HOME + module), attribute)


def _explain(method: str, config: type[MethodConfig], error: ErrorDetails) -> str:
    from napari_ssl_seg.methods.describe import describe_field

    field = str(error["loc"][0]) if error["loc"] else ""
    if field and field not in config.model_fields:
        return f"method {method} has no setting {field!r}; it has: {', '.join(config.model_fields)}"
    if not field:
        return f"the settings of {method} do not go together: {error['msg'].removeprefix('Value error, ')}"
    known = describe_field(config, field)
    if known["choices"]:
        allowed = "one of " + ", ".join(str(choice) for choice in known["choices"])
    elif known["minimum"] is not None and known["maximum"] is not None:
        allowed = f"from {known['minimum']} to {known['maximum']}"
    else:
        allowed = f"a {known['type']}"
    if known["optional"]:
        allowed += " or none"
    return (
        f"setting {field} of method {method} cannot be {error['input']!r}; it should be {allowed}"
        f" (default {known['default']})"
    )
