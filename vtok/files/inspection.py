"""Describes a `.vtok` file, by its header and index. This needs neither the model nor torch."""

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from vtok.codec.file_index import FileIndex
from vtok.errors import FormatError
from vtok.model.registry import model_with_hash
from vtok.system.paths import StrPath
from vtok.system.sources import ByteSource
from vtok.video.tracks import AudioTrack, Track
from vtok.video.values import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """Description of a file.

    Attributes:
        path: The file.
        num_bytes: Size of the file.
        num_track_bytes: Bytes of sound and subtitles in the file.
        num_motion_bytes: Bytes of motion in the file; None if that is not known.
        writer: Program and version that wrote the file.
        model_name: The model of the codes.
        model_sha256: Hash of the model's tensors.
        has_model: Whether that model is at hand, so that the file can be decoded without naming it.
        quality: Quality setting, the mean of the frames; None without frames, or if a group's beginning is damaged.
        entropy_coder: Name of the entropy coder.
        width: Columns of pixels.
        height: Rows of pixels.
        sample_aspect_ratio: Width of a pixel over its height, as a fraction.
        color_range: 0 unspecified, 1 limited, 2 full.
        color_matrix: Matrix coefficients of H.273; 2 unspecified.
        color_primaries: Colour primaries of H.273; 2 unspecified.
        color_transfer: Transfer characteristics of H.273; 2 unspecified.
        time_base: Seconds per unit of the timestamps, as a fraction.
        average_rate: Frames per second, a hint, as a fraction; None if the source did not declare it.
        tags: Title, date and so on.
        num_frames: Number of frames.
        num_latent_frames: Number of latent frames.
        codes_per_latent_frame: Number of codes in each latent frame, one byte each before entropy coding.
        duration_seconds: Time from the first frame's timestamp to the end of the last; None if one of them is damaged.
        kbit_per_second: 8e-3 x bytes / duration.
        bits_per_pixel: 8 x bytes without sound and subtitles / (width x height x frames); None without frames.
        is_complete: Whether the file has its end.
        audio_tracks: For each audio track its `codec`, `sample_rate` in Hz, `channel_layout`, `bit_rate` (0 if the
            source did not declare it), `disposition` and `tags`.
        subtitle_tracks: For each track of subtitles its `codec`, `disposition` and `tags`.
        chapters: For each chapter its `start_seconds` and `end_seconds` on the clock of the timestamps, and its `tags`.
        groups: For each group of frames its chunk's `sequence` number and `byte_offset`, `first_frame`, `num_frames`,
            and its `quality` (not if `quality` is None).
    """

    path: str
    num_bytes: int
    num_track_bytes: int
    num_motion_bytes: int | None
    writer: str
    model_name: str
    model_sha256: str
    has_model: bool
    quality: float | None
    entropy_coder: str
    width: int
    height: int
    sample_aspect_ratio: str
    color_range: int
    color_matrix: int
    color_primaries: int
    color_transfer: int
    time_base: str
    average_rate: str | None
    tags: dict[str, str]
    num_frames: int
    num_latent_frames: int
    codes_per_latent_frame: int
    duration_seconds: float | None
    kbit_per_second: float | None
    bits_per_pixel: float | None
    is_complete: bool
    audio_tracks: list[dict[str, Any]]
    subtitle_tracks: list[dict[str, Any]]
    chapters: list[dict[str, Any]]
    groups: list[dict[str, float]]

    def summary(self) -> str:
        """A few lines for people."""
        rate = f", {float(Fraction(self.average_rate)):.6g} frames/s" if self.average_rate else ""
        kinds = " and ".join(["sound"] * bool(self.audio_tracks) + ["subtitles"] * bool(self.subtitle_tracks))
        lines = [
            f"{self.path}: {self.num_bytes} bytes"
            + (f" with {self.num_track_bytes} of {kinds}" if self.num_track_bytes else "")
            + ("" if self.is_complete else ", cut off: its end is missing"),
            f"video     {self.width}x{self.height}, {self.num_frames} frames{rate}"
            + ("" if self.duration_seconds is None else f", {self.duration_seconds:.3f} s"),
        ]
        if self.bits_per_pixel is not None:
            kbit = "" if self.kbit_per_second is None else f", {self.kbit_per_second:.1f} kbit/s"
            lines.append(f"rate      {self.bits_per_pixel:.4f} bits per pixel{kbit}")
        if self.num_motion_bytes is not None and self.num_frames:
            bits = 8 * self.num_motion_bytes / (self.width * self.height * self.num_frames)
            lines.append(f"motion    {self.num_motion_bytes} bytes, {bits:.4f} bits per pixel")
        where = "at hand" if self.has_model else "not at hand: decode with tokenizer=..."
        lines += [
            f"model     {self.model_name} {self.model_sha256[:16]} ({where})",
            f"codes     {self._qualities()}{self.codes_per_latent_frame} in each of {self.num_latent_frames} "
            f"latent frames, {self.entropy_coder}",
            f"groups    {len(self.groups)}",
            f"writer    {self.writer}",
        ]
        lines += [_audio_line(track) for track in self.audio_tracks]
        lines += [f"subtitles {track['codec']}{_named(track)}" for track in self.subtitle_tracks]
        lines += [_chapter_line(chapter) for chapter in self.chapters]
        lines += [f"tag       {printable(key)}: {printable(value)}" for key, value in self.tags.items()]
        return "\n".join(lines)

    def _qualities(self) -> str:
        if self.quality is None:
            return ""
        lowest, *_, highest = sorted(group["quality"] for group in self.groups) * 2
        return f"quality {lowest:.3g}, " if lowest == highest else f"quality {lowest:.3g} to {highest:.3g}, "


def file_info(path: StrPath) -> FileInfo:
    """Describe the file at `path`.

    Raises:
        FormatError: The file is no `.vtok` file, or so damaged that its groups cannot be found.
    """
    with ByteSource(path).held() as held:
        index = FileIndex(held)
        header, num_frames = index.header, index.num_frames
        num_bytes, num_track_bytes = index.num_bytes, index.num_track_bytes
        duration = num_motion_bytes = quality = None
        groups: list[dict[str, float]] = [location._asdict() for location in index.locations]
        with suppress(FormatError):
            num_motion_bytes = index.num_motion_bytes
        with suppress(FormatError):
            for group, of_group in zip(groups, index.qualities, strict=True):
                group["quality"] = of_group
            quality = index.quality if groups else None
        with suppress(FormatError):  # of a damaged group; everything else is still known
            duration = float(index.duration) if num_frames else None
    return FileInfo(
        path=str(path),
        num_bytes=num_bytes,
        num_track_bytes=num_track_bytes,
        num_motion_bytes=num_motion_bytes,
        writer=header.writer,
        model_name=header.model_name,
        model_sha256=header.model_sha256,
        has_model=model_with_hash(header.model_sha256) is not None,
        quality=quality,
        entropy_coder=header.entropy_coder,
        width=header.width,
        height=header.height,
        sample_aspect_ratio=str(header.sample_aspect_ratio),
        color_range=header.color_range,
        color_matrix=header.color_matrix,
        color_primaries=header.color_primaries,
        color_transfer=header.color_transfer,
        time_base=str(header.time_base),
        average_rate=str(header.average_rate) if header.average_rate else None,
        tags=dict(header.tags),
        num_frames=num_frames,
        num_latent_frames=index.latent_starts[-1],
        codes_per_latent_frame=header.codes_per_latent_frame,
        duration_seconds=duration,
        kbit_per_second=8e-3 * num_bytes / duration if duration else None,
        bits_per_pixel=8 * (num_bytes - num_track_bytes) / (header.width * header.height * num_frames)
        if num_frames
        else None,
        is_complete=index.is_complete,
        audio_tracks=[_audio_json(track) for track in header.audio],
        subtitle_tracks=[_track_json(track) for track in header.subtitles],
        chapters=[
            {
                "start_seconds": float(chapter.start * chapter.time_base),
                "end_seconds": float(chapter.end * chapter.time_base),
                "tags": dict(chapter.tags),
            }
            for chapter in header.chapters
        ],
        groups=groups,
    )


def _track_json(track: Track) -> dict[str, Any]:
    return {"codec": track.codec, "disposition": list(track.disposition), "tags": dict(track.tags)}


def _audio_json(track: AudioTrack) -> dict[str, Any]:
    names = ("sample_rate", "channel_layout", "bit_rate")
    return _track_json(track) | {name: getattr(track, name) for name in names}


def _audio_line(track: dict[str, Any]) -> str:
    rate = f", {track['bit_rate'] / 1000:.0f} kbit/s" if track["bit_rate"] else ""
    return f"audio     {track['codec']}, {track['sample_rate']} Hz, {track['channel_layout']}{rate}{_named(track)}"


def _named(track: dict[str, Any]) -> str:
    """Language and title of a track, for people."""
    names = [track["tags"].get(key, "und") for key in ("language", "title")]
    return "".join(f", {printable(name)}" for name in names if name != "und")


def _chapter_line(chapter: dict[str, Any]) -> str:
    title = f" {printable(chapter['tags']['title'])}" if "title" in chapter["tags"] else ""
    return f"chapter   {chapter['start_seconds']:.3f} s to {chapter['end_seconds']:.3f} s{title}"
