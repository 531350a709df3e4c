"""One vector a patch, by the encoder of a run."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.embedding.places import MOST, Place, choose_places
from napari_ssl_seg.errors import RunError
from napari_ssl_seg.files import atomic_path
from napari_ssl_seg.training.events import Event

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from torch import Tensor

    from napari_ssl_seg.embedding.places import What
    from napari_ssl_seg.networks import NetworkSpec
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import Run

BATCH = 16
UNLABELLED = -1
FORMAT = 1


@dataclass(frozen=True)
class Embedding:
    """Vectors and where they come from."""

    run: str
    what: What
    vectors: np.ndarray
    """float32 (N, D)."""
    places: tuple[Place, ...]
    labels: np.ndarray
    """int64 (N,): the label with most voxels in the patch, 0 where there is background alone, -1 in cases without labels."""

    def save(self, path: Path) -> None:
        """Write it as one ``.npz`` without pickles, whole or not at all."""
        words = json.dumps(
            {"format": FORMAT, "run": self.run, "what": self.what, "places": [asdict(place) for place in self.places]}
        )
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, vectors=self.vectors, labels=self.labels, words=np.frombuffer(words.encode(), np.uint8))

    @classmethod
    def load(cls, path: Path) -> Embedding:
        """Read what `save` wrote.

        Raises
        ------
        RunError
            When the file is not one, or is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as data:
                words = json.loads(data["words"].tobytes())
                vectors, labels = data["vectors"], data["labels"]
            places = tuple(
                Place(
                    case_id=str(part["case_id"]),
                    split=str(part["split"]),
                    start=tuple(int(v) for v in part["start"]),  # type: ignore[arg-type]
                    centre=tuple(int(v) for v in part["centre"]),  # type: ignore[arg-type]
                    height=float(part["height"]),
                )
                for part in words["places"]
            )
            if words["format"] != FORMAT or not len(vectors) == len(labels) == len(places):
                raise ValueError("its parts do not fit together")
        except Exception as error:  # whatever a damaged zip raises
            raise RunError(f"{path} holds no embedding ({error}); make it again") from error
        return cls(words["run"], words["what"], vectors, places, labels)


def embed(
    study: Study,
    run: Run,
    what: What = "slices",
    *,
    most: int = MOST,
    device: str = "auto",
    again: bool = False,
) -> Generator[Event, None, Embedding]:
    """Embed slices or patches of every case of a study; kept in its cache.

    The vector of a patch is the mean of the encoder's tokens (`Backbone.tokens`); with instance norm, which gives each
    channel of each patch the same mean, the means of each half along each axis side by side.

    Parameters
    ----------
    run
        Of either kind; its exported weights are used.
    what
        ``slices``: the patch in the middle of every axial slice; ``patches``: patches side by side all over the scans.
    most
        So many vectors at most, evenly chosen.
    again
        Make it even if the cache has it.

    Yields
    ------
    Event
        ``progress``, with the time left.

    Raises
    ------
    RunError
        When the run has left no weights.
    """
    from napari_ssl_seg.training.hardware import pick_device
    from napari_ssl_seg.training.weights import load_backbone

    path = cached_path(study, run, what, most)
    if path.exists() and not again:
        try:
            return Embedding.load(path)
        except RunError:
            pass  # damaged: made anew
    backbone, spec = load_backbone(run)
    chosen = pick_device(device).name
    backbone = backbone.to(chosen)
    places = choose_places(study.cases(), spec, what, most=most)
    start, vectors = time.monotonic(), []
    for first in range(0, len(places), BATCH):
        batch = places[first : first + BATCH]
        vectors.append(encode_places(study, backbone, spec, batch, chosen))
        done = first + len(batch)
        left = (time.monotonic() - start) / done * (len(places) - done)
        yield Event("progress", {"done": done, "total": len(places), "seconds_left": left, "what": what}, run.id)
    made = Embedding(run.id, what, np.concatenate(vectors), places, _labels(study, places, spec))
    made.save(path)
    return made


def cached_path(study: Study, run: Run, what: What, most: int) -> Path:
    """Where the cache has the embedding of these weights, for the scans and labels as they are now."""
    from napari_ssl_seg.training.weights import describe_weights

    step = int(describe_weights(run).get("step", 0))
    state = [study.fingerprint(), *(str(case.labelled_slices) for case in study.cases(labelled=True))]
    content = hashlib.sha256("\n".join(state).encode()).hexdigest()[:12]
    return study.cache_folder / "embeddings" / f"{run.id}-{step}-{what}-{most}-{content}.npz"


def encode_places(study: Study, backbone: Any, spec: NetworkSpec, places: Sequence[Place], device: Any) -> np.ndarray:
    """The vectors of some places, float32 (N, D), by a backbone on ``device``."""
    import torch
    from torch.nn import functional

    from napari_ssl_seg.methods.contrast import pooled_parts

    images = torch.from_numpy(np.stack([_patch(study, place, spec) for place in places])).to(device)
    pool: Any = functional.adaptive_avg_pool2d if spec.dims == 2 else functional.adaptive_avg_pool3d
    with torch.inference_mode():
        tokens: Tensor = backbone.tokens(backbone.encode(images))
        parts = tuple(min(pooled_parts(backbone), side) for side in tokens.shape[2:])
        pooled: Tensor = pool(tokens, parts)
        return pooled.flatten(1).float().cpu().numpy()


def _patch(study: Study, place: Place, spec: NetworkSpec) -> np.ndarray:
    from napari_ssl_seg.pretext.crop import Contrast, crop

    array = study.patches_source(place.case_id, purpose="show").array
    cut = crop(array, place.start, spec.patch_3d, fill=Contrast.of(array).floor)
    return np.ascontiguousarray(cut.slice().image if spec.dims == 2 else cut.image)


def _labels(study: Study, places: Sequence[Place], spec: NetworkSpec) -> np.ndarray:
    found = np.full(len(places), UNLABELLED, np.int64)
    case_id, volume, known = "", None, None
    for number, place in enumerate(places):  # those of a case follow one another
        if place.case_id != case_id:
            case_id, volume = place.case_id, study.label(place.case_id, purpose="show")
            known = study.case(case_id).labelled_slices
        if volume is None:
            continue
        box = [slice(max(at, 0), max(at + step, 0)) for at, step in zip(place.start, spec.patch_3d, strict=True)]
        cut = np.asarray(volume.array[tuple(box)])
        if known is not None:  # a slice nobody has labelled is no background
            cut = cut[np.isin(np.arange(volume.array.shape[0])[box[0]], known)]
        if not len(cut):
            continue
        counts = np.bincount(cut.ravel().astype(np.int64), minlength=1)
        counts[0] = 0
        found[number] = int(counts.argmax()) if counts.any() else 0
    return found
