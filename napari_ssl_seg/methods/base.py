"""What every pretext method is made of.

A method is a small object with a frozen config. Its `pretext` turns a batch of patches into what the network gets, what
the loss compares with, and the views that show both: the trainer and the inspector call the same function.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    import torch
    from torch import Tensor, nn

    from napari_ssl_seg.anatomy.matching import Match, PointMatcher
    from napari_ssl_seg.networks.spec import NetworkSpec
    from napari_ssl_seg.pretext.crop import RegionCut
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event

ViewKind = Literal["image", "labels", "mask", "boxes", "points", "curve", "matrix", "table"]


class MethodConfig(BaseModel):
    """Base of every method's hyper-parameters.

    Each field carries the paper's default, bounds, one line of help (``description``), a ``title``, and in
    ``json_schema_extra`` optionally ``unit``, ``basic=True`` (shown at once; the others are folded away) and
    ``when={"other field": [values]}`` (the field counts, and is shown, with those values only).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Needs:
    """What a sample must carry."""

    partner: bool = False
    """A second patch of another scan, for each patch (Volume Fusion, FDAS)."""
    matched: bool = False
    """That second patch shows the same part of the body: it lies around the point that matches the middle of the first
    (Alice). Where nobody prepared a matcher it is any patch."""
    regions: bool = False
    """An integer map of regions on the same grid (FDAS, LRC)."""
    companions: int = 0
    """How many other patches the inspector puts beside the one it shows, for methods that compare or mix the patches of a
    batch (FDAS); the trainer's batches have theirs anyway."""

    @property
    def paired(self) -> bool:
        """Whether each patch comes with one of another scan."""
        return self.partner or self.matched


@dataclass(frozen=True)
class Surroundings:
    """The slices of a patch, zoomed out in plane until the whole scan is in view; of the patch's own shape."""

    image: Tensor
    """(B, C, *spatial)."""
    box: Tensor
    """(B, 1, 2 * dims): where the patch lies in it, start and stop of each axis."""


@dataclass(frozen=True)
class Batch:
    """Patches as they come from the scans, on the training device.

    ``image`` and ``partner`` have shape (B, C, H, W) or (B, C, D, H, W), normalised; ``origins`` holds for each sample
    the index (z, y, x) of the patch's first voxel in its scan (it may be negative where the patch was padded).
    ``regions`` is int64 (B, *spatial): 1, 2 ... by descending area in the slice, 0 where there is none, -1 outside the scan;
    ``submasks`` is likewise what the regions were before they were merged, where a method merges them.

    Where the partners are matched crops, ``points`` holds the middle voxel (z, y, x) of each patch in its scan,
    ``partner_points`` that of its partner, and ``matches`` what the matcher said; ``draws`` counts the points that were tried
    until one was accepted.
    """

    image: Tensor
    case_ids: tuple[str, ...]
    origins: tuple[tuple[int, int, int], ...]
    partner: Tensor | None = None
    partner_ids: tuple[str, ...] = ()
    regions: Tensor | None = None
    submasks: Tensor | None = None
    partner_origins: tuple[tuple[int, int, int], ...] = ()
    points: tuple[tuple[int, int, int], ...] = ()
    partner_points: tuple[tuple[int, int, int], ...] = ()
    matches: tuple[Match, ...] = ()
    draws: tuple[int, ...] = ()
    surroundings: tuple[Surroundings, Surroundings] | None = None
    """Of patch and partner, for the inspector only."""

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        around = self.surroundings
        return replace(
            self,
            image=self.image.to(device, non_blocking=True),
            partner=move(self.partner),
            regions=move(self.regions),
            submasks=move(self.submasks),
            surroundings=None
            if around is None
            else (
                Surroundings(around[0].image.to(device), around[0].box.to(device)),
                Surroundings(around[1].image.to(device), around[1].box.to(device)),
            ),
        )


@dataclass(frozen=True)
class View:
    """Something to look at: a tensor that the pretext made or used, never a copy made for display.

    ``data`` is (B, C, *spatial) for images, (B, *spatial) for label maps and masks, (B, N, 2 * dims) for boxes (start and
    stop of each axis, in voxels of the patch; a box without extent is none), (B, N, dims) for points (voxels of the patch),
    (N, 2) for curves (a row of NaN parts two lines), (rows, columns) for matrices, and a mapping from words to numbers for tables.
    """

    name: str
    title: str
    kind: ViewKind
    data: Any
    range: tuple[float, float] | None = None
    """Values drawn as black and white; None: those of the scan, which `inspection.inspect` fills in."""
    over: str | None = None
    """Name of the image view that boxes or points are drawn on; None: the first one."""


@dataclass(frozen=True)
class Pretext:
    """One batch as a method sees it."""

    inputs: Tensor
    """What the network gets, (B, C, *spatial)."""
    targets: Mapping[str, Tensor]
    """What the loss compares with, by name."""
    views: tuple[View, ...] = ()
    """In the order of the method's own pipeline."""
    stats: Mapping[str, float] = field(default_factory=dict)
    """Named numbers: share masked, boxes, coverage ..."""


@dataclass(frozen=True)
class Losses:
    """``total`` is what is minimised; ``parts`` are named, detached or not."""

    total: Tensor
    parts: Mapping[str, Tensor]


@dataclass(frozen=True)
class Prepared:
    """What `Method.prepare` leaves: everything that a run needs to know of the study beside its scans."""

    method: Method
    """With nothing left open: the number of channels, the source of the regions, the length of a queue ..."""
    regions_of: Callable[[str], RegionCut | None] | None = None
    """The region maps of a case, read slice by slice; None for a case that has none (yet)."""
    submasks_of: Callable[[str], RegionCut | None] | None = None
    """The same before they were merged."""
    matcher: PointMatcher | None = None
    """Who finds a point of one scan in another one, for matched crops."""
    warnings: tuple[str, ...] = ()
    """Sentences that the user should see."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Plain values, kept with the run: source of the regions, regions a slice ..."""


class Method(ABC):
    """A pretext method with its config.

    ``pretext`` is pure: the same batch and generator state give the same result, on the device of the batch.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    dims: ClassVar[frozenset[int]]
    Config: ClassVar[type[MethodConfig]]
    networks: ClassVar[tuple[str, ...]] = ()
    """Names of the networks that it can pretrain, the one taken by default first; empty: any."""
    needs: ClassVar[Needs] = Needs()
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Settings under a name, such as the rows of the paper's ablation, for ``compare --methods NAME:VARIANT``."""
    training: ClassVar[Mapping[str, Any]] = {}
    """Settings of a pretraining (`training.PretrainSettings`, by name) that stand in place of the general defaults where nobody
    chose another value: what the method's own optimiser needs."""
    validated: ClassVar[bool] = False
    """Whether `validate` scores the pretext task; a pretraining then does so now and then, on the same samples throughout."""

    joint: ClassVar[bool] = False
    """Whether a fine-tuning can train it beside its supervised loss (`training.joint`). Such a method has `companion`, takes
    in `loss`, `after_step` and `output_views` any model with a ``backbone`` and that ``companion``, leaves the view of the
    scan that is segmented in the target ``mu``, and its config has ``mod_weight``, ``supervised`` and ``unlabelled``."""

    def __init__(self, config: MethodConfig | None = None) -> None:
        self.config: Any = config if config is not None else self.Config()

    def prepare(self, study: Study, case_ids: Sequence[str]) -> Generator[Event, None, Prepared]:
        """Make what the samples of these cases need, once a study, into its cache; progress events on the way.

        Called before the first step of a run, and again when it goes on: what is in the cache is not made again.
        """
        return Prepared(self)
        yield

    def prepare_slice(self, study: Study, case_id: str, index: int) -> Prepared:
        """The same for one slice of one case at once, for the inspector; no slower than a slider may be."""
        return Prepared(self)

    def on_network(self, spec: NetworkSpec) -> Method:
        """This method with what its samples take from the network that it trains, such as the size of a token."""
        return self

    def sampled(self, spec: NetworkSpec) -> NetworkSpec:
        """``spec`` with the patch that samples are drawn at: the network's, but for methods that cut smaller ones out of it."""
        return spec

    def fitted_to(self, trained: Method) -> Method:
        """This method with those settings of ``trained`` that shape its model, so as to look at what that model makes of a
        sample drawn with the settings of this one."""
        return self

    def finetuning_spec(self, spec: NetworkSpec) -> NetworkSpec:
        """The network that a fine-tuning from this pretraining builds, where it differs from the one pretrained on."""
        return spec

    @abstractmethod
    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Make the training sample, and the views of it."""

    @abstractmethod
    def build(self, network: nn.Module) -> nn.Module:
        """Put the method's heads on a backbone."""

    @abstractmethod
    def loss(self, model: nn.Module, pretext: Pretext) -> Losses:
        """Run the model and compare."""

    def after_step(self, model: nn.Module, step: int, total: int) -> None:  # noqa: B027
        """Update what is not trained by gradients (EMA, queues); usually nothing."""

    def remarks(self, model: nn.Module) -> tuple[str, ...]:
        """What the user should be told after a step, a sentence each; each is said once."""
        return ()

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """What a trained model makes of the sample (reconstruction, predicted classes, error); usually shown after `pretext.views`."""
        return ()

    def validate(self, model: nn.Module, pretexts: Iterable[Pretext]) -> dict[str, float]:
        """Scores by name of a model in eval mode on some samples; Dice of the pretext's own classes, NaN where undefined.

        Of the pretext alone: such a Dice says nothing of how well the model will segment.
        """
        return {}

    def transfer(self, model: nn.Module) -> dict[str, Tensor]:
        """What fine-tuning starts from: the backbone's weights, encoder and decoder, under the backbone's own names.

        A method whose model holds the backbone elsewhere than in ``model.backbone`` overrides this; names are those of the
        backbone of `finetuning_spec`, and what is not among them stays random.
        """
        backbone: nn.Module = model.get_submodule("backbone")
        return {name: tensor.detach().clone() for name, tensor in backbone.state_dict().items()}
