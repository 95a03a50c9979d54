"""Joins clocks: where the timestamps of a file start over, its pictures and its sound go on together."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av.error
from av.packet import Packet

# Containers that are joined by appending one to another, with the seconds by which decoding times may go back: FFmpeg
# guesses those that are not stored, in a transport stream none.
_MPEG = {"mpegts": 0.0, "mpeg": 0.25}
_SLIP = 1.0  # the same of other containers
_WRAP = 1 << 33  # ticks after which the clock of MPEG begins again
_LEAP = 10.0  # seconds: more is no pause but another clock
_CROSSING = 1.0  # seconds in which all streams change to a new clock
_OVERLAP = 0.1  # seconds of sound that may begin early, so that the pictures come evenly
_MAX_WAITING = 512  # packets


@dataclass(slots=True)
class _Track:
    """A stream: its stretch, the decoding time of its last packet, and the one that follows; in seconds."""

    stretch: int = 0
    last: Fraction | None = None
    next: Fraction = Fraction(0)


@dataclass(slots=True)
class _Stretch:
    """What was recorded with one clock; in seconds of that clock.

    Attributes:
        begin: The first decoding time.
        latest: The last decoding time so far.
        shift: What is to be added to all times; None until it is known.
        candidates: The shift with which each stream goes on evenly.
    """

    begin: Fraction
    latest: Fraction
    shift: Fraction | None = None
    candidates: dict[int, Fraction] = field(default_factory=dict)


class Clock:
    """Moves packets, in the order of the file, onto one clock for all streams.

    A new stretch begins where a stream's decoding time goes back, or leaps by more than ten seconds to where no other
    stream is yet. Streams cross a joint at different packets, so each moves on by itself. The stretch is placed so that
    the pictures come evenly, or later if much of the sound would overlap.

    Args:
        format_name: Name of FFmpeg's demuxer.
        video: Index of the video track.
        notices: Receives a line if the clock starts over.
    """

    def __init__(self, format_name: str, video: int, notices: dict[str, str]) -> None:
        self._is_mpeg = format_name in _MPEG
        self._slip = _MPEG.get(format_name, _SLIP)
        self._video, self._notices = video, notices
        self._tracks: dict[int, _Track] = {}
        self._stretches: list[_Stretch] = []

    def joined(self, packets: "Iterable[Packet[Any]]") -> "Iterator[Packet[Any]]":
        """Yield the packets at their times. After a joint, packets wait until every stream has crossed it.

        Raises:
            av.error.FFmpegError: As `packets` does, after all packets before it.
        """
        waiting: list[tuple[Packet[Any], int]] = []
        try:
            for packet in packets:
                waiting.append((packet, self._find_stretch(packet)))
                if self._is_settled(len(waiting)):
                    yield from self._placed(waiting)
                    waiting = []
        except av.error.FFmpegError:
            yield from self._placed(waiting)
            raise
        yield from self._placed(waiting)

    def _find_stretch(self, packet: "Packet[Any]") -> int:
        """The number of the stretch that a packet belongs to."""
        index = packet.stream.index
        if packet.stream.type == "subtitle":  # too rare, and too often out of order, to tell of a clock
            return self._tracks[self._video].stretch if self._video in self._tracks else 0
        track = self._tracks.setdefault(index, _Track())
        if packet.dts is None:
            return track.stretch
        time = packet.dts * packet.time_base
        if not self._stretches:
            self._stretches.append(_Stretch(time, time, Fraction(0)))
        number = self._choose(track, time)
        if number == len(self._stretches):
            self._stretches.append(_Stretch(time, time))
            self._notices["clock"] = f"the source's clock starts over {number} time{'s' * (number > 1)}: joined"
        stretch = self._stretches[number]
        if track.last is not None and number != track.stretch:
            before = self._stretches[track.stretch].shift or Fraction(0)
            stretch.candidates[index] = before + track.next - time
        step = packet.duration * packet.time_base if packet.duration else time - (track.last or time)
        track.stretch, track.last, track.next = number, time, time + max(step, Fraction(0))
        stretch.latest = max(stretch.latest, time)
        return number

    def _choose(self, track: _Track, time: Fraction) -> int:
        """The stretch that holds the next packet of a track: its own, the newest or, one past the end, a new one."""
        newest = len(self._stretches) - 1
        latest = self._stretches[newest].latest
        if track.last is None:
            return newest
        slip = self._slip or (track.next - track.last) / 2
        goes_on = time >= track.last - slip
        is_near = abs(time - latest) <= _LEAP
        if track.stretch == newest:
            leaps = self._is_mpeg and time > track.next + _LEAP and not is_near
            return newest if goes_on and not leaps else newest + 1
        if goes_on and time < track.next + _CROSSING:
            is_crossing = latest - self._stretches[newest].begin < _CROSSING
            return track.stretch if is_crossing or not is_near else newest
        return newest if is_near else newest + 1

    def _is_settled(self, num_waiting: int) -> bool:
        """Whether the newest stretch has its place, or can be given one."""
        if not self._stretches or self._stretches[-1].shift is not None:
            return True
        newest = self._stretches[-1]
        return (
            all(track.stretch == len(self._stretches) - 1 for track in self._tracks.values())
            or newest.latest - newest.begin >= _CROSSING
            or num_waiting >= _MAX_WAITING
        )

    def _placed(self, packets: "list[tuple[Packet[Any], int]]") -> "Iterator[Packet[Any]]":
        """Move packets to their times, once their stretches have a place."""
        for stretch in self._stretches:
            if stretch.shift is None:
                latest = max(stretch.candidates.values())
                even = stretch.candidates.get(self._video, latest)
                stretch.shift = even if latest - even <= _OVERLAP else latest
        for packet, number in packets:
            shift = self._stretches[number].shift if self._stretches else None
            if packet.pts is not None and packet.dts is not None and self._is_mpeg:
                packet.pts -= round((packet.pts - packet.dts) / _WRAP) * _WRAP  # FFmpeg unwraps each by itself
                if abs(packet.pts - packet.dts) * packet.time_base > _LEAP:  # of a program stream's last before a joint
                    packet.pts = None  # FFmpeg guessed it from the decoding time that follows
            if shift:
                ticks = round(shift / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts + ticks
                packet.dts = None if packet.dts is None else packet.dts + ticks
            yield packet
