"""Decoding times for MP4 and MOV that make a track last as long as its frames are shown."""

from typing import TypeAlias

from av.packet import Packet
from av.video.stream import VideoStream

VideoPacket: TypeAlias = "Packet[VideoStream]"


class DecodingTimes:
    """Changes the decoding times of packets, in decoding order, at the beginning and the end of a track.

    MP4 counts the duration of a track from the decoding time of its first packet to the end of its last one. Encoders
    with B-frames start decoding early, by the duration of the first few frames. With a variable frame rate, the last
    few frames are not as long. Here decoding starts a few ticks early, and the last packet makes up for the rest.
    """

    def __init__(self) -> None:
        self._first: list[VideoPacket] = []  # decoded before the first frame is shown
        self._has_begun = False
        self._first_pts = self._first_dts = 0
        self._last: VideoPacket | None = None

    def push(self, packet: VideoPacket) -> list[VideoPacket]:
        """Take the next packet; return those that are ready."""
        if self._has_begun:
            ready, self._last = self._last, packet
            return [] if ready is None else [ready]
        self._first.append(packet)
        first_pts = self._first[0].pts or 0
        if packet.dts is not None and packet.dts < first_pts:
            return []
        return self._begin(num_early=len(self._first) - 1)

    def finish(self, end_pts: int) -> list[VideoPacket]:
        """Return the packets that are left; the last frame of the track is shown until `end_pts`."""
        packets = [] if self._has_begun or not self._first else self._begin(num_early=len(self._first))
        if (last := self._last) is not None:
            end_dts = self._first_dts + end_pts - self._first_pts
            if last.pts is not None and last.dts is not None:
                last.dts = max(last.dts, min(last.pts, end_dts - (last.duration or 0)))
                last.duration = max(1, end_dts - last.dts)
            packets.append(last)
        return packets

    def _begin(self, num_early: int) -> list[VideoPacket]:
        """Decode the first packets one tick apart, up to the time of the first frame."""
        self._has_begun = True
        self._first_pts = self._first[0].pts or 0
        for index, packet in enumerate(self._first[:num_early]):
            packet.dts = self._first_pts - num_early + index
        self._first_dts = self._first[0].dts or 0
        *ready, self._last = self._first
        return ready
