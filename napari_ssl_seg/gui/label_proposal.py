"""A proposal in the viewer: dimmed outlines in the colours of the classes, in a layer of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ssl_seg.gui import layers as layers_
from napari_ssl_seg.gui.label_regions import GROUP

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_ssl_seg.gui.label_layer import LabelLayer
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.labelling import Labelling
    from napari_ssl_seg.workbench.labelling_proposal import Proposing

ROLE, DIMMED, WIDTH = "proposal", 0.75, 1


class ProposalLayer:
    """``CASE | proposal``, there as long as something waits."""

    def __init__(
        self, viewer: ViewerModel, workbench: Workbench, labelling: Labelling, labels: LabelLayer, proposing: Proposing
    ) -> None:
        self._viewer, self._workbench, self._labelling, self._labels = viewer, workbench, labelling, labels
        self._proposing = proposing
        proposing.changed.connect(self.show)

    def show(self) -> None:
        """Show what waits."""
        case, proposal = self._labelling.case, self._proposing.proposal
        if case is None or proposal is None:
            layers = layers_.own_layers(self._viewer, group=GROUP)
            layers_.remove_own(
                self._viewer, [layer for layer in layers if (layers_.layer_tag(layer) or {}).get("role") == ROLE]
            )
            return
        layers_.show_labels(
            self._viewer,
            layers_.layer_name(case.case_id, ROLE),
            proposal.labels,
            placement=case.placement,
            tag={"case": case.case_id, "group": GROUP, "role": ROLE},
            colours=layers_.class_colours(self._workbench.classes),
            contour=WIDTH,
            opacity=DIMMED,
        )
        self._labels.select()
