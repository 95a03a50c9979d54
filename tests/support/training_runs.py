"""Videos that a training run learns from in seconds, a configuration for it, and its log."""

import json

import av
import numpy as np

from vtok.training.loop import TrainingRun

TINY = """
[model]
num_channels = 24
dim = 16
num_analysis_blocks = 1
num_synthesis_blocks = 1
refine_dim = 8
guide_dim = 4
prior_groups = [8, 24]
prior_context_dim = 16
prior_group_dim = 16
[cache]
num_frames = 16
size = 32
scales_per_window = 1
[validation_cache]
num_frames = 16
size = 32
scales_per_window = 1
[data]
batch_size = 2
num_frames = 16
size = 32
[optimizer]
warmup_steps = 5
learning_rate = 5e-3
muon_learning_rate = 1e-2
[schedule]
log_every_steps = 5
"""


def write_video(path, *, num_frames=40, size=(96, 64), seed=0):
    """Textures that drift, each with its own grain and direction, and noise: nothing that 24 coefficients can hold."""
    rng = np.random.default_rng(seed)
    width, height = size
    waves = rng.uniform(-0.6, 0.6, (5, 3))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        for t in range(num_frames):
            angles = waves[:, 0, None, None] * x + waves[:, 1, None, None] * y + (waves[:, 2] * t)[:, None, None]
            texture = 128 + 30 * np.sin(angles).sum(0)
            noisy = texture[..., None] + rng.normal(0, 6, (height, width, 3))
            frame = av.VideoFrame.from_ndarray(noisy.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def events(folder, kind):
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def new_run(folders, folder, **options):
    _, config, caches = folders
    return TrainingRun(config, folder, train=caches["train"], validation=caches["validation"], **options)
