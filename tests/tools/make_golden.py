"""Makes the golden files: what the format means, for ever, in `tests/golden/`; docs/format.md tells of them.

python tests/tools/make_golden.py               # only those that are missing, when the format has gained something
python tests/tools/make_golden.py NAMES --force # these again, while no release has them

A file that was released is never made again: that it still decodes to the same codes is what it is for.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.chunk_assembly import Part, edited_header, ended, joined, split
from support.golden_faults import BAD_FILES, bad_files
from support.models import new_tiny_tokenizer
from support.sources import make_frames, scenes, write_source
from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.file_model import new_header
from vtok.codec.group_encoder import GroupEncoder
from vtok.container.packets import PacketChunks
from vtok.container.reader import ContainerReader, PacketChunk, VideoGroup
from vtok.container.writer import ContainerWriter
from vtok.files.concat import concat_files
from vtok.files.encode import encode_file
from vtok.model.tokenizer import VideoTokenizer
from vtok.model.weights import EXACT_PRIOR, save_weights
from vtok.video.chapters import Chapter
from vtok.video.frame import VideoInfo
from vtok.video.tracks import AudioTrack, SubtitleTrack, TrackPacket

FOLDER = Path(__file__).parents[1] / "golden"
MANIFEST = FOLDER / "golden.json"
WEIGHTS = FOLDER / "tiny.safetensors"
TRACKS = (
    AudioTrack(
        codec="pcm_s16le", time_base=Fraction(1, 100), sample_rate=100, channel_layout="mono", codec_delay=5,
        disposition=("default",), tags={"language": "deu", "title": "Größe"},
    ),
    AudioTrack(
        codec="aac", time_base=Fraction(1, 1000), sample_rate=8000, channel_layout="5.1(side)", bit_rate=2**40,
        extradata=bytes.fromhex("1588"),
    ),
)  # fmt: skip
SUBTITLES = (
    SubtitleTrack(codec="subrip", time_base=Fraction(1, 1000), disposition=("forced",), tags={"language": "jpn"}),
    SubtitleTrack(codec="ass", time_base=Fraction(1, 100), extradata=b"[Script Info]\n"),
)
CHAPTERS = (
    Chapter(start=-(2**40), end=120, time_base=Fraction(1, 1000), tags={"title": "日本"}),
    Chapter(start=3, end=12, time_base=Fraction(1, 25)),
)
IRREGULAR = [-100, 0, 33, 67, 100, 100, 350, 351, 1000, 999, 2000, 10**9]


def sha256_of_tokens(video):
    """SHA-256 of the codes of all latent frames in order, and that of their motion."""
    codes, motion = hashlib.sha256(), hashlib.sha256()
    for latent in video.latent_frames():
        codes.update(latent.tokens.codes.tobytes())
        motion.update(latent.tokens.motion.fields.astype("<i2").tobytes())
    return {"codes_sha256": codes.hexdigest(), "motion_sha256": motion.hexdigest()}


def write_weights(path):
    """The tiny model as a weights file, with every 32nd frequency table, so that it is small."""
    tokenizer = new_tiny_tokenizer(refine_dim=2)
    exact = tokenizer.pretrained.exact_prior.tensors()
    exact["frequencies"] = exact["frequencies"][::32].contiguous()
    exact["lookup"] = exact["lookup"] // 32
    tensors = {name: tensor.half() for name, tensor in tokenizer.networks.state_dict().items()}
    tensors |= {EXACT_PRIOR + name: tensor for name, tensor in exact.items()}
    save_weights(path, tensors, asdict(tokenizer.networks.config))


class Maker:
    """Makes good files from videos of a moving pattern."""

    def __init__(self, folder):
        self.folder = folder
        self.tiny = VideoTokenizer.from_pretrained(WEIGHTS)

    def encoded(self, num_frames, height, width, *, seed=0, **options):
        return self.encoded_frames(make_frames(num_frames, height, width, seed=seed), **options)

    def encoded_frames(self, frames, *, tokenizer=None, chunks_per_group=1, quality=9, **info):
        source, target = self.folder / "source.mp4", self.folder / "encoded.vtok"
        write_source(source, frames, **info)
        encode_file(
            source,
            target,
            tokenizer=tokenizer or self.tiny,
            keyframe_seconds=chunks_per_group * 8 / 25,
            quality=quality,
            overwrite=True,
        )
        return target.read_bytes()

    def still(self):
        """A group of latent frames of which some channels, then all, are repeated."""
        path, target = self.folder / "moving.vtok", self.folder / "still.vtok"
        path.write_bytes(self.encoded(24, 16, 16, chunks_per_group=3))
        with CompressedVideo(path, tokenizer=self.tiny) as video, path.open("rb") as file, target.open("wb") as out:
            chunks = [latent.tokens for latent in video.latent_frames()]
            chunks[1].codes[::2] = chunks[0].codes[::2]
            chunks[2] = chunks[2]._replace(codes=chunks[1].codes)
            reader = ContainerReader(file)
            writer, group = (
                ContainerWriter(out, reader.header),
                GroupEncoder(self.tiny.pretrained.exact_prior, 9, (16, 16)),
            )
            pts = next(iter(reader)).pts
            for number, each in enumerate(chunks):
                group.push(each, list(pts[8 * number : 8 * number + 8]))
            writer.write_group(group.finish(0))
            writer.finish()
        return target.read_bytes()

    def without_frames(self):
        path = self.folder / "no_frames.vtok"
        with path.open("wb") as file:
            ContainerWriter(
                file, new_header(self.tiny.pretrained, VideoInfo(width=16, height=16, time_base=Fraction(1, 25)))
            ).finish()
        return path.read_bytes()

    def with_timestamps(self, pts):
        """A file whose groups of eight frames and fewer have these timestamps."""
        path, target = self.folder / "regular.vtok", self.folder / "irregular.vtok"
        path.write_bytes(self.encoded(len(pts), 16, 16))
        with path.open("rb") as file, target.open("wb") as out:
            reader = ContainerReader(file)
            writer = ContainerWriter(out, replace(reader.header, time_base=Fraction(1, 1000), average_rate=None))
            for group in reader:
                own = pts[group.first_frame : group.first_frame + group.num_frames]
                writer.write_group(replace(group, pts=tuple(own)))
            writer.finish()
        return target.read_bytes()

    def with_header_copy(self):
        with patch("vtok.container.writer._COPY_SHARE", 1):  # else only files of 60 kB or more have one
            return self.encoded(12, 16, 16)

    def joined(self, qualities=(9, 9)):
        paths = [self.folder / f"{i}.vtok" for i in range(len(qualities))]
        for seed, (path, quality) in enumerate(zip(paths, qualities, strict=True)):
            path.write_bytes(self.encoded(12, 16, 16, quality=quality, seed=seed))
        concat_files(paths, self.folder / "joined.vtok", overwrite=True)
        return (self.folder / "joined.vtok").read_bytes()

    def with_sound(self):
        """Packets of two tracks before each of two groups: some that follow, one out of step, one with side data."""
        path, target = self.folder / "silent.vtok", self.folder / "sounding.vtok"
        path.write_bytes(self.encoded(12, 16, 16))
        with path.open("rb") as file, target.open("wb") as out:
            reader = ContainerReader(file)
            header = replace(reader.header, audio=TRACKS, chapters=CHAPTERS)
            writer, waiting = ContainerWriter(out, header), PacketChunks(TRACKS, header.time_base)
            for number, group in enumerate(reader):
                for i in range(4):
                    pts = 32 * number + 8 * i - 5
                    waiting.push(TrackPacket(0, pts, pts, 8, bytes(range(pts % 7, pts % 7 + 16))))
                side_data = (("skip_samples", bytes(10)),) * number
                waiting.push(TrackPacket(1, 320 * number, 320 * number - 1, 0, b"sound", False, True, side_data))
                writer.write_packets(waiting.take())
                writer.write_group(group)
            writer.finish()
        return target.read_bytes()

    def with_subtitles(self):
        """Packets of one track of sound and two of subtitles before each of two groups."""
        path, target = self.folder / "silent.vtok", self.folder / "subtitled.vtok"
        path.write_bytes(self.encoded(12, 16, 16))
        with path.open("rb") as file, target.open("wb") as out:
            reader = ContainerReader(file)
            header = replace(reader.header, audio=TRACKS[:1], subtitles=SUBTITLES)
            writer, waiting = ContainerWriter(out, header), PacketChunks(header.tracks, header.time_base)
            for number, group in enumerate(reader):
                waiting.push(TrackPacket(0, 32 * number, 32 * number, 32, bytes(64)))
                waiting.push(TrackPacket(1, 320 * number - 9, 320 * number - 9, 700, "字幕 <i>1</i>".encode()))
                waiting.push(TrackPacket(2, 32 * number + 3, 32 * number + 3, 20, b"%d,0,Default,,0,0,0,,a" % number))
                writer.write_packets(waiting.take())
                writer.write_group(group)
            writer.finish()
        return target.read_bytes()

    def body(self):
        """Header and groups of a file of 12 frames of 16x16 in two groups."""
        return split(self.encoded(12, 16, 16))[:-2]

    def with_unknown_chunks(self):
        head, first, second = self.body()
        unknown = [Part(b"note", b"skip me"), Part(b"indx", b"and me: bit 2 is unknown", flags=4)]
        return ended([head, unknown[0], first, unknown[1], second, unknown[0]])

    def with_unknown_flags(self):
        return ended([part._replace(flags=0x80020000) for part in self.body()])

    def with_header(self, **values):
        head, *groups = self.body()
        return ended([edited_header(head, **values), *groups])

    def with_longer_end(self):
        *parts, done = split(ended(self.body()))
        return joined([*parts, done._replace(payload=done.payload + b"later")])


GOOD_FILES = {
    "one_group": lambda make: make.encoded(16, 24, 40, chunks_per_group=2),
    "several_groups": lambda make: make.encoded(37, 23, 39, chunks_per_group=2),
    "scene_cuts": lambda make: make.encoded_frames(scenes(24, 40, (11, 21, 5)), chunks_per_group=2),
    "middle_quality": lambda make: make.encoded(8, 16, 16, quality=5),
    "still": lambda make: make.still(),
    "one_pixel": lambda make: make.encoded(1, 1, 1),
    "lowest_quality": lambda make: make.encoded(8, 16, 16, quality=1),
    "quality_between_trained_ones": lambda make: make.encoded(16, 16, 16, quality=7.3),
    "variable_frame_rate": lambda make: make.with_timestamps(IRREGULAR),
    "extreme_timestamps": lambda make: make.with_timestamps([-(2**63), 2**63 - 1, -(2**63), 0, 0, 0, 0, 0, 2**63 - 1]),
    "no_frames": lambda make: make.without_frames(),
    "no_index": lambda make: ended(make.body(), has_index=False),
    "header_copy": lambda make: make.with_header_copy(),
    "joined": lambda make: make.joined(),
    "joined_of_several_qualities": lambda make: make.joined(qualities=(2, 9, 4.3)),
    "newer_writer": lambda make: ended(make.body(), versions=(9, 1)),
    "unknown_ancillary_chunk": lambda make: make.with_unknown_chunks(),
    "unknown_upper_flags": lambda make: make.with_unknown_flags(),
    "unknown_header_key": lambda make: make.with_header(later={"any": ["thing", None, 1.5]}),
    "sound_and_chapters": lambda make: make.with_sound(),
    "sound_and_subtitles": lambda make: make.with_subtitles(),
    "longer_end_chunk": lambda make: make.with_longer_end(),
    "tags_and_colors": lambda make: make.with_header(
        tags={"title": "Größe 日本 🎬", "comment": 'a "quoted"\nline'},
        color_range=2, color_matrix=9, color_primaries=9, color_transfer=14, sample_aspect_ratio=[4, 3],
    ),
    "pretrained": lambda make: make.encoded(
        20, 40, 56, quality=5, chunks_per_group=2, tokenizer=VideoTokenizer.from_pretrained()
    ),
}  # fmt: skip


def described(path):
    """What the manifest says of a good file."""
    model = None if path.stem == "pretrained" else WEIGHTS.name
    tokenizer = VideoTokenizer.from_pretrained(*([WEIGHTS] if model else []))
    with CompressedVideo(path, tokenizer=tokenizer) as video:
        tokens = sha256_of_tokens(video)
    with path.open("rb") as file:
        items = list(ContainerReader(file).items())
    pts = [value for item in items if isinstance(item, VideoGroup) for value in item.pts]
    packets = [packet for item in items if isinstance(item, PacketChunk) for packet in item.packets]
    sound = {
        "packets": [packet[:4] for packet in packets],
        "sound_sha256": hashlib.sha256(b"".join(packet.data for packet in packets)).hexdigest(),
    }
    return {
        "model": model,
        "model_sha256": tokenizer.weights_sha256,
        "num_frames": len(pts),
        "pts": pts,
        **tokens,
    } | (sound if packets else {})


def write_manifest(good):
    """One line for each file, so that a difference shows which changed."""
    bad = {name: {"error": x.error, "message": x.message, "seen_by": x.seen_by} for name, x in BAD_FILES.items()}
    parts = (
        f'"{what}": {{\n' + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(files.items())) + "\n}"
        for what, files in (("good", good), ("bad", bad))
    )
    MANIFEST.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="default: all that are missing")
    parser.add_argument("--force", action="store_true", help="make existing ones again: never what was released")
    arguments = parser.parse_args()
    paths = {name: FOLDER / f"{name}.vtok" for name in GOOD_FILES} | {
        name: FOLDER / "bad" / f"{name}.vtok" for name in BAD_FILES
    }
    names = arguments.names or [name for name, path in paths.items() if arguments.force or not path.exists()]
    if unknown := set(names) - set(paths):
        sys.exit(f"no golden file {', '.join(sorted(unknown))}; there are {', '.join(paths)}")
    if existing := [name for name in names if paths[name].exists() and not arguments.force]:
        sys.exit(f"{', '.join(existing)}: exists already. --force makes it again, never do that to a released file")
    (FOLDER / "bad").mkdir(parents=True, exist_ok=True)
    if not WEIGHTS.exists():
        write_weights(WEIGHTS)
    good = json.loads(MANIFEST.read_text())["good"] if MANIFEST.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        make = Maker(Path(folder))
        bad = bad_files(ended(make.body()))
        for name in names:
            paths[name].write_bytes(GOOD_FILES[name](make) if name in GOOD_FILES else bad[name])
            if name in GOOD_FILES:
                good[name] = described(paths[name])
    write_manifest(good)
    print(f"made {len(names)} files in {FOLDER}")


if __name__ == "__main__":
    main()
