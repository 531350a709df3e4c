"""What LRC pretrains: a U-Net for the local contrast, and an encoder for the global one. They share nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods.contrast import MomentumContrast
from napari_ssl_seg.networks.pair import Branch, UNetPair, global_unet
from napari_ssl_seg.networks.unet import UNet

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.methods.lrc_config import LRCConfig
    from napari_ssl_seg.networks.resnet_unet import ResNetUNet


class LRCNet(nn.Module):
    """``local``: encoder, decoder and 1x1 convolution to D features; ``global_contrast``: MoCo around another encoder."""

    def __init__(self, network: nn.Module, config: LRCConfig) -> None:
        super().__init__()
        local, other = _unets(network, config)
        self.local = Branch(local, config.features)
        self.global_contrast: MomentumContrast | None = None
        if config.global_contrast == "moco":
            self.global_contrast = MomentumContrast(
                other.drop_decoder(),
                features=config.projection,
                layers=1 if config.moco == "v1" else 2,
                queue=config.queue,
                momentum=config.momentum,
                temperature=config.moco_temperature,
            )

    def transfer(self) -> dict[str, Tensor]:
        """The trained part of a `UNetPair`, under its names: all of the local branch, the encoder of the global one."""
        handed = {f"local.{name}": tensor for name, tensor in self.local.state_dict().items()}
        if self.global_contrast is not None:
            encoder = self.global_contrast.encoder.backbone
            handed |= {f"global_.unet.{name}": tensor for name, tensor in encoder.state_dict().items()}
        return {name: tensor.detach().clone() for name, tensor in handed.items()}


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
