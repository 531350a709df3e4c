"""Verb: embed."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_ssl_seg.embedding import Embedding, FlatMap
    from napari_ssl_seg.embedding.places import What
    from napari_ssl_seg.study import Study


def embed(study: str, run: str, what: What, projection: str, most: int, out: str, device: str) -> dict[str, Any]:
    """Vectors of slices or patches by a run's encoder, and a map of them."""
    from napari_ssl_seg import embedding
    from napari_ssl_seg.commands.text import follow
    from napari_ssl_seg.study import Study

    with Study.open(study) as opened:
        chosen = opened.run(run)
        made = follow(embedding.embed(opened, chosen, what, most=most, device=device))
        flat = embedding.flatten(made.vectors, projection)
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        made.save(folder / "embedding.npz")
        _write_table(folder / "map.csv", made, flat)
        _draw(folder / "map.png", opened, made, flat)
    return {
        "run": chosen.id,
        "what": what,
        "vectors": list(made.vectors.shape),
        "axes": list(flat.axes),
        "files": [str(folder / name) for name in ("embedding.npz", "map.csv", "map.png")],
    }


def _write_table(path: Path, made: Embedding, flat: FlatMap) -> None:
    from napari_ssl_seg.files import write_text

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["case", "split", "z", "y", "x", "height", "label", "map_1", "map_2"])
    for place, label, point in zip(made.places, made.labels.tolist(), flat.points.tolist(), strict=True):
        known = "" if label < 0 else label
        writer.writerow([place.case_id, place.split, *place.centre, round(place.height, 4), known, *point])
    write_text(path, stream.getvalue())


def _draw(path: Path, study: Study, made: Embedding, flat: FlatMap) -> None:
    """The map twice: coloured by the position of the slice, and by label."""
    from PIL import Image, ImageDraw

    from napari_ssl_seg.embedding.colours import COLOURINGS, colours
    from napari_ssl_seg.files import atomic_path

    side, margin = 520, 20
    picture = Image.new("RGB", (2 * side, side), "white")
    draw = ImageDraw.Draw(picture)
    low, high = flat.points.min(axis=0), flat.points.max(axis=0)
    scale = (side - 2 * margin) / max(float((high - low).max()), 1e-12)
    for panel, name in enumerate(("slice", "label")):
        drawn = colours(name, made.places, made.labels, study.classes)
        draw.text((panel * side + margin, 4), COLOURINGS[name], fill="black")
        for (x, y), colour in zip((flat.points - low) * scale, drawn.of_points, strict=True):
            at = (panel * side + margin + x, side - margin - y)
            draw.ellipse((at[0] - 3, at[1] - 3, at[0] + 3, at[1] + 3), fill=colour)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        picture.save(file, format="PNG")
