"""Windows of tokens as tar shards in the format of WebDataset, for training that reads file after file.

A sample consists of `KEY.tokens.npy`, uint8 `[T, n, H, W]`, `KEY.motion.npy`, int16 `[T, 8, 2, rows, columns]`, and
`KEY.json`, the other fields of a `TokenItem`.
"""

import importlib
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtok.errors import ConfigError, MediaError, writing
from vtok.system.atomic import check_target, create, move_together
from vtok.system.paths import StrPath
from vtok.tokens.dataset import TokenDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """Result of `export_shards`.

    Attributes:
        target: The folder.
        shards: The files that were written, in order.
        num_samples: Number of samples in the shards.
        num_bytes: Size of all shards.
        skipped: Files that are left out: `path` and `reason` of each.
    """

    target: str
    shards: list[str]
    num_samples: int
    num_bytes: int
    skipped: list[dict[str, str]]

    def summary(self) -> str:
        """One line for people."""
        return f"{self.target}: {self.num_samples} samples in {len(self.shards)} shards, {self.num_bytes} bytes"


def export_shards(
    dataset: TokenDataset, folder: StrPath, *, samples_per_shard: int = 256, overwrite: bool = False
) -> ShardResult:
    """Write all windows of a data set, in order, as `tokens-000000.tar`, `tokens-000001.tar` and so on.

    When all shards are complete they get their names, together. `vtok.system.atomic.move_together` says what a run that
    is killed just then may leave.

    Args:
        dataset: The windows.
        folder: The folder of the shards, made if it is missing.
        samples_per_shard: Windows per file.
        overwrite: Replace existing shards.

    Raises:
        ConfigError: The package webdataset is not installed; or `overwrite` is false, and there are shards already, or
            in the end.
        VtokError: Of any other kind; then nothing was written and existing shards are as they were.
    """
    webdataset = _webdataset()
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"{folder}: cannot be made: {error.strerror}") from error
    starts = range(0, len(dataset), samples_per_shard)
    shards = [folder / f"tokens-{number:06d}.tar" for number in range(len(starts))]
    for shard in shards:
        check_target(shard, [], overwrite=overwrite)
    if others := sorted(set(folder.glob("tokens-*.tar")) - set(shards)):
        raise ConfigError(f"{others[0]}: is of another, longer export. Give a folder without shards")
    place = folder / f".vtok-{secrets.token_hex(8)}"
    try:
        with writing(folder):
            place.mkdir()
        for shard, start in zip(shards, starts, strict=True):
            samples = range(start, min(start + samples_per_shard, len(dataset)))
            with (
                create(place / shard.name, shard) as file,
                webdataset.TarWriter(file, user="", group="", mtime=0) as tar,
            ):
                for index in samples:
                    tar.write(_sample(dataset, index))
        with writing(folder):
            move_together({place / shard.name: shard for shard in shards}, overwrite=overwrite)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return ShardResult(
        target=str(folder),
        shards=[str(shard) for shard in shards],
        num_samples=len(dataset),
        num_bytes=sum(shard.stat().st_size for shard in shards),
        skipped=[file._asdict() for file in dataset.skipped],
    )


def _sample(dataset: TokenDataset, index: int) -> dict[str, Any]:
    """A window in WebDataset's form. The key has no dot, because WebDataset takes what follows one for a suffix."""
    window = dataset[index]
    item: dict[str, Any] = {**window, "quality": window["quality"].tolist()}
    arrays = {f"{name}.npy": item.pop(name).numpy() for name in ("tokens", "motion")}
    name = re.sub(r"[^\w-]", "_", Path(item["path"]).stem, flags=re.ASCII)[:40]
    return {"__key__": f"{index:09d}-{name}-{item['first_latent']:06d}", **arrays, "json": item}


def _webdataset() -> Any:
    try:
        return importlib.import_module("webdataset")
    except ImportError as error:
        raise ConfigError("shards need the package webdataset: pip install 'vtok[webdataset]'") from error
