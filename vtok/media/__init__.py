"""Everything that touches FFmpeg, by way of PyAV: `VideoReader` in, `open_output` out, `Frame`s in between."""

from vtok.media.outputs import FORMATS, FrameWriter, open_output
from vtok.media.reader import VideoReader
from vtok.media.writer import CODECS, SUFFIXES, VideoWriter
from vtok.video.frame import Frame, Plane, VideoInfo

__all__ = [
    "CODECS",
    "FORMATS",
    "SUFFIXES",
    "Frame",
    "FrameWriter",
    "Plane",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "open_output",
]
