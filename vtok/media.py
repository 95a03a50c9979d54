"""Everything that touches FFmpeg, by way of PyAV: `VideoReader` in, `open_output` out, `Frame`s in between."""

from vtok.media_frame import Frame, Plane, VideoInfo
from vtok.media_outputs import FORMATS, FrameWriter, open_output
from vtok.media_read import VideoReader
from vtok.media_write import CODECS, SUFFIXES, VideoWriter

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
