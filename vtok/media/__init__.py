"""Everything that touches FFmpeg, by way of PyAV: videos in, videos out, frames and packets in between."""
