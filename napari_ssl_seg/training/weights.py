"""The weights that a run leaves for use: ``model.safetensors``, and ``model.json`` that says how to build the network.

After a pretraining these are the backbone's, under the backbone's own names; after a fine-tuning the whole network's
(``backbone.*`` and ``head.*``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import RunError, UserError
from napari_ssl_seg.files import atomic_path, read_json, write_json
from napari_ssl_seg.training.answers import Answer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_ssl_seg.methods.base import Method
    from napari_ssl_seg.networks import Backbone, NetworkSpec, SegmentationNet
    from napari_ssl_seg.training.runs import Run, RunRecord

FORMAT = 1
DIGEST = "sha256"
"""What the digest of the tensors is called in the file's own header; safetensors has no checksum."""


def save_weights(run: Run, tensors: dict[str, Tensor], *, step: int) -> None:
    """Write the weights and how to build their network, each whole or not at all."""
    from safetensors.torch import save_file

    record = run.record
    description = {
        "format": FORMAT,
        "kind": record.kind,
        "method": record.method,
        "network": _exported_network(run, record),
        "classes": {str(value): name for value, name in record.classes.items()},
        "targets": [target.model_dump(mode="json") for target in record.targets],
        "normalisation": record.normalisation,
        "step": step,
    }
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(run.weights_path) as temporary:
        save_file(kept, temporary, metadata={DIGEST: _digest(kept)})
    write_json(run.model_path, description)


def _exported_network(run: Run, record: RunRecord) -> dict[str, Any]:
    """The network that the exported weights are for: after a pretraining the one that a fine-tuning builds."""
    if record.kind != "pretrain" or record.method is None:
        return record.network
    from napari_ssl_seg.methods import get_method
    from napari_ssl_seg.networks import NetworkSpec

    spec = NetworkSpec.model_validate(record.network)
    return get_method(record.method, run.config).finetuning_spec(spec).model_dump(mode="json")


def load_weights(run: Run) -> dict[str, Tensor]:
    """The tensors of ``model.safetensors``, on the CPU.

    Raises
    ------
    RunError
        When the run has not left any yet, the file is damaged, or it holds numbers that are not finite.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    from napari_ssl_seg.training.checkpoints import check_finite

    if not run.weights_path.is_file():
        raise RunError(f"run {run.id} has no weights yet (it is {run.state}); let it go on until it ends or stop it")
    try:
        with safe_open(run.weights_path, "pt") as file:
            known = (file.metadata() or {}).get(DIGEST)
        tensors = load_file(run.weights_path)
    except (SafetensorError, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{run.weights_path} cannot be read ({reason}); train the run again") from error
    if known is not None and known != _digest(tensors):
        raise RunError(f"{run.weights_path} is damaged (its checksum is wrong); restore a copy or train the run again")
    try:
        check_finite(tensors)
    except ValueError as error:
        raise RunError(f"{run.weights_path} cannot be used ({error}); train the run again") from error
    return tensors


def _digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 (hex) over names, types, shapes and numbers."""
    import hashlib

    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def describe_weights(run: Run) -> dict[str, Any]:
    """What ``model.json`` says.

    Raises
    ------
    RunError
        When it is missing or not ours.
    """
    try:
        description = read_json(run.model_path)
    except UserError as error:
        if run.model_path.exists():
            raise RunError(f"{error}; train the run again") from error
        raise RunError(f"run {run.id} has no weights yet (it is {run.state}); let it go on until it ends") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise RunError(f"{run.model_path} was not written by this version of napari-ssl-seg")
    try:
        if description["kind"] not in ("pretrain", "finetune"):
            raise ValueError("of no kind")
        Answer.from_data(description["classes"], description.get("targets", ()))
        str(description["normalisation"]), dict(description["network"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{run.model_path} does not describe a network; train the run again") from error
    return description


def load_segmentation(run: Run) -> tuple[SegmentationNet, NetworkSpec, dict[int, str]]:
    """The fine-tuned network of a run, ready to predict, on the CPU.

    Returns
    -------
    network, spec, classes
        ``classes`` maps label values to names; channel i + 1 of the logits is the i-th of them, channel 0 background. Where
        targets overlap, channel i is the i-th of them (`load_answer`).

    Raises
    ------
    RunError
        When the run is a pretraining, or has no weights that can be read.
    """
    from napari_ssl_seg.networks import build_network

    description = describe_weights(run)
    if description["kind"] != "finetune":
        raise RunError(f"run {run.id} is a pretraining, which segments nothing; fine-tune from it first")
    spec = _spec(run, description)
    answer = load_answer(run)
    tensors = load_weights(run)
    _check_shapes(run, spec, answer.channels, tensors)
    network = build_network(spec, answer.channels)
    _load_strictly(run, network, tensors)
    return network.eval(), spec, answer.named


def load_answer(run: Run) -> Answer:
    """What the channels of a run's network mean; raises RunError as `describe_weights`."""
    description = describe_weights(run)
    return Answer.from_data(description["classes"], description.get("targets", ()))


def load_backbone(run: Run) -> tuple[Backbone, NetworkSpec]:
    """The backbone of a run of either kind, in eval mode, on the CPU.

    Raises
    ------
    RunError
        When the run has no weights that can be read.
    """
    from napari_ssl_seg.networks import build_network

    description = describe_weights(run)
    spec = _spec(run, description)
    tensors = backbone_weights(run)
    _check_shapes(run, spec, None, tensors)
    backbone = build_network(spec)
    if describe_weights(run)["kind"] == "pretrain":  # some methods pretrain a part of it only
        tensors = {**backbone.state_dict(), **tensors}
    _load_strictly(run, backbone, tensors)
    return backbone.eval(), spec


def backbone_weights(run: Run) -> dict[str, Tensor]:
    """The backbone's tensors under the backbone's own names, from a run of either kind."""
    tensors = load_weights(run)
    if describe_weights(run)["kind"] == "pretrain":
        return tensors
    prefix = "backbone."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def load_pretraining(run: Run) -> tuple[Method, nn.Module, NetworkSpec]:
    """A pretraining's method and its whole model with the pretext's heads, from the last checkpoint, in eval mode.

    Of a joint fine-tuning: its joint method, and the model that was trained (`joint.JointNet`).

    Raises
    ------
    RunError
        When the run is neither, or has no checkpoint that verifies.
    """
    from napari_ssl_seg.methods import get_method
    from napari_ssl_seg.networks import NetworkSpec, build_network
    from napari_ssl_seg.training.checkpoints import load_checkpoint

    record = run.record
    name = record.method or record.joint
    if name is None:
        raise RunError(f"run {run.id} is no pretraining; choose one that is")
    found = load_checkpoint(run.checkpoint_path("last"), run.checkpoint_path("previous"))
    if found is None:
        raise RunError(f"run {run.id} has no checkpoint yet; wait for its first")
    spec = NetworkSpec.model_validate(record.network)
    method = get_method(name, run.config).on_network(spec)
    if record.joint is None:
        model = method.build(build_network(spec))
    else:
        from napari_ssl_seg.training.answers import Answer
        from napari_ssl_seg.training.joint import build_joint

        model = build_joint(method, spec, Answer(record.classes, record.targets))
    _load_strictly(run, model, found[0]["model"])
    return method, model.eval(), spec


def _spec(run: Run, description: dict[str, Any]) -> NetworkSpec:
    from pydantic import ValidationError

    from napari_ssl_seg.networks import NetworkSpec

    try:
        return NetworkSpec.model_validate(description["network"])
    except (ValidationError, KeyError) as error:
        raise RunError(f"{run.model_path} does not describe a network; train the run again") from error


def _check_shapes(run: Run, spec: NetworkSpec, channels: int | None, tensors: dict[str, Tensor]) -> None:
    """Refuse a description of a network that the tensors are not of, before memory is taken for it."""
    import torch

    from napari_ssl_seg.networks import build_network

    try:
        with torch.device("meta"):
            wanted = (build_network(spec) if channels is None else build_network(spec, channels)).state_dict()
    except UserError as error:
        raise RunError(f"{run.model_path} describes a network that cannot be built: {error}") from error
    except (RuntimeError, NotImplementedError):  # a network that computes while it is built; its presets are bounded
        return
    if any(name in wanted and wanted[name].shape != tensor.shape for name, tensor in tensors.items()):
        raise RunError(f"the weights of run {run.id} do not fit the network that it describes; train it again")


def _load_strictly(run: Run, module: nn.Module, tensors: dict[str, Tensor]) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunError(
            f"the weights of run {run.id} do not fit the network that it describes; train it again"
        ) from error
