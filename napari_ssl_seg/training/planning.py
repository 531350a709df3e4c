"""From what was asked for to a run folder: every choice that was left open is made here, and written down."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import RunError
from napari_ssl_seg.study.drawn import publish_labels
from napari_ssl_seg.training.budget import check_slices, choose_cases, choose_slices
from napari_ssl_seg.training.runs import Run, RunRecord
from napari_ssl_seg.training.settings import FinetuneSettings, PretrainSettings, TrainSettings, make_settings
from napari_ssl_seg.training.versions import versions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_ssl_seg.methods.base import Method
    from napari_ssl_seg.networks import NetworkSpec
    from napari_ssl_seg.study import Case, Study

THICK = 3.0
"""Slices that are so many times thicker than their pixels are trained on one by one."""
FEW_SLICES = 16
BATCH = {2: 16, 3: 2}


def prepare_pretrain(
    study: Study,
    method: str | Method,
    *,
    network: str | None = None,
    preset: str | None = None,
    dims: int | None = None,
    iterations: int | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
) -> Run:
    """Make the folder of a pretraining, in state ``queued``; nothing is trained. For the arguments see `pretrain`.

    Raises
    ------
    UserError
        When the study has no scan to train on, or an argument does not fit; there is then no folder.
    """
    from napari_ssl_seg.methods.variants import get_variant, title_of

    chosen = get_variant(method, settings) if isinstance(method, str) else method
    cases = study.cases(split="train")
    if not cases:
        raise RunError(f"{study.name} has no scan in the train split; add scans or split them anew")
    spec = plan_network(
        study, network=network, preset=preset, dims=dims, allowed_dims=chosen.dims, allowed_networks=chosen.networks
    )
    wanted = {**chosen.training, **{name: value for name, value in (train or {}).items() if value is not None}}
    made = _settings(PretrainSettings, spec, wanted, iterations, batch_size, device, seed)
    record = RunRecord(
        kind="pretrain",
        method=chosen.name,
        title=title_of(chosen),
        network=spec.model_dump(mode="json"),
        config=chosen.config.model_dump(mode="json"),
        cases={"train": [case.id for case in cases]},
        fingerprint=study.fingerprint([case.id for case in cases]),
        normalisation=study.settings.normalisation,
        **_common(made),
    )
    return Run.create(study.runs_folder, record)


def prepare_finetune(
    study: Study,
    init: str | Run = "scratch",
    *,
    cases: int | str | None = None,
    slices: int | Mapping[str, Sequence[int]] | None = None,
    network: str | None = None,
    preset: str | None = None,
    dims: int | None = None,
    iterations: int | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    seed: int | None = None,
    joint: str | Method | None = None,
    settings: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
) -> Run:
    """Make the folder of a fine-tuning, in state ``queued``; nothing is trained. For the arguments see `finetune`.

    Raises
    ------
    UserError
        When there are no labels to train on, the run to start from does not fit, or an argument is wrong.
    """
    from napari_ssl_seg.methods.variants import title_of
    from napari_ssl_seg.training.joint_planning import check_network, joint_method, unlabelled_cases

    publish_labels(study)  # what was drawn until now trains
    if not study.classes:
        raise RunError(f"{study.name} has no labels; add some before fine-tuning")
    beside = joint_method(joint, settings)
    parent = None if init == "scratch" else (init if isinstance(init, Run) else study.run(init))
    made_seed = int((train or {}).get("seed", 0) if seed is None else seed)
    chosen = choose_cases(study.train_labelled_order(made_seed), cases)
    by_id = {case.id: case for case in study.cases(split="train")}
    if isinstance(slices, MappingType):
        check_slices(slices, by_id)
        chosen = [case_id for case_id in study.train_labelled_order(made_seed) if len(slices.get(case_id, ()))]
    used = [by_id[case_id] for case_id in chosen]
    if parent is None:
        allowed = beside.networks if beside is not None else ()
        spec = plan_network(study, network=network, preset=preset, dims=dims, allowed_networks=allowed)
    else:
        spec = _inherit_network(parent, used[0], network, preset, dims)
    made = _settings(FinetuneSettings, spec, train, iterations, batch_size, device, seed)
    if made.preview_case:
        study.case(made.preview_case)
    restricted = {case.id: list(case.labelled_slices) for case in used if case.labelled_slices is not None}
    if isinstance(slices, MappingType):
        restricted = {case.id: sorted({int(index) for index in slices[case.id]}) for case in used}
        slices = sum(map(len, restricted.values()))
    elif slices is not None:
        restricted = choose_slices({case.id: _slice_candidates(study, case) for case in used}, slices, made.seed)
        used = [case for case in used if case.id in restricted]
    validation = [case.id for case in study.cases(split="validation", labelled=True)]
    validation = validation[: made.validation_cases or None]
    budget = f"{slices} slices" if slices is not None else f"{len(used)} scan" + "s" * (len(used) != 1)
    origin = "scratch" if parent is None else (parent.record.title or parent.id).split(",")[0]
    trained = {"train": [case.id for case in used]}
    if beside is not None:
        check_network(beside, spec)
        trained |= unlabelled_cases(beside, by_id, trained["train"])
        origin += f" + {title_of(beside)}"
    record = RunRecord(
        kind="finetune",
        title=f"{origin}, {budget}",
        joint=beside.name if beside is not None else None,
        config=beside.config.model_dump(mode="json") if beside is not None else {},
        network=spec.model_dump(mode="json"),
        cases={**trained, "validation": validation},
        slices=restricted,
        classes={info.value: info.name for info in study.classes},
        targets=study.settings.targets,
        parent=parent.id if parent else None,
        fingerprint=study.fingerprint([*(case_id for ids in trained.values() for case_id in ids), *validation]),
        normalisation=study.settings.normalisation,
        **_common(made),
    )
    if parent is not None:
        _check_weights(parent)
    return Run.create(study.runs_folder, record)


def default_dims(shape: tuple[int, ...], spacing: tuple[float, ...], preset: str | None = None) -> int:
    """2 where slices are thick or few, and for the small preset; 3 elsewhere.

    The small preset is for two CPU cores and a few hundred steps, in which slices are learnt several times faster than
    volumes (hippocampus, 5 labelled scans, learning rate 0.002: a validation Dice of 0.83 after 150 steps of 16 slices, of
    0.4 after as many of 2 patches that cost more). ``shape`` and ``spacing`` are (z, y, x).
    """
    thick_or_few = spacing[0] > THICK * min(spacing[1:]) or shape[0] < FEW_SLICES
    return 2 if thick_or_few or preset in (None, "small") else 3


def plan_network(
    study: Study,
    *,
    network: str | None = None,
    preset: str | None = None,
    dims: int | None = None,
    allowed_dims: frozenset[int] = frozenset((2, 3)),
    allowed_networks: Sequence[str] = (),
) -> NetworkSpec:
    """The network that a training on this study would use where these choices are left open; the inspector's, too.

    Parameters
    ----------
    network, preset, dims
        ``unet`` or the first of ``allowed_networks``, ``small`` and `default_dims` where None. A network may be followed by
        options (`networks.parse_network`).
    allowed_dims, allowed_networks
        What the method can do (``Method.dims``, ``Method.networks``); no name: any network.

    Raises
    ------
    UserError
        When the study has no scan, or a choice does not fit.
    """
    from napari_ssl_seg.networks import network_dims, parse_network, plan_spec

    name, options = parse_network(network or (*allowed_networks, "unet")[0])
    if allowed_networks and name not in allowed_networks:
        wanted = " or ".join(allowed_networks)
        raise RunError(f"this method pretrains {wanted} and nothing else, not {name}; choose network {wanted}")
    possible = allowed_dims & network_dims(name, preset or "small")
    if not possible:
        raise RunError(
            f"network {name} works in {_dims_text(network_dims(name, preset or 'small'))}, this method in"
            f" {_dims_text(allowed_dims)}; choose another network"
        )
    cases = study.cases(split="train") or study.cases()
    if not cases:
        raise RunError(f"{study.name} has no scan; add some first")
    shape, spacing = study.median_shape(), study.median_spacing()
    if dims is None:
        dims = default_dims(shape, spacing, preset)
        dims = dims if dims in possible else min(possible)
    if dims not in allowed_dims:
        raise RunError(f"this method works in {_dims_text(allowed_dims)}, not in {dims}D")
    return plan_spec(dims, cases[0].channels, shape, spacing, preset=preset or "small", name=name, options=options)


def _dims_text(dims: frozenset[int]) -> str:
    return " and ".join(f"{number}D" for number in sorted(dims))


def _inherit_network(parent: Run, case: Case, network: str | None, preset: str | None, dims: int | None) -> NetworkSpec:
    """The parent's network; what was asked for must agree with it."""
    from napari_ssl_seg.methods import get_method
    from napari_ssl_seg.networks import NetworkSpec, parse_network

    spec = NetworkSpec.model_validate(parent.record.network)
    built = spec
    options: dict[str, Any] = {}
    if network is not None:
        network, options = parse_network(network)
    if parent.record.method is not None:
        built = get_method(parent.record.method, parent.config).finetuning_spec(spec)
    for name, asked, has in (
        ("network", network, (spec.name, built.name)),
        ("preset", preset, (spec.preset,)),
        ("dims", dims, (spec.dims,)),
        *((name, asked, (spec.options.get(name, "its preset's"),)) for name, asked in options.items()),
    ):
        if asked is not None and asked not in has:
            raise RunError(
                f"run {parent.id} has {name} {has[0]}, and {asked} was asked for; its weights need the same, so leave that out"
            )
    if case.channels != spec.in_channels:
        raise RunError(
            f"run {parent.id} was trained on scans of {spec.in_channels} channels and {case.id} has {case.channels};"
            " choose a run on scans of the same kind"
        )
    return built


def _check_weights(parent: Run) -> None:
    if not parent.weights_path.is_file():
        raise RunError(
            f"run {parent.id} has no weights yet (it is {parent.state}); let it end, or stop it, and start from it then"
        )


def _settings(
    kind: type[Any],
    spec: NetworkSpec,
    train: Mapping[str, Any] | None,
    iterations: int | None,
    batch_size: int | None,
    device: str | None,
    seed: int | None,
) -> Any:
    """Settings in which nothing is left open but the device's name, which the record holds beside them."""
    named = {"iterations": iterations, "batch_size": batch_size, "device": device, "seed": seed}
    given = {**(train or {}), **{name: value for name, value in named.items() if value is not None}}
    made = make_settings(kind, given)
    return made if made.batch_size else made.model_copy(update={"batch_size": BATCH[spec.dims]})


def _common(settings: TrainSettings) -> dict[str, Any]:
    from napari_ssl_seg.training.hardware import pick_device

    device = pick_device(settings.device)
    return {
        "settings": settings.model_dump(mode="json"),
        "seed": settings.seed,
        "device": device.name,
        "versions": {**versions(), "device": device.title},
    }


def _slice_candidates(study: Study, case: Case) -> tuple[list[int], list[int]]:
    """Labelled axial slices of a case: those that show a structure, and the others."""
    label = study.label(case.id, purpose="train")
    assert label is not None, "train_labelled_order gives labelled cases only"
    shows = np.asarray(label.array).reshape(label.array.shape[0], -1).max(axis=1) > 0
    counted = range(len(shows)) if case.labelled_slices is None else case.labelled_slices
    return [index for index in counted if shows[index]], [index for index in counted if not shows[index]]
