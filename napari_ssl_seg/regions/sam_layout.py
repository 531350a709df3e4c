"""How a Segment Anything network is built, read off the shapes of its tensors.

One loader thereby serves vit_b, vit_l, vit_h, weights fine-tuned from them (MedSAM), and the small networks of the tests.
Only the number of the decoder's heads leaves no trace in any shape; it is 8 in every published one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.regions.sam_files import sam_modeling

if TYPE_CHECKING:
    from collections.abc import Mapping

Shape = tuple[int, ...]

DECODER_HEADS = 8
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
BACKBONES = {(768, 12): "vit_b", (1024, 24): "vit_l", (1280, 32): "vit_h"}
_ENCODER = "image_encoder."
_DECODER = "mask_decoder."
_LARGEST_SIDE = 4096
_LARGEST_DEPTH = 256


@dataclass(frozen=True)
class SamLayout:
    """Sizes of one network; ``image_size`` is the side of the encoder's square input in pixels."""

    image_size: int
    patch: int
    width: int
    depth: int
    heads: int
    window: int
    global_blocks: tuple[int, ...]
    mlp_ratio: float
    qkv_bias: bool
    embedding: int
    mask_channels: int
    decoder_depth: int
    decoder_mlp: int
    decoder_downsampling: int
    iou_depth: int
    iou_hidden: int
    masks_per_point: int

    @property
    def backbone(self) -> str | None:
        """``vit_b``, ``vit_l`` or ``vit_h``; None for any other size."""
        return BACKBONES.get((self.width, self.depth))


def infer_layout(shapes: Mapping[str, Shape]) -> SamLayout:
    """The layout that tensors of these names and shapes belong to.

    Raises
    ------
    UserError
        When they are not those of such a network. The message ends a sentence that began with the file.
    """
    try:
        return _infer(shapes)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"holds no Segment Anything network ({_reason(error)})") from error


def build_sam(layout: SamLayout, *, empty: bool = False) -> Any:
    """The network (``modeling.Sam``, in evaluation mode) of this layout.

    Parameters
    ----------
    empty : bool
        Without memory for the weights (torch's meta device): to be filled by ``load_state_dict(assign=True)``.
    """
    import torch

    modeling = sam_modeling()
    grid = layout.image_size // layout.patch
    with torch.device("meta" if empty else "cpu"):
        encoder = modeling.ImageEncoderViT(
            depth=layout.depth,
            embed_dim=layout.width,
            img_size=layout.image_size,
            mlp_ratio=layout.mlp_ratio,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=layout.heads,
            patch_size=layout.patch,
            qkv_bias=layout.qkv_bias,
            use_rel_pos=True,
            global_attn_indexes=layout.global_blocks,
            window_size=layout.window,
            out_chans=layout.embedding,
        )
        prompts = modeling.PromptEncoder(
            embed_dim=layout.embedding,
            image_embedding_size=(grid, grid),
            input_image_size=(layout.image_size, layout.image_size),
            mask_in_chans=layout.mask_channels,
        )
        decoder = modeling.MaskDecoder(
            num_multimask_outputs=layout.masks_per_point,
            transformer=modeling.TwoWayTransformer(
                depth=layout.decoder_depth,
                embedding_dim=layout.embedding,
                mlp_dim=layout.decoder_mlp,
                num_heads=DECODER_HEADS,
                attention_downsample_rate=layout.decoder_downsampling,
            ),
            transformer_dim=layout.embedding,
            iou_head_depth=layout.iou_depth,
            iou_head_hidden_dim=layout.iou_hidden,
        )
    # outside: the two buffers for the grey levels are in no checkpoint and must be real
    sam = modeling.Sam(encoder, prompts, decoder, pixel_mean=list(PIXEL_MEAN), pixel_std=list(PIXEL_STD))
    return sam.eval().requires_grad_(False)


def _infer(shapes: Mapping[str, Shape]) -> SamLayout:
    width, channels, patch, patch_x = _of(shapes, f"{_ENCODER}patch_embed.proj.weight", 4)
    _, rows, columns, _ = _of(shapes, f"{_ENCODER}pos_embed", 4)
    _expect(channels == 3 and patch == patch_x and patch > 0, "its patches are not square and of three colours")
    _expect(rows == columns and 0 < rows * patch <= _LARGEST_SIDE, f"its images would be {rows * patch} pixels wide")
    depth = _count(shapes, f"{_ENCODER}blocks.", ".attn.rel_pos_h")
    decoder_depth = _count(shapes, f"{_DECODER}transformer.layers.", ".norm1.weight")
    _expect(
        0 < depth <= _LARGEST_DEPTH and 0 < decoder_depth <= _LARGEST_DEPTH, "it has no blocks with relative positions"
    )
    tables = [_of(shapes, f"{_ENCODER}blocks.{index}.attn.rel_pos_h", 2) for index in range(depth)]
    reach = [(length + 1) // 2 for length, _ in tables]
    windows = sorted({value for value in reach if value != rows})
    _expect(len(windows) <= 1, "its blocks have windows of different sizes")
    head = tables[0][1]
    embedding = _of(shapes, f"{_ENCODER}neck.0.weight", 4)[0]
    inner = _of(shapes, f"{_DECODER}transformer.layers.0.cross_attn_token_to_image.q_proj.weight", 2)[0]
    _expect(head > 0 and width % head == 0, "its width is no multiple of its heads'")
    _expect(inner % DECODER_HEADS == 0 and embedding % inner == 0, f"its decoder does not have {DECODER_HEADS} heads")
    return SamLayout(
        image_size=rows * patch,
        patch=patch,
        width=width,
        depth=depth,
        heads=width // head,
        window=windows[0] if windows else rows,
        global_blocks=tuple(index for index, value in enumerate(reach) if value == rows),
        mlp_ratio=_of(shapes, f"{_ENCODER}blocks.0.mlp.lin1.weight", 2)[0] / width,
        qkv_bias=f"{_ENCODER}blocks.0.attn.qkv.bias" in shapes,
        embedding=embedding,
        mask_channels=_of(shapes, "prompt_encoder.mask_downscaling.3.weight", 4)[0],
        decoder_depth=decoder_depth,
        decoder_mlp=_of(shapes, f"{_DECODER}transformer.layers.0.mlp.lin1.weight", 2)[0],
        decoder_downsampling=embedding // inner,
        iou_depth=_count(shapes, f"{_DECODER}iou_prediction_head.layers.", ".weight"),
        iou_hidden=_of(shapes, f"{_DECODER}iou_prediction_head.layers.0.weight", 2)[0],
        masks_per_point=_of(shapes, f"{_DECODER}mask_tokens.weight", 2)[0] - 1,
    )


def _of(shapes: Mapping[str, Shape], name: str, dims: int) -> Shape:
    shape = shapes[name]
    _expect(len(shape) == dims, f"{name} has {len(shape)} dimensions instead of {dims}")
    return shape


def _count(shapes: Mapping[str, Shape], prefix: str, suffix: str) -> int:
    count = 0
    while f"{prefix}{count}{suffix}" in shapes:
        count += 1
    return count


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _reason(error: Exception) -> str:
    return f"there is no {error.args[0]}" if isinstance(error, KeyError) else str(error)
