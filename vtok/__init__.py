"""vtok: a neural video compressor whose codes are also tokens.

    import vtok

    tokenizer = vtok.VideoTokenizer.from_pretrained()
    vtok.encode_file("in.mp4", "out.vtok", quality=5)
    vtok.decode_file("out.vtok", "rec.mp4")
    vtok.open("out.vtok")[100:110]  # RGB, uint8 [10, 3, h, w]
    vtok.open("out.vtok").tokens[10:20]  # uint8 [10, n, H, W]
    vtok.TokenDataset("coded/", num_latents=4)  # windows of them, for training

Symbols in shapes, everywhere in the package: `b` batch, `c` channels, `t h w` frames and pixels, `T H W` latent frames
and positions, `n` codebooks (channels of codes).

Names are imported when they are first used: `import vtok` alone does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vtok.errors import VtokError
from vtok.version import __version__

if TYPE_CHECKING:
    from vtok.codec.decoder import VideoDecoder, open
    from vtok.codec.token_reader import TokenReader
    from vtok.files.coding import decode_file, encode_file
    from vtok.measure.stats import file_stats
    from vtok.model.tokenizer import LossBreakdown, VideoTokenizer
    from vtok.tokens.dataset import TokenDataset

__all__ = [
    "LossBreakdown",
    "TokenDataset",
    "TokenReader",
    "VideoDecoder",
    "VideoTokenizer",
    "VtokError",
    "__version__",
    "decode_file",
    "encode_file",
    "file_stats",
    "open",
]

_HOMES = {
    "LossBreakdown": "vtok.model.tokenizer",
    "TokenDataset": "vtok.tokens.dataset",
    "TokenReader": "vtok.codec.token_reader",
    "VideoDecoder": "vtok.codec.decoder",
    "VideoTokenizer": "vtok.model.tokenizer",
    "decode_file": "vtok.files.coding",
    "encode_file": "vtok.files.coding",
    "file_stats": "vtok.measure.stats",
    "open": "vtok.codec.decoder",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vtok' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
