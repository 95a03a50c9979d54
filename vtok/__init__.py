"""vtok: a neural video compressor whose codes are also tokens.

    import vtok

    tokenizer = vtok.VideoTokenizer.from_pretrained()
    vtok.encode_file("in.mp4", "out.vtok", quality=5)
    vtok.decode_file("out.vtok", "rec.mp4")
    vtok.open("out.vtok")[100:110]  # RGB, uint8 [10, 3, h, w]
    vtok.open("out.vtok").tokens[10:20]  # uint8 [10, n, H, W]
    vtok.TokenDataset("coded/", num_latents=4)  # windows of tokens, for training

Symbols in shapes, everywhere in the package: `b` batch, `c` channels, `t h w` frames and pixels, `T H W` latent frames
and positions, `n` codebooks (channels of codes).

Names are imported on first use: `import vtok` alone does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vtok.errors import VtokError
from vtok.version import __version__

if TYPE_CHECKING:
    from vtok.batch.plan import BatchResult, JobResult
    from vtok.benchmark.preview import Preview, preview_file
    from vtok.codec.decoder import VideoDecoder, open
    from vtok.codec.token_reader import TokenReader
    from vtok.container.verification import Verification, verify_file
    from vtok.files.concat import concat_files
    from vtok.files.cut import cut_file
    from vtok.files.decode import DecodeResult, decode_file
    from vtok.files.edited_file import EditResult
    from vtok.files.encode import encode_file
    from vtok.files.encoded_file import EncodeResult
    from vtok.files.estimate import Estimate, estimate_file
    from vtok.files.goals import GoalReport
    from vtok.files.inspection import FileInfo, file_info
    from vtok.files.play import Playback, play_file
    from vtok.measure.comparison import Comparison, compare_files
    from vtok.measure.stats import FileStats, file_stats
    from vtok.model.tokenizer import VideoTokenizer
    from vtok.networks.losses import LossBreakdown
    from vtok.tokens.dataset import TokenDataset
    from vtok.tokens.npz_arrays import TokenFileResult
    from vtok.tokens.shards import ShardResult

__all__ = [
    "BatchResult",
    "Comparison",
    "DecodeResult",
    "EditResult",
    "EncodeResult",
    "Estimate",
    "FileInfo",
    "FileStats",
    "GoalReport",
    "JobResult",
    "LossBreakdown",
    "Playback",
    "Preview",
    "ShardResult",
    "TokenDataset",
    "TokenFileResult",
    "TokenReader",
    "Verification",
    "VideoDecoder",
    "VideoTokenizer",
    "VtokError",
    "__version__",
    "compare_files",
    "concat_files",
    "cut_file",
    "decode_file",
    "encode_file",
    "estimate_file",
    "file_info",
    "file_stats",
    "open",
    "play_file",
    "preview_file",
    "verify_file",
]

_HOMES = {
    "BatchResult": "vtok.batch.plan",
    "Comparison": "vtok.measure.comparison",
    "DecodeResult": "vtok.files.decode",
    "EditResult": "vtok.files.edited_file",
    "EncodeResult": "vtok.files.encoded_file",
    "Estimate": "vtok.files.estimate",
    "FileInfo": "vtok.files.inspection",
    "FileStats": "vtok.measure.stats",
    "GoalReport": "vtok.files.goals",
    "JobResult": "vtok.batch.plan",
    "LossBreakdown": "vtok.networks.losses",
    "Playback": "vtok.files.play",
    "Preview": "vtok.benchmark.preview",
    "ShardResult": "vtok.tokens.shards",
    "TokenDataset": "vtok.tokens.dataset",
    "TokenFileResult": "vtok.tokens.npz_arrays",
    "TokenReader": "vtok.codec.token_reader",
    "Verification": "vtok.container.verification",
    "VideoDecoder": "vtok.codec.decoder",
    "VideoTokenizer": "vtok.model.tokenizer",
    "compare_files": "vtok.measure.comparison",
    "concat_files": "vtok.files.concat",
    "cut_file": "vtok.files.cut",
    "decode_file": "vtok.files.decode",
    "encode_file": "vtok.files.encode",
    "estimate_file": "vtok.files.estimate",
    "file_info": "vtok.files.inspection",
    "file_stats": "vtok.measure.stats",
    "open": "vtok.codec.decoder",
    "play_file": "vtok.files.play",
    "preview_file": "vtok.benchmark.preview",
    "verify_file": "vtok.container.verification",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vtok' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
