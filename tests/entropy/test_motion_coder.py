"""Motion comes back as it was, costs what it should, and damaged bytes give errors of the format or some motion."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.integer_motion import MotionReference
from vtok.entropy.motion_coder import MotionDecoder, MotionEncoder, MotionMeter
from vtok.entropy.motion_symbols import coder_tables
from vtok.entropy.motion_tables import NUM_TABLES
from vtok.errors import ConfigError, FormatError
from vtok.video.motion import MAX_VECTOR, NUM_FIELDS, ChunkMotion, motion_size, predicted_field

SIZES = [(1, 1), (16, 16), (17, 16), (16, 40), (100, 33), (90, 170), (64, 256)]
KINDS = ["still", "random", "extreme", "smooth", "sparse", "units", "steady"]


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
    if kind == "steady":
        return predicted_field(fields, k) if k else rng.integers(-40, 41, shape)
    return np.zeros(shape)


def made_motion(rng, height, width, kind):
    rows, columns = motion_size(height, width)
    fields = np.zeros((NUM_FIELDS, 2, rows, columns), np.int16)
    for k in range(NUM_FIELDS):
        fields[k] = made_field(rng, kind, fields, k)
    mask = rng.random((rows, columns)) < rng.choice([0, 0.1, 0.5, 0.9, 1])
    return ChunkMotion(fields, mask)


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
        np.testing.assert_array_equal(motion.is_predicted, other.is_predicted)
        assert other.fields.dtype == np.int16
        assert other.is_predicted.dtype == np.bool_


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from(SIZES) | st.tuples(st.integers(1, 200), st.integers(1, 200)),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4),
)
def test_round_trip_and_reference(seed, size, kinds):
    rng = np.random.default_rng(seed)
    motions = [made_motion(rng, *size, kind) for kind in kinds]
    data = encoded(motions)
    assert_equal(motions, decoded(data, len(motions), *size))
    reference = MotionReference(data, *size)
    for motion in motions:
        fields, mask = reference.pull()
        assert mask == {place: bool(flag) for place, flag in np.ndenumerate(motion.is_predicted)}
        for field, expected in zip(fields, motion.fields, strict=True):
            assert field == {place: tuple(expected[:, *place].tolist()) for place in mask}


def test_motion_is_not_changed_by_coding():
    rng = np.random.default_rng(0)
    motions = [made_motion(rng, 90, 170, kind) for kind in KINDS]
    copies = [ChunkMotion(m.fields.copy(), m.is_predicted.copy()) for m in motions]
    pulled = decoded(encoded(motions), len(motions), 90, 170)
    for motion in pulled:  # what the caller does with a motion must not reach the decoder
        motion.is_predicted[:] = True
    assert_equal(copies, motions)


@pytest.mark.parametrize("is_predicted", [False, True])
def test_still_chunks_cost_next_to_nothing(is_predicted):
    still = ChunkMotion.still(360, 640, is_predicted=is_predicted)
    meter = MotionMeter()
    bits = [meter.push(still) for _ in range(40)]
    assert bits[0] < 7
    assert max(bits[1:]) < 0.1
    assert len(encoded([still] * 40)) <= 4


def test_a_group_without_motion_and_prediction_takes_no_bytes():
    still = ChunkMotion.still(360, 640, is_predicted=False)
    assert encoded([still] * 33) == b""
    assert_equal([still] * 33, decoded(b"", 33, 360, 640))


def test_ideal_bits_are_those_of_the_bytes():
    rng = np.random.default_rng(1)
    motions = [made_motion(rng, 200, 300, kind) for kind in KINDS * 2]
    meter = MotionMeter()
    bits = sum(meter.push(motion) for motion in motions)
    assert bits == pytest.approx(8 * len(encoded(motions)), rel=1e-3, abs=64)


def test_one_pan_costs_little():
    """A field that is the same everywhere, and steady from frame to frame."""
    fields = np.zeros((NUM_FIELDS, 2, 23, 40), np.int16)
    fields[0] = np.array([-30, 6])[:, None, None]
    for k in range(1, NUM_FIELDS):
        fields[k] = predicted_field(fields, k)
    pan = ChunkMotion(fields, np.ones((23, 40), bool))
    meter = MotionMeter()
    assert meter.push(pan) < 1300
    assert meter.push(pan) < 400


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
        assert motion.is_predicted.shape == motion_size(*size)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(KINDS), place=st.floats(0, 1), flip=st.integers(1, 255))
def test_damaged_bytes(seed, kind, place, flip):
    rng = np.random.default_rng(seed)
    data = bytearray(encoded([made_motion(rng, 100, 120, kind) for _ in range(2)]))
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
    data = encoded([made_motion(np.random.default_rng(2), 100, 120, "units")])
    with pytest.raises(FormatError, match="left over"):
        decoded(data + b"more" * 4, 1, 100, 120)


@pytest.mark.parametrize(
    ("fields", "mask"),
    [
        (np.full((8, 2, 3, 4), MAX_VECTOR + 1), np.ones((3, 4), bool)),
        (np.zeros((8, 2, 3, 4)), np.ones((3, 4), bool)),
        (np.zeros((7, 2, 3, 4), int), np.ones((3, 4), bool)),
        (np.zeros((8, 2, 3, 4), int), np.ones((3, 5), bool)),
        (np.zeros((8, 2, 3, 4), int), np.ones((3, 4), int)),
        (np.zeros((8, 2, 0, 4), int), np.ones((0, 4), bool)),
    ],
)
def test_encoder_refuses_what_is_no_motion(fields, mask):
    with pytest.raises(ConfigError):
        MotionEncoder().push(ChunkMotion(fields, mask))


def test_encoder_refuses_another_size():
    encoder = MotionEncoder()
    encoder.push(ChunkMotion.still(64, 64, is_predicted=True))
    with pytest.raises(ConfigError, match="the first had"):
        encoder.push(ChunkMotion.still(64, 80, is_predicted=True))


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
    motion = ChunkMotion(fields.astype(np.int16), np.broadcast_to((y * 3 + x * x) % 5 > 1, (1, 1, rows, columns))[0, 0])
    motions = [ChunkMotion.still(100, 150, is_predicted=False), motion, motion]
    data = encoded(motions)
    assert_equal(motions, decoded(data, 3, 100, 150))
    assert (len(data), zlib.crc32(data)) == (760, 2554417172)
