"""Cuts videos into clips as `vtok train` does, and compresses the clips for a machine that has no videos.

python tools/gpu/pack_clips.py VIDEOS VALIDATION -o packs/first --config vtok/training/gpu.toml
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from clip_pack import SPLITS, pack

from vtok.errors import VtokError
from vtok.training.clip_cache import build_clip_cache, find_videos
from vtok.training.config import load_config


def pack_clips(
    videos: Annotated[Path, typer.Argument(help="Folder of videos to train on.")],
    validation: Annotated[Path, typer.Argument(help="Folder of videos to validate on; none of them in VIDEOS.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the pack.")],
    megabytes: Annotated[float, typer.Option(help="The clips take no more, in units of 1,000,000 bytes.", min=0)] = 40,
    crf: Annotated[int, typer.Option(help="Constant rate factor of AV1; the lower, the better.", min=1, max=63)] = 20,
    config: Annotated[Path | None, typer.Option(help="TOML file; see vtok/training/gpu.toml.")] = None,
) -> None:
    """Make a pack of the clips of two folders of videos."""
    begun = time.monotonic()
    knobs = load_config(config)
    with tempfile.TemporaryDirectory(prefix="vtok-pack-") as temporary:
        caches = {split: Path(temporary) / split for split in SPLITS}
        for split, folder, how in zip(SPLITS, (videos, validation), (knobs.cache, knobs.validation_cache), strict=True):
            build_clip_cache(find_videos(folder), caches[split], how)
        for split, packed in pack(caches, output, crf=crf, num_bytes=int(megabytes * 1e6)).items():
            print(
                f"{split}: {packed.count} of {packed.available} clips, {packed.num_bytes / 1e6:.2f} MB,"
                f" mean PSNR {packed.psnr:.2f} dB at crf {crf}"
            )
            if packed.count < packed.available:
                left_out = packed.available - packed.count
                print(
                    f"{split}: {left_out} clips, evenly spread, did not fit; --megabytes or a higher --crf takes more"
                )
    print(f"packed in {time.monotonic() - begun:.0f} s: {output}")


if __name__ == "__main__":
    try:
        typer.run(pack_clips)
    except VtokError as error:
        raise SystemExit(f"pack_clips: error: {error}") from None
