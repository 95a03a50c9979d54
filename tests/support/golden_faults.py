"""Files with something wrong, each named after it, made from a sound file of two groups."""

import struct
from collections.abc import Callable
from typing import NamedTuple

from support.chunk_assembly import (
    Group,
    Part,
    edited_group,
    edited_header,
    ended,
    joined,
    parts_of_coded,
    split,
    with_crc,
    with_motion,
)

MAX_HEADER_BYTES, MAX_CHUNK_BYTES = 1 << 20, 64 << 20
HEAD, FIRST, SECOND, INDEX, DONE = range(5)


class BadFile(NamedTuple):
    """What is wrong with a file.

    Attributes:
        error: Name of the class that reading all frames must raise.
        message: Pattern in its message.
        make: The file, from the chunks of a sound one.
        seen_by: `structure` if every reader and `vtok verify` must see it, `index` if only random access comes upon it
            and `vtok verify` tells, `decoder` if only one that has the model can.
    """

    error: str
    message: str
    make: Callable[[list[Part]], bytes]
    seen_by: str = "structure"


def with_header(**values):
    return lambda parts: ended([edited_header(parts[HEAD], **values), *parts[FIRST : SECOND + 1]])


def with_header_text(change):
    return lambda parts: ended([parts[HEAD]._replace(payload=change(parts[HEAD].payload)), *parts[FIRST : SECOND + 1]])


def with_second_group(**values):
    return lambda parts: ended([*parts[:SECOND], edited_group(parts[SECOND], **values)])


def with_coded(change):
    """The codes of the second group changed."""
    return lambda parts: ended(
        [*parts[:SECOND], edited_group(parts[SECOND], coded=change(Group.from_bytes(parts[SECOND].payload).coded))]
    )


def with_codes(change):
    """The codes' bytes of the second group changed, not those of its motion."""

    def changed(coded):
        motion, codes = parts_of_coded(coded)
        return motion + change(codes)

    return with_coded(changed)


def with_other_motion(motion):
    """Other bytes of motion in the second group."""
    return with_coded(lambda coded: with_motion(motion, parts_of_coded(coded)[1]))


def with_sound(packets, count):
    """Packets before the second group."""
    head = with_crc(struct.pack("<qqI", 0, 0, count))
    return lambda parts: ended([*parts[:SECOND], Part(b"apkt", head + packets), parts[SECOND]])


def with_chunk(number, **values):
    """One chunk declared otherwise, all others as they were."""
    return lambda parts: joined([part._replace(**values) if i == number else part for i, part in enumerate(parts)])


def with_chunks(*numbers):
    """Chunks in another order, each with the sequence number that it had."""
    return lambda parts: joined([parts[i]._replace(sequence=i) for i in numbers])


def with_byte(find_offset, change=0x10):
    """A byte changed, nothing repaired."""

    def make(parts):
        data = bytearray(joined(parts))
        data[find_offset(parts)] ^= change
        return bytes(data)

    return make


def offset_of(number, within=0):
    return lambda parts: 16 + sum(len(part.payload) + 24 for part in parts[:number]) + within


def with_done(**values):
    """Other totals; `frames`, `groups`, `latent_frames`."""

    def make(parts):
        totals = dict(
            zip(("frames", "groups", "latent_frames"), struct.unpack_from("<QIQ", parts[DONE].payload), strict=True)
        )
        payload = struct.pack("<QIQ", *(totals | values).values()) + parts[DONE].payload[20:]
        return joined([*parts[:DONE], parts[DONE]._replace(payload=payload)])

    return make


def lying_index(parts):
    """The index says that the second group is where the first one is."""
    first, second = struct.iter_unpack("<IQQI", parts[INDEX].payload)
    payload = struct.pack("<IQQI", *first) + struct.pack("<IQQI", *first[:2], *second[2:])
    return joined([*parts[:INDEX], parts[INDEX]._replace(payload=payload), parts[DONE]])


def too_many_codes(parts):
    """A kilobyte that declares half a gigabyte of codes, all zero."""
    group = edited_group(
        parts[FIRST], num_frames=88, num_latent_frames=11, pts_bytes=b"\2\0\x55", coded=bytes(4 + 2 * 11)
    )
    return ended([edited_header(parts[HEAD], width=16384, height=16384), group])


def in_text_mode(parts):
    return joined(parts).replace(b"\r\n", b"\n")


def key_twice(text):
    return text.replace(b'{"', b'{"width":16,"', 1)


NOT_JSON, UNKNOWN = "header is not valid JSON", "is unknown to vtok"
BAD_FILES = {
    # The first 16 bytes
    "empty": BadFile("TruncatedError", "the file is empty", lambda parts: b""),
    "wrong_signature": BadFile("FormatError", "not a .vtok file", with_byte(lambda _: 1)),
    "text_mode_damage": BadFile("FormatError", "copy it in binary mode", in_text_mode),
    "needs_newer_reader": BadFile(
        "UnsupportedVersionError", "needs a reader of format 2", lambda parts: joined(parts, (2, 2))
    ),
    "wrong_versions_crc": BadFile("ChecksumError", "version numbers at byte offset 8", with_byte(lambda _: 13)),
    "cut_off_in_versions": BadFile("TruncatedError", "ends after 11 bytes", lambda parts: joined(parts)[:11]),
    # The header
    "missing_header": BadFile("FormatError", "must be HEAD", lambda parts: joined(parts[FIRST:])),
    "second_header": BadFile(
        "FormatError", "second header", lambda parts: ended([*parts[:SECOND], parts[HEAD], parts[SECOND]])
    ),
    "header_crc_wrong": BadFile("ChecksumError", "HEAD chunk 0 .* is damaged", with_byte(offset_of(HEAD, 30))),
    "header_too_long": BadFile("LimitError", "declares 1048577 bytes", with_chunk(HEAD, length=MAX_HEADER_BYTES + 1)),
    "header_not_json": BadFile("FormatError", NOT_JSON, with_header_text(lambda text: text[:-1])),
    "header_not_utf_8": BadFile("FormatError", NOT_JSON, with_header_text(lambda text: text.decode().encode("utf-16"))),
    "header_not_an_object": BadFile(
        "FormatError", "must be an object", with_header_text(lambda text: b"[" + text + b"]")
    ),
    "header_nested_too_deeply": BadFile(
        "FormatError", "nested too deeply", with_header_text(lambda text: b"[" * 1500 + b"]" * 1500)
    ),
    "header_key_twice": BadFile("FormatError", "same key twice", with_header_text(key_twice)),
    "header_key_missing": BadFile("FormatError", "header lacks time_base", with_header(time_base=...)),
    "header_number_not_finite": BadFile(
        "FormatError",
        "is not finite",
        with_header_text(lambda text: text.replace(b'"patch_size":8', b'"patch_size":1e999')),
    ),
    "header_integer_with_point": BadFile("FormatError", "width is 16.0", with_header(width=16.0)),
    "width_zero": BadFile("FormatError", "width is 0", with_header(width=0)),
    "width_over_limit": BadFile("LimitError", "width is 16385: the limit", with_header(width=16385)),
    "time_base_over_zero": BadFile("FormatError", "term of time_base is 0", with_header(time_base=[1, 0])),
    "tag_not_a_string": BadFile("FormatError", "must be strings", with_header(tags={"title": 7})),
    "other_model": BadFile(
        "ModelMismatchError", "was written with tiny f{64}", with_header(model_sha256="f" * 64), "decoder"
    ),
    "unknown_entropy_coder": BadFile(
        "FormatError", "entropy coder 'prior-9' is unknown", with_header(entropy_coder="prior-9"), "decoder"
    ),
    "old_entropy_coder": BadFile(
        "FormatError", "was made by an older vtok", with_header(entropy_coder="prior-2"), "decoder"
    ),
    "other_codebooks_than_model": BadFile(
        "FormatError", "11 codebooks, 8 frames", with_header(num_codebooks=11), "decoder"
    ),
    "quality_over_that_of_model": BadFile(
        "FormatError", "quality 9.5 declared", with_second_group(quality_steps=2432), "decoder"
    ),
    # Chunks
    "chunk_header_crc_wrong": BadFile(
        "ChecksumError", "header of chunk 2 at byte offset", with_byte(offset_of(SECOND, 9))
    ),
    "chunk_longer_than_limit": BadFile(
        "LimitError", "declares 67108865 bytes", with_chunk(SECOND, length=MAX_CHUNK_BYTES + 1)
    ),
    "chunk_longer_than_file": BadFile(
        "TruncatedError", "ends inside VGRP chunk 2", with_chunk(SECOND, length=MAX_CHUNK_BYTES)
    ),
    "payload_crc_wrong": BadFile(
        "ChecksumError", "VGRP chunk 2 .* frames 8 to 11 are lost", with_byte(offset_of(SECOND, 70))
    ),
    "unknown_critical_chunk": BadFile(
        "UnsupportedVersionError",
        f"ABCD chunk 2 .*{UNKNOWN}",
        lambda parts: ended([*parts[:SECOND], Part(b"ABCD", b"?"), parts[SECOND]]),
    ),
    "reserved_flag_set": BadFile("UnsupportedVersionError", f"flags 0x00000004 {UNKNOWN}", with_chunk(SECOND, flags=4)),
    "chunk_type_not_letters": BadFile("ChecksumError", "header of chunk 2", with_chunk(SECOND, kind=b"VG\0P")),
    "sequence_gap": BadFile("FormatError", "sequence numbers 1 are missing", with_chunks(HEAD, SECOND, INDEX, DONE)),
    "chunk_repeated": BadFile(
        "FormatError", "repeated or out of order", with_chunks(HEAD, FIRST, FIRST, SECOND, INDEX, DONE)
    ),
    # Groups
    "group_head_crc_wrong": BadFile(
        "ChecksumError",
        "description of the group is damaged",
        lambda parts: ended([*parts[:SECOND], parts[SECOND]._replace(payload=b"\1" + parts[SECOND].payload[1:])]),
    ),
    "first_frame_wrong": BadFile("FormatError", "begins with frame 9: expected 8", with_second_group(first_frame=9)),
    "frames_zero": BadFile(
        "FormatError", "declares no frames", with_second_group(num_frames=0, num_latent_frames=0, pts_bytes=b"")
    ),
    "frames_over_limit": BadFile(
        "LimitError",
        "declares 257 frames",
        with_second_group(num_frames=257, num_latent_frames=33, pts_bytes=b"\2\0\xfe\1"),
    ),
    "latent_frames_wrong": BadFile("FormatError", "must be 1", with_second_group(num_latent_frames=2)),
    "codes_over_limit": BadFile("LimitError", "have 553648128 codes: the limit is 536870912", too_many_codes),
    "pts_bytes_longer_than_payload": BadFile(
        "FormatError", "bytes of timestamps declared", with_second_group(pts_length=1 << 30)
    ),
    "pts_bytes_too_many": BadFile("FormatError", "1 bytes left over", with_second_group(pts_bytes=b"\2\0\1\2")),
    "pts_bytes_too_few": BadFile("FormatError", "has no end", with_second_group(pts_bytes=b"\2\0\0")),
    "pts_run_too_long": BadFile("FormatError", "3 equal steps for 2 frames", with_second_group(pts_bytes=b"\2\0\2")),
    "pts_varint_too_long": BadFile(
        "FormatError", "has no end", with_second_group(pts_bytes=b"\x82" + b"\x80" * 9 + b"\0\0\1")
    ),
    "pts_over_64_bits": BadFile("FormatError", "exceeds 64 bits", with_second_group(first_pts=2**63 - 3)),
    "codes_crc_wrong": BadFile(
        "ChecksumError", "codes or motion of frames 8 to 11", with_second_group(tokens_crc32=1), "decoder"
    ),
    "entropy_bytes_missing": BadFile(
        "TruncatedError", "1 entropy-coded bytes are too few", with_coded(lambda coded: coded[:1]), "decoder"
    ),
    "bytes_of_codes_missing": BadFile(
        "TruncatedError", "payload of 1 bytes", with_codes(lambda codes: codes[:1]), "decoder"
    ),
    "motion_longer_than_payload": BadFile(
        "FormatError", "bytes of motion declared", with_coded(lambda coded: b"\xff\xff\xff\x7f" + coded[4:]), "decoder"
    ),
    "motion_not_whole_words": BadFile("FormatError", "whole words of 4 bytes", with_other_motion(b"\1"), "decoder"),
    "motion_words_left_over": BadFile(
        "FormatError", "bytes are left over", with_other_motion(b"\0" * 8 + b"\1" * 8), "decoder"
    ),
    "motion_other_than_written": BadFile(
        "FormatError", "symbol of motion is|vector|left over|damaged", with_other_motion(b"\x55\xaa" * 16), "decoder"
    ),
    "entropy_bytes_not_whole_words": BadFile(
        "FormatError", "whole words of 4 bytes", with_coded(lambda coded: coded + b"\0"), "decoder"
    ),
    "entropy_words_changed": BadFile(
        "ChecksumError",
        "codes or motion of frames 8 to 11",
        with_coded(lambda coded: coded[:-8] + b"\1" * 8),
        "decoder",
    ),
    "more_channels_than_model": BadFile(
        "FormatError", "13 coded channels declared", with_codes(lambda codes: b"\x0d\0" + codes[2:]), "decoder"
    ),
    # The end
    "end_chunk_missing": BadFile(
        "TruncatedError", "without an end chunk.* complete are 2 groups", lambda parts: joined(parts[:DONE])
    ),
    "cut_off_in_group": BadFile(
        "TruncatedError", "complete are 1 groups with 8 frames", lambda parts: joined(parts[: SECOND + 1])[:-9]
    ),
    # Sound
    "sound_of_no_track": BadFile("FormatError", "track 0: the header has 0", with_sound(b"\x00\x09\x00", 1)),
    "sound_with_fewer_packets": BadFile("FormatError", "2 packets declared: there are", with_sound(b"", 2)),
    "sound_with_too_many_packets": BadFile("LimitError", "the limit is 16384", with_sound(b"", 16385)),
    # The end
    "data_after_end": BadFile("FormatError", "data follows DONE", lambda parts: joined(parts) + b"\0"),
    "totals_wrong": BadFile("FormatError", "promises .*num_frames=13", with_done(frames=13)),
    "end_chunk_too_short": BadFile(
        "FormatError",
        "has 27 bytes",
        lambda parts: joined([*parts[:DONE], parts[DONE]._replace(payload=parts[DONE].payload[:-1])]),
    ),
    "index_wrong": BadFile("FormatError", "repeated or out of order|index promises", lying_index, "index"),
}


def bad_files(sound):
    """All bad files, by name, from a sound one of 12 frames of 16x16 in two groups."""
    parts = split(sound)
    assert [part.kind for part in parts] == [b"HEAD", b"VGRP", b"VGRP", b"indx", b"DONE"]
    return {name: bad.make(parts) for name, bad in BAD_FILES.items()}
