"""Tags and chapters of a video file, as many of them as a header holds."""

import json
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from av.container import InputContainer

from vtok.video.tracks import AudioTrack, Chapter, Extras
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
    holders: tuple[Extras | AudioTrack | Chapter, ...] = (extras, *extras.audio, *extras.chapters)
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
        chapters=tuple(replace(chapter, tags=next(tags)) for chapter in extras.chapters),
    )
