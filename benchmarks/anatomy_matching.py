"""How far from the same anatomy a matched point ends, in mm: the embedding beside registration, fractions and nothing.

python benchmarks/anatomy_matching.py --data FOLDER [--work DIR] [--iterations 300] [--torso-iterations 100]

FOLDER holds ``hippocampus/images`` and ``labels`` (Task04 of the Medical Segmentation Decathlon) and ``torso``. Hippocampus:
the embedding is trained on 90 scans without labels; each of 40 others is matched to two of them. Landmarks are the labels'
centres of mass (anterior, posterior) and the two ends of the whole; once with the scans as they are (one field of view,
roughly), once with each cut to a random 70 % of every side, where a landmark counts that lies in both. One that the other
crop lacks ought to be rejected. Torso: one CT, its upper quarter, and an MR of another person.

What is trained is kept in --work, and not trained again.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, keep

from napari_ssl_seg.anatomy import AffineMatcher, EmbeddingMatcher, Match, MatcherSettings, SameFieldMatcher
from napari_ssl_seg.anatomy.grid import Grids
from napari_ssl_seg.anatomy.prepare import prepare_matcher
from napari_ssl_seg.study import Study

FAR_MM = 5.0
Landmarks = dict[str, dict[str, np.ndarray]]
"""By case, then by name: (z, y, x) in voxels."""


class CentresAligned:
    """No matching: the middles of both scans lie on each other."""

    name = "centres aligned"

    def __init__(self, study: Study) -> None:
        self.study = study

    def match(self, case_id: str, point: Any, other_id: str) -> Match:
        own, other = self.study.case(case_id), self.study.case(other_id)
        mm = (np.array(point) - (np.array(own.shape) - 1) / 2) * own.spacing
        there = (np.array(other.shape) - 1) / 2 + mm / other.spacing
        return Match(tuple(np.clip(there, 0, np.array(other.shape) - 1)), math.nan, math.nan, "centre", True)


class Fallback:
    """What another matcher falls back to, as a matcher."""

    def __init__(self, matcher: Any) -> None:
        self.matcher = matcher

    def match(self, case_id: str, point: Any, other_id: str) -> Match:
        return self.matcher.fallback(case_id, point, other_id)


# -- scans ------------------------------------------------------------------------------------------------------------
def hippocampus_landmarks(label: np.ndarray) -> dict[str, np.ndarray]:
    """Centres of mass of both parts, and the ends of the whole from front to back."""
    found = {f"centre of {name}": centre(label == value) for value, name in ((1, "anterior"), (2, "posterior"))}
    rows = np.flatnonzero((label > 0).any(axis=(0, 2)))
    for name, row in (("front end", rows[0]), ("back end", rows[-1])):
        z, x = np.argwhere(label[:, row] > 0).mean(axis=0)
        found[name] = np.array([z, row, x])
    return found


def centre(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(axis=0)


def cut_study(
    study: Study, cases: list[str], folder: Path, share: float, seed: int
) -> tuple[Study, dict[str, np.ndarray]]:
    """A study of a random part of each scan, and where each part starts."""
    rng = np.random.default_rng(seed)
    items, starts = [], {}
    for case_id in cases:
        volume = study.image(case_id, purpose="show")
        size = [max(1, round(share * n)) for n in volume.array.shape]
        start = [int(rng.integers(n - m + 1)) for n, m in zip(volume.array.shape, size, strict=True)]
        part = volume.array[tuple(slice(a, a + m) for a, m in zip(start, size, strict=True))]
        items.append((case_id, part, None, volume.geometry.spacing))
        starts[case_id] = np.array(start)
    if folder.exists():  # the same parts: what is random comes from the seed
        return Study.open(folder), starts
    return Study.create_from_arrays(folder, items, split=(0, 0, 100)), starts


def pairs_of(cases: list[str], partners: int, seed: int) -> list[tuple[str, str]]:
    """Each case with so many others, all equally often second."""
    order = [cases[i] for i in np.random.default_rng(seed).permutation(len(cases))]
    return [(a, order[(i + k) % len(order)]) for k in range(1, partners + 1) for i, a in enumerate(order)]


# -- measuring --------------------------------------------------------------------------------------------------------
def inside(point: np.ndarray, shape: Any) -> bool:
    return bool(np.all(point >= 0) and np.all(point <= np.array(shape) - 1))


def measure(study: Study, matcher: Any, landmarks: Landmarks, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Errors over landmarks that both scans show, and how often those that one lacks are accepted all the same."""
    errors: dict[str, list[float]] = {}
    present, absent, far, accepted_errors = [], [], [], []
    begin = time.perf_counter()
    for first, second in pairs:
        own, other = study.case(first), study.case(second)
        for name in sorted(set(landmarks[first]) & set(landmarks[second])):
            point, wanted = landmarks[first][name], landmarks[second][name]
            if not inside(point, own.shape):
                continue
            match = matcher.match(first, point, second)
            if not inside(wanted, other.shape):
                absent.append(match.accepted)
                beyond = wanted - np.clip(wanted, 0, np.array(other.shape) - 1)
                if np.linalg.norm(beyond * other.spacing) > FAR_MM:
                    far.append(match.accepted)
                continue
            error = float(np.linalg.norm((np.array(match.point) - wanted) * other.spacing))
            errors.setdefault(name, []).append(error)
            present.append(match.accepted)
            if match.accepted:
                accepted_errors.append(error)
    seconds = (time.perf_counter() - begin) / len(pairs)
    centres = [error for name, values in errors.items() if name.startswith("centre") for error in values]
    every = [error for values in errors.values() for error in values]
    return {
        "landmarks": statistics(every),
        "centres_of_mass": statistics(centres),
        "accepted_landmarks": statistics(accepted_errors),
        "accepted_where_present": share(present),
        "accepted_where_absent": share(absent),
        "absent": len(absent),
        "accepted_where_absent_by_over_5_mm": share(far),
        "absent_by_over_5_mm": len(far),
        "seconds_a_pair": round(seconds, 3),
    }


def statistics(errors: list[float]) -> dict[str, Any]:
    if not errors:
        return {"n": 0}
    values = np.array(errors)
    return {
        "n": len(values),
        "mean_mm": round(float(values.mean()), 2),
        "median_mm": round(float(np.median(values)), 2),
        "p90_mm": round(float(np.quantile(values, 0.9)), 2),
        "within_5_mm": round(float((values <= 5).mean()), 3),
    }


def share(flags: list[bool]) -> float | None:
    return round(float(np.mean(flags)), 3) if flags else None


def matchers(study: Study, embedding: EmbeddingMatcher, work: Path, *, registration: bool) -> dict[str, Any]:
    """Of a study that the embedding was not trained on."""
    spacing = embedding.grids.spacing
    own = EmbeddingMatcher(embedding.net, Grids(study, spacing, purpose="show"))
    nearest = EmbeddingMatcher(embedding.net, own.grids, consensus=False)
    found: dict[str, Any] = {
        "centres aligned (no matching)": CentresAligned(study),
        "same field of view (fractions)": SameFieldMatcher(study),
        "embedding, most similar place": nearest,
        "embedding, consensus of mutual matches (default)": own,
        "embedding, affine of mutual matches (fallback)": Fallback(own),
    }
    if registration:
        grids = Grids(study, spacing, purpose="show")
        found["SimpleITK affine, pair by pair"] = AffineMatcher(grids, work, None)
    return found


def table(study: Study, found: dict[str, Any], landmarks: Landmarks, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    result = {}
    for name, matcher in found.items():
        kept = isinstance(matcher, AffineMatcher) and any(matcher.folder.glob("*.json"))
        result[name] = measure(study, matcher, landmarks, pairs)
        if kept:  # registered by an earlier run: what is left to do says nothing
            result[name]["seconds_a_pair"] = None
        print(f"{name}: {result[name]['landmarks']}", flush=True)
    return result


def trained(study: Study, iterations: int) -> tuple[EmbeddingMatcher, dict[str, Any]]:
    settings = MatcherSettings(matcher="embedding", match_iterations=iterations)
    begin, steps, losses = time.perf_counter(), 0, []
    events = prepare_matcher(study, [case.id for case in study.cases("train")], settings, purpose="show")
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            matcher = end.value
            break
        steps += 1
        losses.append(event.data.get("loss", math.nan))
        if steps % 20 == 0:
            print(f"step {event.data['done']}: loss {np.mean(losses[-20:]):.3f}", flush=True)
    seconds = time.perf_counter() - begin
    return matcher, {
        "iterations": iterations,
        "parameters": sum(parameter.numel() for parameter in matcher.net.parameters()),
        "spacing_mm": matcher.grids.spacing,
        "seconds_a_step": round(seconds / steps, 2) if steps else None,
        "seconds": round(seconds, 1) if steps else None,
    }


def hippocampus(
    data: Path, work: Path, iterations: int, partners: int, seed: int, registration: bool
) -> dict[str, Any]:
    folder = work / "hippocampus"
    if not folder.exists():
        Study.create(folder, images=data / "images", labels=data / "labels", split=(69.3, 0, 30.7), seed=seed)
    study = Study.open(folder)
    cases = [case.id for case in study.cases("test")]
    embedding, training = trained(study, iterations)
    landmarks = {case_id: hippocampus_landmarks(study.label(case_id, purpose="evaluate").array) for case_id in cases}
    pairs = pairs_of(cases, partners, seed)
    result: dict[str, Any] = {"training_scans": study.counts()["train"], "test_scans": len(cases), "pairs": len(pairs)}
    result |= {"training": training, "partners": partners, "seed": seed}
    found = matchers(study, embedding, work / "whole", registration=registration)
    result["whole_scans"] = table(study, found, landmarks, pairs)
    parts = work / f"parts-{seed}"
    crops, starts = cut_study(study, cases, parts, 0.7, seed)
    moved = {case_id: {name: at - starts[case_id] for name, at in landmarks[case_id].items()} for case_id in cases}
    found = matchers(crops, embedding, work / "crops", registration=registration)
    result["random_70_percent_crops"] = table(crops, found, moved, pairs)
    return result


def torso(data: Path, work: Path, iterations: int, seed: int, registration: bool) -> dict[str, Any]:
    """CT to its own upper quarter, where the truth is known at every voxel; CT to MR by the centres of nine organs."""
    folder = work / "torso"
    files = [data / f"example_{name}.nii.gz" for name in ("ct", "ct_sm", "mr_sm")]
    if not folder.exists():
        Study.create(folder, images=files, split=(100, 0, 0))
    study = Study.open(folder)
    embedding, training = trained(study, iterations)
    whole, quarter, mr = "example_ct", "example_ct_sm", "example_mr_sm"
    found = matchers(study, embedding, work / "torso-maps", registration=registration)
    images = [study.image(case_id, purpose="show").array for case_id in (whole, quarter)]
    depth = len(images[1])
    # The headers of both have one origin, but the voxels say where the part was cut out.
    first = next(z for z in range(len(images[0]) - depth + 1) if np.array_equal(images[0][z : z + depth], images[1]))
    rng = np.random.default_rng(seed)
    body = np.argwhere(images[1] > -300)
    points = {f"point {i}": body[at].astype(float) for i, at in enumerate(rng.choice(len(body), 200, replace=False))}
    below = np.argwhere(images[0][: first - 8] > -300)
    gone = {f"below {i}": below[at].astype(float) for i, at in enumerate(rng.choice(len(below), 60, replace=False))}
    shift = np.array([first, 0, 0])
    same = {
        whole: {**{name: at + shift for name, at in points.items()}, **gone},
        quarter: {**points, **{name: at - shift for name, at in gone.items()}},
    }
    labels = {
        quarter: study_label(data / "example_seg.nii.gz"),
        mr: study_label(data / "example_seg_mr.nii.gz"),
    }
    organs = {
        case_id: {
            f"centre of label {value}": centre(label == value) for value in range(1, 10) if (label == value).any()
        }
        for case_id, label in labels.items()
    }
    return {
        "training": training,
        "ct_and_its_upper_quarter": table(study, found, same, [(whole, quarter), (quarter, whole)]),
        "ct_and_mr_of_another_person": table(study, found, organs, [(quarter, mr), (mr, quarter)]),
    }


def study_label(path: Path) -> np.ndarray:
    from napari_ssl_seg.volumes import read_volume

    return read_volume(path, role="label").array


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--torso-iterations", type=int, default=100)
    parser.add_argument("--partners", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("hippocampus", "torso"))
    parser.add_argument("--no-registration", action="store_true", help="leave SimpleITK out, which takes longest")
    parser.add_argument("--no-keep", action="store_true", help="print, and keep no results")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = chosen.work or Path(temporary)
        with_itk = not chosen.no_registration
        results: dict[str, Any] = {}
        if chosen.only != "torso":
            results["hippocampus"] = hippocampus(
                chosen.data / "hippocampus", work, chosen.iterations, chosen.partners, chosen.seed, with_itk
            )
        if chosen.only != "hippocampus":
            results["torso"] = torso(chosen.data / "torso", work, chosen.torso_iterations, chosen.seed, with_itk)
    if not chosen.no_keep:
        earlier = RESULTS / "anatomy_matching.json"
        if chosen.only and earlier.exists():
            import json

            results = {**json.loads(earlier.read_text()), **results}
            results.pop("circumstances", None)
        keep("anatomy_matching", results)


if __name__ == "__main__":
    main()
