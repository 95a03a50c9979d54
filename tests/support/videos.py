"""Videos that several test modules work on: made here, or cut out of a sample."""

from fractions import Fraction
from itertools import islice, zip_longest
from pathlib import Path

import av
import numpy as np

from vtok.media.reader import VideoReader
from vtok.media.writer import VideoWriter

ROOT = Path(__file__).parents[2]


def write_video(
    path,
    *,
    num_frames=16,
    size=(64, 48),
    codec="libx264",
    pixel_format="yuv420p",
    options=None,
    container_options=None,
    rate=Fraction(25),
):
    """A drifting pattern, by PyAV alone; `size` is width and height."""
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        for t in range(num_frames):
            luma = 128 + 60 * np.sin((x + 3 * t) / 7) + 40 * np.cos((y - t) / 5)
            planes = [luma, *np.full((2, height // 2, width // 2), (110 + t % 30))]
            packed = np.concatenate([plane.reshape(-1) for plane in planes]).reshape(-1, width)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(packed.astype(np.uint8), format="yuv420p")))
        container.mux(stream.encode())
    return path


def cut_sample(target, *, num_frames=16, codec="libx264"):
    """The first frames of the sample video."""
    with (
        VideoReader(ROOT / "sample_videos" / "bigbuckbunny.mp4") as reader,
        VideoWriter(target, reader.info, codec=codec) as writer,
    ):
        for frame in islice(reader, num_frames):
            writer.write(frame)
    return target


def truncated(path, target, *, share):
    """Only the first part of a file."""
    data = path.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def write_video_with_sound(
    path,
    tracks,
    *,
    num_frames=40,
    video_codec="libx264",
    start=0.0,
    seconds=1.6,
    tags=None,
    chapters=(),
    languages=(),
    container_options=None,
    times=None,
):
    """Frames of one gray, and noise; `tracks` are codec, sample rate and layout each, `times` 25ths of a second."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        video = container.add_stream(video_codec, rate=Fraction(25))
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        container.metadata.update(tags or {})
        container.set_chapters(list(chapters))
        sounds = [container.add_stream(codec, rate=rate, layout=layout) for codec, rate, layout in tracks]
        for sound, language in zip(sounds, languages, strict=False):
            sound.metadata["language"] = language
        packets = []
        for t in range(num_frames):
            picture = av.VideoFrame.from_ndarray(np.full((72, 64), 3 * t % 250, np.uint8), format="yuv420p")
            picture.pts, picture.time_base = times[t] if times else t, Fraction(1, 25)
            packets += video.encode(picture)
        packets += video.encode(None)
        for sound in sounds:
            packets += encoded_noise(sound, start=start, seconds=seconds)
        container.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))
    return path


def encoded_noise(sound, *, start, seconds):
    """Packets of an audio stream that is being written."""
    context = sound.codec_context
    samples = np.random.default_rng(0).normal(0, 3000, (1, int(seconds * context.sample_rate) * context.channels))
    noise = av.AudioFrame.from_ndarray(samples.astype(np.int16), format="s16", layout=context.layout.name)
    noise.sample_rate, noise.pts = context.sample_rate, round(start * context.sample_rate)
    noise.time_base = Fraction(1, context.sample_rate)
    converter = av.AudioResampler(format=context.format.name, layout=context.layout.name, rate=context.sample_rate)
    frames = converter.resample(noise) + converter.resample(None)
    return [packet for frame in [*frames, None] for packet in sound.encode(frame)]


def sound_of(path):
    """The audio tracks of a file: bytes of each packet, and when it begins after the first frame, in seconds."""
    with av.open(str(path)) as container:
        tracks = {stream.index: [] for stream in container.streams.audio}
        first = None
        for packet in container.demux(*container.streams.video, *container.streams.audio):
            if not packet.size:
                continue
            time = packet.pts * packet.time_base
            if packet.stream_index in tracks:
                tracks[packet.stream_index].append((bytes(packet), time))
            else:
                first = time if first is None else min(first, time)
    return [[(data, time - first) for data, time in packets] for packets in tracks.values()]


_STYLES = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def write_video_with_subtitles(path, tracks, *, sound=None, num_frames=40, languages=()):
    """Frames of one gray; `tracks` are a codec and its cues: begin and duration in milliseconds, and bytes."""
    unit = Fraction(1, 1000)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libvpx-vp9" if path.suffix == ".webm" else "libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        noise = container.add_stream(sound[0], rate=sound[1], layout=sound[2]) if sound else None
        streams = []
        for (codec, _), language in zip_longest(tracks, languages[: len(tracks)]):
            if codec in ("hdmv_pgs_subtitle", "dvd_subtitle"):
                streams.append(container.add_mux_stream(codec, time_base=unit))
            else:
                streams.append(container.add_stream(codec))
                streams[-1].codec_context.subtitle_header = _STYLES
                streams[-1].codec_context.time_base = streams[-1].time_base = unit
            if language:
                streams[-1].metadata["language"] = language
        packets = []
        for t in range(num_frames):
            picture = av.VideoFrame.from_ndarray(np.full((72, 64), 3 * t % 250, np.uint8), format="yuv420p")
            picture.pts, picture.time_base = t, Fraction(1, 25)
            packets += video.encode(picture)
        packets += video.encode(None)
        packets += encoded_noise(noise, start=0.0, seconds=num_frames / 25) if noise else []
        for stream, (_, cues) in zip(streams, tracks, strict=True):
            for begin, duration, data in cues:
                packet = av.Packet(data)
                packet.pts = packet.dts = begin
                packet.duration, packet.time_base, packet.stream = duration, unit, stream
                packets.append(packet)
        container.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))
    return path


def subtitles_of(path):
    """The tracks of subtitles of a file: codec, language, extradata, and the packets: begin and seconds, and bytes."""
    with av.open(str(path)) as container:
        tracks = {
            stream.index: (
                stream.codec_context.codec.canonical_name,
                stream.metadata.get("language"),
                stream.codec_context.extradata,
                [],
            )
            for stream in container.streams.subtitles
        }
        for packet in container.demux(*container.streams.subtitles) if tracks else ():
            if packet.size:
                times = packet.pts * packet.time_base, packet.duration * packet.time_base
                tracks[packet.stream_index][3].append((*times, bytes(packet)))
    return list(tracks.values())
