"""Exports tokens from a `.vtok` file to NumPy's `.npz`; `docs/tokens.md` lists the arrays."""

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

import numpy as np
from numpy.lib import format as npy

from vtok.codec.chunk_coder import FRAMES_PER_CHUNK
from vtok.codec.latent_array import LatentArray
from vtok.codec.token_reader import TokenReader
from vtok.errors import ConfigError, TruncatedError
from vtok.model.tokenizer import VideoTokenizer
from vtok.system.atomic import check_target, open_atomically
from vtok.system.paths import StrPath
from vtok.tokens.npz_arrays import COLOR_ARRAYS, TokenFileResult

_MOST_IN_MEMORY = 1 << 24  # bytes
_DATE = (1980, 1, 1, 0, 0, 0)  # constant, so that the same tokens give the same archive


def export_npz(
    source: StrPath, target: StrPath, *, tokenizer: VideoTokenizer | None = None, overwrite: bool = False
) -> TokenFileResult:
    """Write the tokens of a `.vtok` file, with everything that is needed to make such a file from them again.

    Args:
        source: The `.vtok` file.
        target: The `.npz` file, compressed as by `numpy.savez_compressed`.
        tokenizer: Default: the one in this package that the file names.
        overwrite: Replace an existing target.

    Raises:
        VtokError: Of any kind; then nothing was written and an existing target is unchanged.
    """
    if Path(target).suffix != ".npz":
        raise ConfigError(f"{target}: unknown suffix {Path(target).suffix!r}. The name of the output ends in .npz")
    check_target(target, [source], overwrite=overwrite)
    tokens = TokenReader(source, tokenizer=tokenizer)
    if not tokens.is_complete:
        raise TruncatedError(f"{source}: the end of the file is missing")
    with open_atomically(target, overwrite=overwrite) as file:
        with zipfile.ZipFile(file, "w") as archive:
            arrays = _write_codes(archive, tokens) | _described(tokens)
            for name, array in arrays.items():
                with _member(archive, name) as member:
                    npy.write_array(member, array, allow_pickle=False)
        num_bytes = file.tell()
    return TokenFileResult(
        source=str(source),
        target=str(target),
        num_latent_frames=len(tokens),
        num_frames=tokens.num_frames,
        num_bytes=num_bytes,
    )


def _write_codes(archive: zipfile.ZipFile, tokens: TokenReader) -> dict[str, np.ndarray[Any, Any]]:
    """Write codes and motion, group by group; return the other data of the groups."""
    pts: list[int] = []
    frames_of_latent: list[int] = []
    starts_group: list[bool] = []
    qualities: list[float] = []
    # Only one member can be written at a time, so what comes after the codes waits on the disk.
    with SpooledTemporaryFile(_MOST_IN_MEMORY) as motion:
        with _member(archive, "codes") as member:
            _write_head(member, tokens)
            for group in map(tokens.group, range(tokens.num_groups)):
                for i, chunk in enumerate(group.tokens):
                    member.write(chunk.codes.data)
                    motion.write(chunk.motion.fields.astype("<i2").data)
                    frames_of_latent.append(min(FRAMES_PER_CHUNK, len(group.pts) - FRAMES_PER_CHUNK * i))
                    starts_group.append(i == 0)
                pts += group.pts
                qualities += [group.quality] * len(group.tokens)
        motion.seek(0)
        with _member(archive, "motion") as member:
            _write_head(member, tokens.motion)
            shutil.copyfileobj(motion, member)
    return {
        "pts": np.array(pts, np.int64),
        "frames_of_latent": np.array(frames_of_latent, np.uint8),
        "starts_group": np.array(starts_group, np.bool_),
        "quality": np.array(qualities, np.float64),
    }


def _write_head(member: Any, array: LatentArray) -> None:
    descr = npy.dtype_to_descr(array.dtype.newbyteorder("<"))
    npy.write_array_header_1_0(member, {"descr": descr, "fortran_order": False, "shape": array.shape})


def _described(tokens: TokenReader) -> dict[str, np.ndarray[Any, Any]]:
    """The contents of the header as arrays."""
    header = tokens.header
    names = ("width", "height", "model_name", "model_sha256", *COLOR_ARRAYS)
    arrays = {name: np.array(getattr(header, name)) for name in names}
    for name in ("time_base", "average_rate", "sample_aspect_ratio"):
        value = getattr(header, name)
        if value is not None:
            arrays[name] = np.array([value.numerator, value.denominator], np.int64)
    arrays["last_frame_ticks"] = np.array(tokens.last_frame_ticks)
    return arrays


@contextmanager
def _member(archive: zipfile.ZipFile, name: str) -> Iterator[Any]:
    """Open an array of the archive to be written piece by piece."""
    info = zipfile.ZipInfo(f"{name}.npy", _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=True) as member:
        yield member
