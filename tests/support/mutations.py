"""Mutants of sound `.vtok` files: damaged anywhere, or edited with right CRCs, as a hostile writer would send them.

Damage seldom gets past a CRC. So most mutants are edited: a field of one chunk is changed, and the CRCs around it and
mostly the index and the totals too are made right again.
"""

import json
import struct
from typing import NamedTuple

from support.chunk_assembly import Group, Part, ended, joined, split, with_crc
from support.videos import ROOT

# All golden files of the tiny model; the other one is slow to decode, and no different.
SEEDS = [path.read_bytes() for path in sorted((ROOT / "tests" / "golden").glob("*.vtok")) if path.stem != "pretrained"]

# Values at which programs go wrong, for whatever field.
INTEGERS = [0, 1, 2, 7, 8, 9, 127, 255, 256, 257, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
ODD_VALUES = [
    *INTEGERS, -1, 1.5, 1e308, 16384, 16385, 10**30, True, None, "", "x", "\u202e\n\x1b[2J", "\ud800", "a" * 101,
    [], [1, 2], [0, 1], [1, 0], [2**31 - 1, 1], [1, 2**31 - 1], [1, 2, 3], {}, {"a": 1}, {"\x1b]0;": "\x9b1m"}, ...,
]  # fmt: skip
# Values that pass all checks of the header and matter behind it.
SOUND_VALUES = {
    "width": lambda rng: rng.randint(1, 48),
    "height": lambda rng: rng.randint(1, 48),
    "time_base": lambda rng: [rng.choice([1, 2, 1001, 2**31 - 1]), rng.choice([1, 25, 1000, 90000, 2**31 - 1])],
    "average_rate": lambda rng: rng.choice([None, [1, 2**31 - 1], [2**31 - 1, 1], [30000, 1001]]),
    "sample_aspect_ratio": lambda rng: [rng.choice([1, 4, 2**31 - 1]), rng.choice([1, 3, 2**31 - 1])],
    "color_range": lambda rng: rng.randint(0, 255),
    "color_matrix": lambda rng: rng.randint(0, 255),
    "color_primaries": lambda rng: rng.randint(0, 255),
    "color_transfer": lambda rng: rng.randint(0, 255),
    "tags": lambda rng: {"title": "\x1b[31m\n\x00"},
}
SOUND_TRACK_VALUES = {
    "codec": lambda rng: rng.choice(
        ["aac", "opus", "mp3", "flac", "vorbis", "pcm_u8", "ac3", "h264", "none", "subrip", "mov_text", "ass"]
    ),
    "time_base": SOUND_VALUES["time_base"],
    "sample_rate": lambda rng: rng.choice([1, 8000, 48000, 2**31 - 1]),
    "channel_layout": lambda rng: rng.choice(["mono", "7.1", "none", "0 channels", "9999 channels"]),
    "extradata": lambda rng: rng.choice(["", "EZA=", "T3B1c0hlYWQBAjgBgLsAAAAAAA==", "A" * 4000]),
    "codec_delay": lambda rng: rng.choice([0, 312, 2**31 - 1]),
    "tags": lambda rng: {"language": "\x1b[31m", "title": "\0"},
    "start": lambda rng: rng.choice([-(2**63), 0, 2**63 - 1]),
    "end": lambda rng: rng.choice([-(2**63), 0, 2**63 - 1]),
}
LETTERS = [b"apkt", b"HEAD", b"VGRP", b"head", b"indx", b"DONE", b"ABCD", b"abcd", b"AB\0D"]


class Mutant(NamedTuple):
    """A file, and how it came about."""

    data: bytes
    how: str


def mutant_of(data, rng):
    """One of all kinds of mutants of the sound file `data`."""
    if rng.random() < 0.3:
        return Mutant(damaged(data, rng), "damaged")
    parts, how = split(data), []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        edit = rng.choice(EDITS)
        edit(parts, rng)
        how.append(edit.__name__)
    return Mutant(assembled(parts, rng), "+".join(how))


def damaged(data, rng):
    """`data` with one to three of: bits flipped; a range zeroed, deleted, inserted, doubled, swapped; cut off."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        if not data:
            break
        start = rng.randrange(len(data))
        stop = min(len(data), start + rng.choice([1, 1, 2, 4, 8, 20, 64, 256]))
        other = rng.randrange(len(data))
        piece = bytes(data[start:stop])
        kind = rng.randrange(7)
        if kind == 0:
            data[start] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[start:stop] = bytes(stop - start)
        elif kind == 2:
            del data[start:stop]
        elif kind == 3:
            data[start:start] = rng.randbytes(stop - start)
        elif kind == 4:
            data[other:other] = piece
        elif kind == 5:
            data[start:stop], data[other : other + stop - start] = data[other : other + stop - start], piece
        elif rng.random() < 0.3:
            del data[start:]
    return bytes(data)


def assembled(parts, rng):
    """A file of `parts`, mostly with an index and an end that suit them."""
    if rng.random() < 0.7:
        try:
            body = [part for part in parts if part.kind not in (b"indx", b"DONE")]
            return ended(body, has_index=rng.random() < 0.8)
        except struct.error:  # numbers that have no room there, or a group that is none any more
            pass
    return joined(parts)


def place_of(parts, kind, rng):
    """The place of one of the chunks of this kind, or of any if there are none."""
    return rng.choice([i for i, part in enumerate(parts) if part.kind == kind] or range(len(parts)))


def a_header_value(parts, rng):
    place = place_of(parts, b"HEAD", rng)
    try:
        header = json.loads(parts[place].payload)
    except ValueError:
        return
    if isinstance(header, dict) and header:
        key = rng.choice(sorted(header))
        is_sound = key in SOUND_VALUES and rng.random() < 0.6
        value = SOUND_VALUES[key](rng) if is_sound else rng.choice(ODD_VALUES)
        header = {k: v for k, v in (header | {key: value}).items() if v is not ...}
    parts[place] = parts[place]._replace(payload=json.dumps(header).encode())


def a_payload_damaged(parts, rng):
    place = rng.randrange(len(parts))
    parts[place] = parts[place]._replace(payload=damaged(parts[place].payload, rng))


def a_group_edited(parts, rng, **values):
    place = place_of(parts, b"VGRP", rng)
    try:
        group = Group.from_bytes(parts[place].payload)
        changed = {name: change(getattr(group, name)) for name, change in values.items()}
        parts[place] = parts[place]._replace(payload=group._replace(**changed).to_bytes())
    except struct.error:  # it was no group, or the number has no room there
        pass


def a_number_of_a_group(parts, rng):
    name = rng.choice([field for field in Group._fields if field not in ("pts_bytes", "coded")])
    a_group_edited(parts, rng, **{name: lambda old: changed_number(old, rng)})


def the_frames_of_a_group(parts, rng):
    """Counts that suit each other."""
    frames = rng.choice([1, 7, 8, 9, 16, 17, 64, 256])
    pts = b"\2" + (varint(0) + varint(frames - 3) if frames > 2 else b"")
    a_group_edited(
        parts,
        rng,
        num_frames=lambda _: frames,
        num_latent_frames=lambda _: -(-frames // 8),
        pts_bytes=lambda _: pts[: frames - 1],
        coded=lambda old: old + rng.randbytes(4 * rng.randrange(20)),
    )


def the_timestamps_of_a_group(parts, rng):
    numbers = b"".join(varint(rng.choice([0, 1, 2, 3, *INTEGERS])) for _ in range(rng.randrange(9)))
    a_group_edited(parts, rng, pts_bytes=lambda old: rng.choice([numbers, damaged(old, rng), numbers + old]))


def the_steps_of_a_group(parts, rng):
    """Sound timestamps that jump, also beyond what a video file can hold."""
    a_group_edited(
        parts,
        rng,
        pts_bytes=lambda old: b"".join(varint(rng.choice([1, 2, 3, 80, 2 ** rng.randrange(66)])) for _ in range(7)),
        first_pts=lambda old: rng.choice([old, -(2**63), 2**63 - 1, -1, 2**62]),
    )


def the_channel_counts_of_a_group(parts, rng):
    count = rng.choice([0, 1, 4, 11, 12, 13, 255, 2**16 - 1])
    place = 2 * rng.randrange(2)

    def change(codes):
        return codes[:place] + struct.pack("<H", count) + codes[place + 2 :]

    a_group_edited(parts, rng, coded=lambda old: old[: codes_begin(old)] + change(old[codes_begin(old) :]))


def the_words_of_a_group(parts, rng):
    def change(old):
        begin = codes_begin(old) + rng.choice([2, 4])
        return old[:begin] + other_words(old[begin:], rng)

    a_group_edited(parts, rng, coded=change)


def the_motion_of_a_group(parts, rng):
    def change(old):
        begin = codes_begin(old)
        motion = other_words(old[4:begin], rng)
        length = rng.choice([len(motion)] * 4 + [rng.choice(INTEGERS) & 0xFFFFFFFF])
        return struct.pack("<I", length) + motion + old[begin:]

    a_group_edited(parts, rng, coded=change)


def other_words(old, rng):
    """Words of a range coder, or what should be some."""
    return rng.choice([rng.randbytes(4 * rng.randrange(40)), b"\xff" * 16, bytes(8), damaged(old, rng), b""])


def codes_begin(coded):
    """Where the codes begin in a group's entropy-coded bytes, as far as these are sound."""
    return min(len(coded), 4 + struct.unpack_from("<I", coded)[0]) if len(coded) >= 4 else len(coded)


def the_packets_of_sound(parts, rng):
    place = place_of(parts, b"apkt", rng)
    payload = parts[place].payload
    if parts[place].kind == b"apkt" and len(payload) >= 24:
        count = rng.choice([payload[16:20]] * 3 + [struct.pack("<I", rng.choice([0, 1, 6, 16385, 2**32 - 1]))])
        times = rng.choice([payload[:16], struct.pack("<qq", -(2**63), 2**63 - 1), rng.randbytes(16)])
        packets = rng.choice([damaged(payload[24:], rng), payload[24:] + rng.randbytes(3)])
        parts[place] = parts[place]._replace(payload=with_crc(times + count) + packets)


def a_value_of_a_track(parts, rng):
    """Or of a chapter, where there are any."""
    place = place_of(parts, b"HEAD", rng)
    try:
        header = json.loads(parts[place].payload)
        described = rng.choice([*header["audio"], *header.get("subtitles", []), *header["chapters"]])
    except (ValueError, LookupError, TypeError):
        return
    if isinstance(described, dict) and described:
        key = rng.choice(sorted(described))
        is_sound = key in SOUND_TRACK_VALUES and rng.random() < 0.6
        described[key] = SOUND_TRACK_VALUES[key](rng) if is_sound else rng.choice(ODD_VALUES[:-1])
        parts[place] = parts[place]._replace(payload=json.dumps(header).encode())


def a_chunk_head(parts, rng):
    place = rng.randrange(len(parts))
    part = parts[place]
    change = rng.choice(
        [
            {"kind": rng.choice(LETTERS)},
            {"flags": rng.choice([1, 4, 1 << 15, 1 << 16, 1 << 17, 2**32 - 1])},
            {"sequence": rng.choice([0, place + 1, 2**32 - 1])},
            {"length": min(2**32 - 1, changed_number(len(part.payload), rng))},
        ]
    )
    parts[place] = part._replace(**change)


def the_order_of_chunks(parts, rng):
    a, b = rng.randrange(len(parts)), rng.randrange(len(parts))
    kind = rng.randrange(4)
    if kind == 0:
        parts[a], parts[b] = parts[b], parts[a]
    elif kind == 1:
        parts.insert(b, parts[a])
    elif kind == 2 and len(parts) > 1:
        del parts[a]
    else:
        parts.insert(a, Part(rng.choice(LETTERS), rng.randbytes(rng.randrange(40))))


def a_number_of_the_end(parts, rng):
    """A field of the index or of the end chunk; both are left as they are when the file is put together by `joined`."""
    place = place_of(parts, rng.choice([b"indx", b"DONE"]), rng)
    payload = bytearray(parts[place].payload)
    if len(payload) >= 8:
        start = 4 * rng.randrange(len(payload) // 4 - 1)
        old = int.from_bytes(payload[start : start + 4], "little")
        payload[start : start + 4] = (changed_number(old, rng) % 2**32).to_bytes(4, "little")
    parts[place] = parts[place]._replace(payload=bytes(payload))


def changed_number(old, rng):
    old = old or 0
    return max(0, rng.choice([old - 1, old + 1, 2 * old, rng.choice(INTEGERS), rng.randrange(300)]))


def varint(value):
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


EDITS = [
    a_header_value,
    a_header_value,
    a_payload_damaged,
    a_number_of_a_group,
    the_frames_of_a_group,
    the_timestamps_of_a_group,
    the_steps_of_a_group,
    the_channel_counts_of_a_group,
    the_words_of_a_group,
    the_motion_of_a_group,
    a_chunk_head,
    the_order_of_chunks,
    a_number_of_the_end,
    the_packets_of_sound,
    a_value_of_a_track,
]
