"""Tags and chapters of a video file, as many of them as a header holds."""

import json
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer

from vtok.video.chapters import Chapter
from vtok.video.tracks import Extras, Track
from vtok.video.values import printable

# Tags that describe the container, not the film, and would be wrong in another container.
_TAGS_OF_THE_CONTAINER = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "vendor_id"}
_TAGS_OF_THE_CONTAINER |= {"bps", "number_of_frames", "number_of_bytes"}
_MAX_TAG_BYTES = 1 << 16
_MAX_ALL_TAG_BYTES = 1 << 19  # half of the largest header


def tags_of(metadata: Mapping[str, str], notices: dict[str, str]) -> dict[str, str]:
    """Title, date and so on, without the tags that describe the container only."""
    tags = {}
    for key, value in metadata.items():
        if key.lower() in _TAGS_OF_THE_CONTAINER or key.lower().startswith("_statistics_"):
            continue
        if len(value.encode()) > _MAX_TAG_BYTES:
            notices[f"tag {key}"] = f"tag {printable(key)} of {len(value.encode())} bytes is not carried over"
            continue
        tags[key] = value
    return tags


def chapters_of(container: InputContainer, notices: dict[str, str]) -> tuple[Chapter, ...]:
    """The chapters of a file."""
    return tuple(
        Chapter(
            start=chapter["start"],
            end=chapter["end"],
            time_base=chapter["time_base"] or Fraction(1, 1000),
            tags=tags_of(chapter["metadata"], notices),
        )
        for chapter in container.chapters()
    )


def fitting_tags(extras: Extras, notices: dict[str, str]) -> Extras:
    """Drop the largest tags, if all of them together are too large for a header."""
    holders: tuple[Extras | Track | Chapter, ...] = (extras, *extras.tracks, *extras.chapters)
    kept = [dict(holder.tags) for holder in holders]
    sizes = {(n, key): len(json.dumps([key, tags[key]])) for n, tags in enumerate(kept) for key in tags}
    total, dropped = sum(sizes.values()), []
    for (n, key), size in sorted(sizes.items(), key=lambda item: -item[1]):
        if total <= _MAX_ALL_TAG_BYTES:
            break
        del kept[n][key]
        dropped.append(printable(key))
        total -= size
    if not dropped:
        return extras
    notices["tags"] = f"{len(dropped)} tags, of all the largest, are not carried over: {', '.join(dropped[:5])}" + (
        " and so on" if len(dropped) > 5 else ""
    )
    tags = iter(kept)
    return Extras(
        tags=next(tags),
        audio=tuple(replace(track, tags=next(tags)) for track in extras.audio),
        subtitles=tuple(replace(track, tags=next(tags)) for track in extras.subtitles),
        chapters=tuple(replace(chapter, tags=next(tags)) for chapter in extras.chapters),
    )


def describe(container: OutputContainer, extras: Extras) -> None:
    """Give a file that is being written its tags and chapters. Chapters are cut at time zero."""
    container.metadata.update(extras.tags)
    container.set_chapters(
        [
            {
                "id": number,
                "start": max(0, chapter.start),
                "end": chapter.end,
                "time_base": chapter.time_base,
                "metadata": dict(chapter.tags),
            }
            for number, chapter in enumerate(extras.chapters, 1)
            if max(0, chapter.start) <= chapter.end
        ]
    )


def lost_tags(path: Path, tags: Mapping[str, str]) -> list[str]:
    """The tags that a written file lacks. Only its muxer knows what a container holds, so the file is read again."""
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        kept = {(key.lower(), value) for key, value in container.metadata.items()}
    return [key for key, value in tags.items() if (key.lower(), value) not in kept]
