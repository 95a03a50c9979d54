"""Everything that vtok does with a `.vtok` file that it is given: nothing but a VtokError may come of it."""

from collections import Counter
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from unittest.mock import patch

from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.decoder import VideoDecoder
from vtok.codec.recovery import RecoveredVideo
from vtok.container.reader import VideoGroup
from vtok.container.verification import verify_file
from vtok.errors import VtokError
from vtok.files.concat import concat_files
from vtok.files.cut import cut_file
from vtok.files.decode import decode_file
from vtok.files.inspection import file_info

# What a file may declare is bounded by the format, but not by what a test has time for.
MAX_PIXELS = 64 * 64  # of a frame, in the networks
MAX_FRAMES = 40


class Reader:
    """Reads files in all ways.

    Attributes:
        outcomes: How often each way ended with which error, or `done`, or was not gone as there was too much to do.
    """

    def __init__(self, tokenizer, folder):
        self.outcomes = Counter()
        self._tokenizer = tokenizer
        self._folder = Path(folder)
        self._path = self._folder / "mutant.vtok"

    def read(self, data, *, trusts_codes=False, accesses=False, edits=False, decodes_to_video=False):
        """Read the file `data`; `trusts_codes` for what a writer would send that makes the CRC of its codes right."""
        self._path.write_bytes(data)
        with patch.object(VideoGroup, "check_tokens", lambda *_: None) if trusts_codes else nullcontext():
            strict = self._frames(CompressedVideo)
            recovered = self._frames(RecoveredVideo)
            verification = self._try("verify", lambda: verify_file(self._path))
            self._try("info", lambda: file_info(self._path).summary())
            if accesses:
                self._access()
            if edits:
                self._edit()
            if decodes_to_video:
                self._decode_to_video()
        # Three readers of one file: what one finds sound is sound to all.
        if strict is not None and not trusts_codes:
            assert verification is not None
            assert all("index" in fault["message"] for fault in verification.faults), verification.faults
            assert recovered == strict or not strict, (recovered, strict)
        if verification is not None and verification.is_sound:
            assert verification.num_intact_frames == verification.num_frames

    def _frames(self, opened):
        """Timestamps of all frames, if reading them came to its end."""

        def run():
            with opened(self._path, tokenizer=self._tokenizer) as video:
                if video.header.width * video.header.height > MAX_PIXELS:
                    return "too_large"
                return [frame.pts for frame in islice(video, MAX_FRAMES)]

        result = self._try(opened.__name__, run)
        return result if isinstance(result, list) and len(result) < MAX_FRAMES else None

    def _access(self):
        def run():
            with VideoDecoder(self._path, tokenizer=self._tokenizer) as video:
                metadata = video.metadata
                if metadata.width * metadata.height > MAX_PIXELS:
                    return "too_large"
                if len(video):
                    video[len(video) // 2]
                    video.get_frames_played_at([0])
                return None

        self._try("access", run, IndexError)

    def _edit(self):
        target = self._folder / "edited.vtok"
        self._try("cut", lambda: cut_file(self._path, target, start_seconds=0.1, end_seconds=0.5, overwrite=True))
        self._try("concat", lambda: concat_files([self._path, self._path], target, overwrite=True))

    def _decode_to_video(self):
        for recover in (False, True):
            for codec, suffix in (("ffv1", "mkv"), ("libx264", "mp4")):
                target = self._folder / f"decoded.{suffix}"

                def run(target=target, codec=codec, recover=recover):
                    with RecoveredVideo(self._path, tokenizer=self._tokenizer) as video:
                        if video.info.width * video.info.height > MAX_PIXELS or video.index.num_frames > MAX_FRAMES:
                            return "too_large"
                    options = {"codec": codec, "recover": recover, "tokenizer": self._tokenizer, "overwrite": True}
                    return decode_file(self._path, target, **options)

                self._try("decode", run)

    def _try(self, way, function, *further_errors):
        """What `function` gives, or None after one of the errors that are allowed."""
        try:
            result = function()
        except (VtokError, *further_errors) as error:
            _require_one_line(str(error))
            self.outcomes[f"{way}: {type(error).__name__}"] += 1
            return None
        self.outcomes[f"{way}: {'too_large' if result == 'too_large' else 'done'}"] += 1
        return result


def _require_one_line(message):
    assert message.isprintable(), repr(message)
    assert message
