"""Where the time goes: what encoding and decoding do, one step after the other against the clock."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any
from unittest import mock

import numpy as np

from vtok.codec.chunk_coder import FRAMES_PER_CHUNK, ChunkDecoder, ChunkEncoder
from vtok.codec.chunk_tokens import ChunkTokens
from vtok.entropy.group_coder import PriorGroupDecoder, PriorGroupEncoder
from vtok.entropy.integer_products import entropy_coding_threads
from vtok.entropy.tables import PassDecoder, PassEncoder
from vtok.media.reader import VideoReader
from vtok.media.writer import VideoWriter
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.arithmetic import Arithmetic
from vtok.system.threads import num_threads
from vtok.video.frame import Frame, VideoInfo

STEPS = {
    "encode": ("read video", "analysis", "prior (encoder)", "range encoding"),
    "decode": ("prior (decoder)", "range decoding", "synthesis", "write video"),
}
ENTROPY_CODING = {"prior (encoder)", "range encoding", "prior (decoder)", "range decoding"}
# So long OpenMP's threads may spin after a step, waiting for more, and x264's work on: its time, not that of the next.
REST_SECONDS = 0.02


@dataclass
class Clock:
    """Seconds by step: of wall time, and of all processors together."""

    wall: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    processor: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def counting(self, step: str, within: str | None = None) -> Iterator[None]:
        """Count what happens inside for `step`; not for the step `within` which it is a part of."""
        start = perf_counter(), process_time()
        try:
            yield
        finally:
            wall = perf_counter() - start[0]
            if within is None:
                sleep(REST_SECONDS)
            for seconds, spent in zip((self.wall, self.processor), (wall, process_time() - start[1]), strict=True):
                seconds[step] += spent
                if within:
                    seconds[within] -= spent

    @contextmanager
    def splitting(self, owner: type, method: str, step: str, within: str) -> Iterator[None]:
        """Inside, count a method of a class for a step of its own."""
        original = getattr(owner, method)

        def counted(*arguments: Any) -> Any:
            with self.counting(step, within):
                return original(*arguments)

        with mock.patch.object(owner, method, counted):
            yield

    def shares(self, command: str) -> dict[str, float]:
        """Each step's part of the processors' time of "encode" or "decode"."""
        whole = sum(self.processor[step] for step in STEPS[command])
        return {step: self.processor[step] / whole for step in STEPS[command]}

    def entropy_coding_share(self, command: str) -> float:
        """The part of the prior and the range coder together."""
        return sum(share for step, share in self.shares(command).items() if step in ENTROPY_CODING)


def chunks_of(frames: list[Frame]) -> Iterator[list[Frame]]:
    """Frames by eight."""
    iterator = iter(frames)
    while chunk := list(islice(iterator, FRAMES_PER_CHUNK)):
        yield chunk


def read_video(video: Path, num_frames: int) -> tuple[VideoInfo, list[Frame]]:
    """The first frames of a video."""
    with VideoReader(video) as reader:
        return reader.info, list(islice(reader, num_frames))


def through_files(
    tokenizer: VideoTokenizer,
    video: Path,
    quality: float,
    folder: Path,
    num_frames: int,
    clock: Clock,
    arithmetic: Arithmetic | None = None,
    timed_video: Path | None = None,
) -> tuple[list[ChunkTokens], int]:
    """What `vtok encode` and `vtok decode` do, added to `clock`; returns all tokens and the number of the codes' bytes.

    The reading of `timed_video` is counted in place of that of `video`, if it is given.
    """
    with clock.counting("read video"):
        info, frames = read_video(timed_video or video, num_frames)
    if timed_video:
        info, frames = read_video(video, num_frames)
    chunks = list(chunks_of(frames))
    prior, tokens = tokenizer.pretrained.exact_prior, []
    encoder, group = ChunkEncoder(tokenizer.pretrained, info, quality, arithmetic), PriorGroupEncoder(prior, quality)
    with clock.splitting(PassEncoder, "push", "range encoding", "prior (encoder)"):
        for chunk in chunks:
            with clock.counting("analysis"):
                tokens.append(encoder.encode(chunk))
            with clock.counting("prior (encoder)"), num_threads(entropy_coding_threads()):
                group.push(*tokens[-1])
        with clock.counting("range encoding"):
            payload = group.finish()
    _, height, width = tokens[0].codes.shape
    coded = PriorGroupDecoder(prior, quality, payload, num_latent_frames=len(tokens), height=height, width=width)
    decoder = ChunkDecoder(tokenizer.pretrained, info, arithmetic)
    with clock.splitting(PassDecoder, "pull", "range decoding", "prior (decoder)"), ExitStack() as stack:
        with clock.counting("write video"):
            writer = stack.enter_context(VideoWriter(folder / "decoded.mp4", info, codec="libx264"))
        for chunk, expected in zip(chunks, tokens, strict=True):
            with clock.counting("prior (decoder)"), num_threads(entropy_coding_threads()):
                pulled = coded.pull(expected.motion)
            with clock.counting("synthesis"):
                frames = decoder.decode(ChunkTokens(pulled, expected.motion), [frame.pts for frame in chunk], quality)
            with clock.counting("write video"):
                for frame in frames:
                    writer.write(frame)
            assert np.array_equal(pulled, expected.codes)
        with clock.counting("write video"):
            stack.close()
    return tokens, len(payload)
