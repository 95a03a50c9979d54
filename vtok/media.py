"""Everything that touches FFmpeg, by way of PyAV: `VideoReader` in, `VideoWriter` out, `Frame`s in between."""

from vtok.media_frame import Frame, Plane, VideoInfo
from vtok.media_read import VideoReader
from vtok.media_write import CODECS, SUFFIXES, VideoWriter

__all__ = ["CODECS", "SUFFIXES", "Frame", "Plane", "VideoInfo", "VideoReader", "VideoWriter"]
