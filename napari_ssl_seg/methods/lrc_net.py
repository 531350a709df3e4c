"""What LRC pretrains: a U-Net for the local contrast, and an encoder for the global one. They share nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods.lrc_config import CONTRASTS
from napari_ssl_seg.methods.registry import get_method
from napari_ssl_seg.networks.pair import Branch, UNetPair, global_unet
from napari_ssl_seg.networks.unet import UNet

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.methods.lrc_config import LRCConfig
    from napari_ssl_seg.methods.siamese import Siamese
    from napari_ssl_seg.methods.siamese_net import SiameseNet
    from napari_ssl_seg.networks.resnet_unet import ResNetUNet


class LRCNet(nn.Module):
    """``local``: encoder, decoder and 1x1 convolution to D features; ``global_contrast``: a contrast around another encoder.

    In the control ``local_contrast``, such a contrast around the local branch's encoder, stands in the place of ``local``.
    """

    def __init__(self, network: nn.Module, config: LRCConfig) -> None:
        super().__init__()
        local, other = _unets(network, config)
        self.local: Branch | None = None
        self.local_contrast: SiameseNet | None = None
        self.global_contrast: SiameseNet | None = None
        if config.local_contrast == "regions":
            self.local = Branch(local, config.features)
        else:
            self.local_contrast = global_method(config).build(local)  # type: ignore[assignment]
        if config.global_contrast != "none":
            self.global_contrast = global_method(config).build(other.drop_decoder())  # type: ignore[assignment]

    @property
    def contrasts(self) -> dict[str, SiameseNet]:
        """Contrasts of whole slices, by branch."""
        both = {"local": self.local_contrast, "global": self.global_contrast}
        return {name: contrast for name, contrast in both.items() if contrast is not None}

    def transfer(self) -> dict[str, Tensor]:
        """The trained part of a `UNetPair`, under its names: all of the local branch, the encoder of the global one; in the
        control both encoders."""
        handed: dict[str, Tensor] = {}
        if self.local is not None:
            handed |= {f"local.{name}": tensor for name, tensor in self.local.state_dict().items()}
        for branch, contrast in self.contrasts.items():
            place = "local" if branch == "local" else "global_"
            handed |= {f"{place}.unet.{name}": tensor for name, tensor in contrast.backbone.state_dict().items()}
        return {name: tensor.detach().clone() for name, tensor in handed.items()}


def global_method(config: LRCConfig) -> Siamese:
    """The method that the global contrast names, with those of its settings that LRC has."""
    name = config.global_contrast
    settings: dict[str, Any] = {}
    if name in CONTRASTS:
        settings = {"projection": config.projection}
        if config.global_temperature:
            settings["temperature"] = config.global_temperature
    if name == "moco":
        settings |= {"version": config.moco, "queue": config.queue, "momentum": config.momentum}
    elif name == "densecl":
        settings |= {"queue": max(1, config.queue), "momentum": config.momentum}
    return get_method(name, settings)  # type: ignore[return-value]


def _unets(network: nn.Module, config: LRCConfig) -> tuple[UNet, UNet | ResNetUNet]:
    """The networks of the two branches, with weights of their own."""
    if isinstance(network, UNetPair):
        local = network.local.unet
    elif isinstance(network, UNet):
        local = network
    else:
        raise UserError("LRC works on the networks unet and unet_pair; choose one of these")
    assert isinstance(local, UNet)
    return local, global_unet(local, config.features, config.global_encoder)
