"""Whether the released prior codes to the same bytes with other versions of PyTorch and under other settings.

    python tests/tools/prior_bytes.py PYTHON ...      each PYTHON an interpreter in whose environment vtok is installed

Latent frames made without any library's random numbers are coded by each interpreter under each of `SETTINGS`, and
decoded again. Exits with 1 unless all give the same bytes. `make test-torch` runs it.
"""

import json
import os
import subprocess
import sys
from hashlib import sha256, shake_256
from unittest.mock import patch

import numpy as np

QUALITIES = (1, 2.7, 5, 9)
NUM_FRAMES, HEIGHT, WIDTH = 5, 9, 13
SETTINGS = (
    {},
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "2"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2"},  # no bfloat16 or AMX in convolutions
    {"OMP_NUM_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
)


def latent_frames(num_channels):
    """Codes uint8 `[t, n, H, W]`: a still pattern that fades towards high channels, plus what changes in time."""
    shape = (NUM_FRAMES + 1, num_channels, HEIGHT, WIDTH)
    draws = np.frombuffer(shake_256(b"vtok").digest(int(np.prod(shape))), np.uint8).reshape(shape).astype(np.int64)
    still, changes = draws[0], draws[1:]
    size = 160 // (1 + np.arange(num_channels)[:, None, None])
    steps = (changes % 16 == 0).astype(np.int64) - (changes % 16 == 1)
    return np.clip(128 + (still - 128) * size // 128 + steps * (size > 0), 0, 255).astype(np.uint8)


def motions_of(codes):
    """Some motion for each latent frame, made of its codes."""
    from vtok.video.motion import NUM_FIELDS, ChunkMotion, motion_size

    size = motion_size(8 * HEIGHT, 8 * WIDTH)
    count = 2 * NUM_FIELDS * size[0] * size[1]
    fields = (frame.reshape(-1)[:count].reshape(NUM_FIELDS, 2, *size).astype(np.int16) - 128 for frame in codes)
    motions = [ChunkMotion(field) for field in fields]
    motions[0].fields[-1] = 0
    for motion in motions:
        motion.fields[-1, :, ::2] = 0
    return motions


def digests():
    """The version of PyTorch, and for each quality the number and SHA-256 of the bytes, checked by decoding them."""
    import torch

    from vtok.entropy.group_coder import PriorGroupDecoder, PriorGroupEncoder
    from vtok.model.tokenizer import VideoTokenizer

    prior = VideoTokenizer.from_pretrained().pretrained.exact_prior
    codes = latent_frames(prior.num_channels)
    motions = motions_of(codes)
    found = {}
    for quality in QUALITIES:
        encoder = PriorGroupEncoder(prior, quality)
        for frame, motion in zip(codes, motions, strict=True):
            encoder.push(frame, motion)
        payload = encoder.finish()
        options = {"num_latent_frames": NUM_FRAMES, "height": HEIGHT, "width": WIDTH}
        decoder = PriorGroupDecoder(prior, quality, payload, **options)
        # Encoded in products of bytes where the processor has them, decoded in float32.
        in_float = patch("vtok.entropy.integer_products.int8_products_are_exact", lambda: False)
        with in_float, torch.autocast("cpu", torch.bfloat16):
            for frame, motion in zip(codes, motions, strict=True):
                assert np.array_equal(decoder.pull(motion), frame), f"quality {quality} does not come back"
        found[str(quality)] = [len(payload), sha256(payload).hexdigest()]
    return {"torch": torch.__version__, "digests": found}


def digests_of(interpreter, settings):
    """The same, of another interpreter under `settings`."""
    environment = {name: value for name, value in os.environ.items() if name not in {*SETTINGS[-1]}} | settings
    done = subprocess.run([interpreter, __file__], env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def main(interpreters):
    if not interpreters:
        print(json.dumps(digests()))
        return 0
    seen = set()
    for interpreter in interpreters:
        for settings in SETTINGS:
            result = digests_of(interpreter, settings)
            digest = sha256(json.dumps(result["digests"]).encode()).hexdigest()
            seen.add(digest)
            sizes = ", ".join(str(size) for size, _ in result["digests"].values())
            names = " ".join(f"{name}={value}" for name, value in settings.items()) or "as it is"
            print(f"torch {result['torch']:14} {digest[:16]}  {sizes} bytes  {names}", flush=True)
    print("identical" if len(seen) == 1 else "DIFFERENT")
    return 0 if len(seen) == 1 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
