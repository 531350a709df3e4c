"""The networks beside the U-Nets, by name."""

from __future__ import annotations

from napari_ssl_seg.networks.monai_layouts import DYNUNET, SWIN_UNETR, UNETR
from napari_ssl_seg.networks.pct_layout import FAMILY as PCTNET

FAMILIES = {family.name: family for family in (PCTNET, UNETR, SWIN_UNETR, DYNUNET)}
