"""Motion comes back as it was, costs what it should, and damaged bytes give errors of the format or some motion."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.integer_motion import MotionReference
from vtok.entropy.motion_coder import MotionDecoder, MotionEncoder, MotionWalk
from vtok.entropy.motion_symbols import SymbolCounter, coder_tables
from vtok.entropy.motion_tables import NUM_TABLES
from vtok.errors import ConfigError, FormatError
from vtok.video.motion import MAX_VECTOR, NUM_FIELDS, ChunkMotion, motion_size, predicted_field

SIZES = [(1, 1), (16, 16), (17, 16), (16, 40), (100, 33), (90, 170), (64, 256)]
KINDS = ["still", "random", "extreme", "smooth", "sparse", "units", "steady", "in_place"]


def made_field(rng, kind, fields, k):
    rows, columns = fields.shape[2:]
    shape = (2, rows, columns)
    if kind == "random":
        return rng.integers(-MAX_VECTOR, MAX_VECTOR + 1, shape)
    if kind == "extreme":
        return rng.choice([-MAX_VECTOR, 0, MAX_VECTOR], shape)
    if kind == "smooth":
        slopes = rng.normal(0, 3, (3, 2, 1, 1))
        y, x = np.mgrid[:rows, :columns]
        return np.rint(np.clip(slopes[0] * y + slopes[1] * x + 5 * slopes[2], -MAX_VECTOR, MAX_VECTOR))
    if kind == "sparse":
        return predicted_field(fields, k) * (rng.random(shape) < 0.9)
    if kind == "units":
        units = rng.integers(-9, 10, (2, -(-rows // 2), -(-columns // 2))) * (rng.random() < 0.7)
        return units.repeat(2, 1).repeat(2, 2)[:, :rows, :columns]
    if kind in ("steady", "in_place"):
        if k == NUM_FIELDS - 1 and kind == "in_place":
            return predicted_field(fields, k) * (rng.random(shape[1:]) < 0.2)
        return predicted_field(fields, k) if k else rng.integers(-40, 41, shape)
    return np.zeros(shape)


def made_motion(rng, height, width, kind, *, starts_group=False):
    rows, columns = motion_size(height, width)
    fields = np.zeros((NUM_FIELDS, 2, rows, columns), np.int16)
    for k in range(NUM_FIELDS - starts_group):
        fields[k] = made_field(rng, kind, fields, k)
    return ChunkMotion(fields)


def made_group(rng, height, width, kinds):
    return [made_motion(rng, height, width, kind, starts_group=i == 0) for i, kind in enumerate(kinds)]


def encoded(motions):
    encoder = MotionEncoder()
    for motion in motions:
        encoder.push(motion)
    return encoder.finish()


def decoded(data, num_chunks, height, width):
    decoder = MotionDecoder(data, num_chunks=num_chunks, height=height, width=width)
    return [decoder.pull() for _ in range(num_chunks)]


def assert_equal(motions, others):
    for motion, other in zip(motions, others, strict=True):
        np.testing.assert_array_equal(motion.fields, other.fields)
        assert other.fields.dtype == np.int16


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from(SIZES) | st.tuples(st.integers(1, 200), st.integers(1, 200)),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4),
)
def test_round_trip_and_reference(seed, size, kinds):
    rng = np.random.default_rng(seed)
    motions = made_group(rng, *size, kinds)
    data = encoded(motions)
    assert_equal(motions, decoded(data, len(motions), *size))
    reference = MotionReference(data, *size)
    for motion in motions:
        for field, expected in zip(reference.pull(), motion.fields, strict=True):
            assert field == {place: tuple(expected[:, *place].tolist()) for place in np.ndindex(expected.shape[1:])}


class MotionMeter:
    """Tells the ideal bits of the motion of chunks that are pushed one by one, as those of one group."""

    def __init__(self):
        self.symbols, self.walk, self.bits = SymbolCounter(), None, 0.0

    def push(self, motion):
        self.walk = self.walk or MotionWalk(self.symbols, *motion.fields.shape[2:])
        self.walk.code(motion)
        before, self.bits = self.bits, self.symbols.ideal_bits()
        return self.bits - before


def test_motion_is_not_changed_by_coding():
    rng = np.random.default_rng(0)
    motions = made_group(rng, 90, 170, KINDS)
    copies = [ChunkMotion(m.fields.copy()) for m in motions]
    pulled = decoded(encoded(motions), len(motions), 90, 170)
    for motion in pulled:  # what the caller does with a motion must not reach the decoder
        motion.fields[:] = 1
    assert_equal(copies, motions)


def test_still_chunks_cost_next_to_nothing():
    still = ChunkMotion.still(360, 640)
    meter = MotionMeter()
    bits = [meter.push(still) for _ in range(40)]
    assert bits[0] < 2
    assert max(bits[1:]) < 0.1


def test_a_group_without_motion_takes_no_bytes():
    still = ChunkMotion.still(360, 640)
    assert encoded([still] * 33) == b""
    assert_equal([still] * 33, decoded(b"", 33, 360, 640))


def test_ideal_bits_are_those_of_the_bytes():
    rng = np.random.default_rng(1)
    motions = made_group(rng, 200, 300, KINDS * 2)
    meter = MotionMeter()
    bits = sum(meter.push(motion) for motion in motions)
    assert bits == pytest.approx(8 * len(encoded(motions)), rel=1e-3, abs=64)


def pan(*, starts_group):
    """A field that is the same everywhere, and steady from frame to frame."""
    fields = np.zeros((NUM_FIELDS, 2, 23, 40), np.int16)
    fields[0] = np.array([-30, 6])[:, None, None]
    for k in range(1, NUM_FIELDS - starts_group):
        fields[k] = predicted_field(fields, k)
    return ChunkMotion(fields)


def test_one_pan_costs_little():
    meter = MotionMeter()
    assert meter.push(pan(starts_group=True)) < 1300
    assert meter.push(pan(starts_group=False)) < 400


def test_blocks_that_are_not_displaced_cost_little():
    meter = MotionMeter()
    meter.push(pan(starts_group=True))
    meter.push(pan(starts_group=False))
    steady = meter.push(pan(starts_group=False))
    some, none = pan(starts_group=False), pan(starts_group=False)
    none.fields[-1] = 0
    assert meter.push(none) < steady + 5
    some.fields[-1, :, 7:13, 5:21] = none.fields[-1, :, 7:13, 5:21]
    assert meter.push(some) < steady + 700
    none.fields[-1, :, 7:13, 5:21] = pan(starts_group=False).fields[-1, :, 7:13, 5:21]
    assert meter.push(none) < steady + 700


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=400), size=st.tuples(st.integers(1, 120), st.integers(1, 120)), cut=st.integers(0, 3))
def test_hostile_bytes(data, size, cut):
    data = data[: len(data) // 4 * 4 + (cut if cut == 1 else 0)]
    try:
        motions = decoded(data, 5, *size)
    except FormatError:
        return
    for motion in motions:
        assert motion.fields.shape == (NUM_FIELDS, 2, *motion_size(*size))
        assert abs(motion.fields.astype(int)).max() <= MAX_VECTOR


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(KINDS), place=st.floats(0, 1), flip=st.integers(1, 255))
def test_damaged_bytes(seed, kind, place, flip):
    rng = np.random.default_rng(seed)
    data = bytearray(encoded(made_group(rng, 100, 120, [kind] * 2)))
    if not data:
        return
    data[int(place * (len(data) - 1))] ^= flip
    for damaged in (bytes(data), bytes(data[: int(place * len(data)) // 4 * 4])):
        try:
            motions = decoded(damaged, 2, 100, 120)
        except FormatError:
            continue
        assert all(abs(motion.fields.astype(int)).max() <= MAX_VECTOR for motion in motions)


def test_bytes_left_over_are_an_error():
    data = encoded(made_group(np.random.default_rng(2), 100, 120, ["units"]))
    with pytest.raises(FormatError, match="left over"):
        decoded(data + b"more" * 4, 1, 100, 120)


@pytest.mark.parametrize(
    "fields",
    [
        np.full((8, 2, 3, 4), MAX_VECTOR + 1),
        np.zeros((8, 2, 3, 4)),
        np.zeros((7, 2, 3, 4), int),
        np.zeros((8, 3, 4), int),
        np.zeros((8, 2, 0, 4), int),
    ],
)
def test_encoder_refuses_what_is_no_motion(fields):
    with pytest.raises(ConfigError):
        MotionEncoder().push(ChunkMotion(fields))


def test_encoder_refuses_another_size():
    encoder = MotionEncoder()
    encoder.push(ChunkMotion.still(64, 64))
    with pytest.raises(ConfigError, match="the first had"):
        encoder.push(ChunkMotion.still(64, 80))


def test_encoder_refuses_a_first_chunk_that_leads_to_another():
    with pytest.raises(ConfigError, match="no chunk before"):
        MotionEncoder().push(pan(starts_group=False))


def test_decoder_knows_the_number_of_chunks():
    decoder = MotionDecoder(b"", num_chunks=1, height=16, width=16)
    decoder.pull()
    with pytest.raises(ConfigError, match="all chunks"):
        decoder.pull()


def test_all_tables_are_there():
    assert coder_tables().num_tables == NUM_TABLES


def test_golden_bytes():
    """The same bytes on every machine, for ever: no random generator, only integers."""
    rows, columns = motion_size(100, 150)
    k, axis, y, x = np.ogrid[:NUM_FIELDS, :2, :rows, :columns]
    rough = (k * 7919 + axis * 104729 + y * 1299709 + x * 15485863) % 1009 % 23 - 11
    calm = np.broadcast_to((2 * axis - 1) * (k + 4), rough.shape)
    fields = np.where((y // 2 + x // 3 + k) % 3 == 0, rough, calm)
    fields[3] = predicted_field(fields, 3)
    fields[5, :, 2, 3] = -MAX_VECTOR, MAX_VECTOR
    motion, in_place = ChunkMotion(fields.astype(np.int16)), ChunkMotion(fields.astype(np.int16))
    in_place.fields[-1] *= (y + x)[0, 0] % 7 == 0
    motions = [ChunkMotion.still(100, 150), motion, motion, in_place]
    data = encoded(motions)
    assert_equal(motions, decoded(data, 4, 100, 150))
    assert (len(data), zlib.crc32(data)) == (1080, 1622046402)
