"""The exact prior: against plain integers, under all settings of PyTorch, and as a coder of latent frames."""

import contextlib
import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from prior_bytes import SETTINGS, digests_of

from support.integer_prior import IntegerReference, plain_flags, plain_kinds, plain_pass, plain_rare
from support.models import new_tiny_tokenizer
from support.motions import random_motion, video_motion
from vtok.entropy import exact_prior as module
from vtok.entropy.channel_flags import CODED, RARE, RARE_EXPONENTS, REPEATED, choose_flags
from vtok.entropy.exact_prior import ExactPrior
from vtok.entropy.frame_coder import FrameCoder
from vtok.entropy.group_coder import PriorGroupDecoder, PriorGroupEncoder
from vtok.entropy.range_coder import FREQUENCY_TOTAL, reference_encode
from vtok.entropy.tables import (
    NUM_LEVELS,
    NUM_OFFSETS,
    PassDecoder,
    PassEncoder,
    PriorTables,
    probabilities_of,
)
from vtok.errors import FormatError, TruncatedError, WeightsError
from vtok.networks.displaced_codes import displaced_codes
from vtok.networks.motion_maps import motion_maps
from vtok.networks.prior import PriorMotion, checkerboard, delay

SINGLE_PASS = {
    "prior_num_single_pass": 1,
    "prior_near_channels": 3,
    "prior_near_context": 5,
    "prior_single_pass_dim": 6,
}


@pytest.fixture(scope="module", params=[{}, SINGLE_PASS], ids=["two_passes", "single_pass"])
def model(request):
    """A tiny model whose prior's gates, corrections and factors use their whole ranges."""
    model = new_tiny_tokenizer(**request.param).networks
    prior = model.prior
    with torch.no_grad():
        for network in prior.group_networks:
            network.out.weight.mul_(4)
            network.out.bias.mul_(4)
        for weights in (prior.magnitude_weights, prior.single_pass_magnitude_weights):
            if weights is not None:
                weights.normal_(-1.0, 1.0)
        prior.tail_weight.copy_(torch.tensor([-2.0, 0.3, 0.0]))
    return model


@pytest.fixture(scope="module")
def exact_prior(model):
    return ExactPrior.quantize(model)


def video_of_codes(num_frames, height, width, seed=0):
    """Latent frames that look like those of a video, with extreme codes and, where there are five, one of zeros."""
    rng = np.random.default_rng(seed)
    still = rng.laplace(0, np.linspace(40, 0.3, 12)[:, None, None], (12, height, width))
    frames = [np.clip(np.round(still + rng.laplace(0, 0.6, still.shape)), -128, 127) + 128 for _ in range(num_frames)]
    codes = np.stack(frames).astype(np.uint8)
    codes[1:2, :3, 0, 0] = 0, 255, 0
    codes[2:3, 9:] = 128
    codes[3:4] = 128
    return codes


def encode(prior, quality, codes):
    encoder = PriorGroupEncoder(prior, quality)
    for frame, motion in zip(codes, motions_for(codes.shape), strict=True):
        encoder.push(frame, motion)
    return encoder.finish()


def decode(prior, quality, payload, shape):
    num_frames, _, height, width = shape
    decoder = PriorGroupDecoder(prior, quality, payload, num_latent_frames=num_frames, height=height, width=width)
    return np.stack([decoder.pull(motion) for motion in motions_for(shape)])


def motions_for(shape):
    """Random motion for the codes `[T, n, H, W]` of a group, with vectors of all sizes."""
    return [random_motion(8 * shape[2], 8 * shape[3], seed=t, starts_group=t == 0) for t in range(shape[0])]


def prior_motion(model, centred, fields, quality):
    """What the float prior sees of the motion of one video."""
    _, _, _, h, w = centred.shape
    previous = delay(centred, 1)[0].transpose(0, 1)
    gain = model.gain(quality).flatten(1)
    previous = displaced_codes(model.transform, previous, fields[0, :, -1], gain, model.prior.context_channels[0])
    return PriorMotion(previous.transpose(0, 1)[None], motion_maps(fields, h, w))


def used_channels(frame):
    return np.flatnonzero((frame != 128).any(axis=(1, 2)))


@pytest.mark.parametrize("rare_share", [0, 0.5])
def test_symbols_tables_and_bytes_equal_the_integer_reference(exact_prior, monkeypatch, rare_share):
    monkeypatch.setattr("vtok.entropy.channel_flags.RARE_SHARE", rare_share)
    monkeypatch.setattr("vtok.entropy.channel_flags.MIN_POSITIONS_PER_NONZERO", 1)
    codes, quality = video_of_codes(7, 3, 4), 4.3
    codes[4, 5] = 128
    codes[5, 6:] = codes[4, 6:]  # rare ones too, if there are such
    codes[6, 4:] = codes[5, 4:]
    coder, reference = FrameCoder(exact_prior, quality, 3, 4), IntegerReference(exact_prior, quality, 3, 4)
    tables, counts, before, seen = exact_prior.tables, [], None, set()
    payload = []  # pairs of symbol and coder table
    for number, (frame, motion) in enumerate(zip(codes, motions_for(codes.shape), strict=True)):
        flags = choose_flags(frame.reshape(12, -1), codes[number - 1].reshape(12, -1) if number else None)
        rows = frame.reshape(12, -1)[flags == CODED].T[coder.positions.order]
        passes = []

        def spy(of_pass, columns, symbols, rows=rows, passes=passes):
            known = rows[of_pass, columns]
            passes.append((symbols.to_symbols(known).ravel(), symbols.tables.ravel()))
            return known

        coder.code(flags, spy, motion, codes[number - 1].reshape(12, -1) if number else None)
        expected = [
            tuple(np.array(column) for column in zip(*p, strict=True)) for p in reference.passes(frame, flags, motion)
        ]
        assert len(passes) == len(expected)
        for got, want in zip(passes, expected, strict=True):
            assert got[0].tolist() == want[0].tolist()
            assert got[1].tolist() == want[1].tolist()
        count, some_repeated = max(np.flatnonzero(flags), default=-1) + 1, REPEATED in flags
        counts.append(count + 2**15 * some_repeated)
        kinds = plain_kinds(before, some_repeated)
        payload += plain_flags(tables, flags.tolist()[:count], kinds)
        payload += plain_rare(tables, frame, flags.tolist())
        before = flags.tolist()
        seen.update(kinds[:count])
        for symbols, index in expected:
            payload += plain_pass(tables, symbols, index)
    assert any(counts)
    assert seen == {0, 1, 2, 4, 5, 7} | ({3, 6} if rare_share else set())
    symbols, runs = [s for s, _ in payload], [(table, 1) for _, table in payload]
    assert encode(exact_prior, quality, codes) == np.array(counts, "<u2").tobytes() + reference_encode(
        tables.coder_tables, symbols, runs
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (5, 1), (3, 5), (17, 30)])
def test_codes_come_back(exact_prior, size):
    codes = video_of_codes(5, *size)
    for quality in (1, 5.5, 9):
        assert np.array_equal(decode(exact_prior, quality, encode(exact_prior, quality, codes), codes.shape), codes)


def test_extreme_codes_come_back(exact_prior):
    rng = np.random.default_rng(3)
    codes = rng.choice(np.array([0, 255, 128], np.uint8), (4, 12, 4, 7))
    assert np.array_equal(decode(exact_prior, 9, encode(exact_prior, 9, codes), codes.shape), codes)


def test_frames_that_are_repeated_cost_next_to_nothing(exact_prior):
    first = video_of_codes(1, 9, 11)
    codes = np.concatenate([first] * 6)
    sizes = [len(encode(exact_prior, 5, codes[:n])) for n in (1, 2, 6)]
    assert sizes[1] - sizes[0] < 12
    assert sizes[2] - sizes[1] < 4 * 6
    payload = encode(exact_prior, 5, codes)
    assert np.array_equal(decode(exact_prior, 5, payload, codes.shape), codes)


def test_a_repeat_of_nothing_is_zeros(exact_prior, monkeypatch):
    codes = np.full((1, 12, 3, 4), 128, np.uint8)
    flags = lambda *_, **__: np.full(12, REPEATED, np.uint8)  # noqa: E731
    monkeypatch.setattr("vtok.entropy.group_coder.choose_flags", flags)
    assert np.array_equal(decode(exact_prior, 5, encode(exact_prior, 5, codes), codes.shape), codes)


def test_frames_of_zeros_cost_their_count_only(exact_prior):
    codes = np.full((3, 12, 5, 6), 128, np.uint8)
    payload = encode(exact_prior, 5, codes)
    assert payload == bytes(6)
    assert np.array_equal(decode(exact_prior, 5, payload, codes.shape), codes)


def test_settings_around_the_coder_change_nothing(model, exact_prior):
    codes = video_of_codes(4, 17, 30)
    expected = encode(exact_prior, 5, codes)
    num_threads = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert encode(exact_prior, 5, codes) == expected
        torch.set_float32_matmul_precision("medium")
        assert encode(exact_prior, 5, codes) == expected
    finally:
        torch.set_num_threads(num_threads)
        torch.set_float32_matmul_precision("highest")
    with torch.autocast("cpu", torch.bfloat16):
        assert encode(exact_prior, 5, codes) == expected
        assert np.array_equal(decode(exact_prior, 5, expected, codes.shape), codes)
    assert encode(exact_prior, 5, np.asfortranarray(codes)) == expected
    other_layout = deepcopy(model).to(memory_format=torch.channels_last)
    assert encode(ExactPrior.from_tensors(other_layout, exact_prior.tensors()), 5, codes) == expected


def test_the_released_prior_gives_the_same_bytes_on_a_lesser_processor():
    assert digests_of(sys.executable, SETTINGS[-1]) == digests_of(sys.executable, {})


def test_any_choice_of_flags_that_holds_all_codes_can_be_decoded(exact_prior, monkeypatch):
    codes = video_of_codes(4, 5, 6)
    codes[:, [2, 5, 7]] = 128
    sizes = []

    def all_coded(codes, *_, **__):
        return np.full(len(codes), CODED, np.uint8)

    def all_rare(codes, *_, **__):
        return (RARE + np.arange(len(codes)) % len(RARE_EXPONENTS)).astype(np.uint8)

    def mixed(codes, *_, **__):
        return np.where(np.arange(len(codes)) % 3 == 0, all_rare(codes), CODED).astype(np.uint8)

    for choose in (None, all_coded, all_rare, mixed):
        if choose:
            monkeypatch.setattr("vtok.entropy.group_coder.choose_flags", choose)
        payload = encode(exact_prior, 5, codes)
        sizes.append(len(payload))
        assert np.array_equal(decode(exact_prior, 5, payload, codes.shape), codes)
    assert sizes[0] == min(sizes)


def test_rare_channels_cost_little(exact_prior):
    codes = np.full((1, 12, 60, 80), 128, np.uint8)
    codes[0, 0, ::2] = 129  # 2,400 codes, so that 8 may be in rare channels, and 24 in groups of them
    codes[0, 3, 7, 8], codes[0, 10, 59, 79], codes[0, 11, 3:6, 4] = 127, 0, 130
    flags = choose_flags(codes[0].reshape(12, -1), groups=exact_prior.groups)
    assert flags.tolist() == [
        CODED if c == 0 else {3: RARE + 4, 10: RARE + 4, 11: RARE + 3}.get(c, 0) for c in range(12)
    ]
    payload = encode(exact_prior, 5, codes)
    alone = encode(exact_prior, 5, np.where(np.arange(12)[:, None, None] == 0, codes, 128).astype(np.uint8))
    assert len(payload) - len(alone) <= 20
    assert np.array_equal(decode(exact_prior, 5, payload, codes.shape), codes)


def test_groups_of_few_codes_are_made_rare_as_a_whole():
    codes = np.full((12, 64, 64), 128, np.uint8)
    codes[:4] = 120
    codes[4:10, 5:7, 5:9] = (
        121  # 6 channels of 8 codes; of 16,432 changed ones 54 may be in rare channels, 164 in groups
    )
    flags = choose_flags(codes.reshape(12, -1), groups=(4, 12))
    assert flags.tolist() == [CODED] * 4 + [RARE + 1] * 6 + [0] * 2
    codes[4:10, 5:9, 5:15] = 121
    flags = choose_flags(codes.reshape(12, -1), groups=(4, 12))
    assert flags.tolist() == [CODED] * 4 + [RARE] + [CODED] * 5 + [0] * 2


def test_the_kind_of_arithmetic_changes_nothing(exact_prior, monkeypatch):
    codes = video_of_codes(3, 9, 11)
    expected = encode(exact_prior, 5, codes)
    monkeypatch.setattr(
        "vtok.entropy.integer_products.int8_products_are_exact", lambda: True
    )  # if slow, or if it saturates
    monkeypatch.setattr("torch._int_mm", lambda a, b: (a.double() @ b.double()).to(torch.int32))
    assert encode(exact_prior, 5, codes) == expected
    monkeypatch.setattr("vtok.entropy.integer_products.int8_products_are_exact", lambda: False)
    assert encode(exact_prior, 5, codes) == expected
    with monkeypatch.context() as patch:
        patch.setattr("torch.backends.mkldnn.is_available", lambda: False)
        assert encode(exact_prior, 5, codes) == expected
    monkeypatch.setattr(
        "torch.mkldnn_convolution",
        lambda x, w, _, padding, *__: torch.nn.functional.conv2d(x.double(), w.double(), padding=padding).float(),
    )
    assert encode(exact_prior, 5, codes) == expected


def test_half_precision_weights_are_all_it_needs(model, exact_prior):
    released = deepcopy(model)
    released.load_state_dict({name: x.half().float() for name, x in model.state_dict().items()})
    loaded = ExactPrior.from_tensors(released, {name: x.clone() for name, x in exact_prior.tensors().items()})
    codes = video_of_codes(3, 6, 7)
    assert encode(loaded, 7, codes) == encode(exact_prior, 7, codes)
    assert sum(tensor.nbytes for tensor in exact_prior.tensors().values()) < 300_000


def test_qualities_in_between_are_themselves(exact_prior):
    low, middle, high = (exact_prior.of_quality(q).groups[0].biases for q in (3, 3.5, 4))
    assert ((2 * middle - low - high).abs() <= 1).all()
    assert not torch.equal(middle, low)
    assert torch.equal(exact_prior.of_quality(12).groups[0].biases, exact_prior.of_quality(9).groups[0].biases)


def test_it_says_what_the_model_says(model, exact_prior):
    codes = video_of_codes(5, 8, 9)
    centred = torch.from_numpy(codes).float().transpose(0, 1)[None] - 128
    with torch.no_grad():
        quality, fields = torch.tensor([4.0]), video_motion(motions_for(codes.shape))
        distribution = model.prior(centred, quality, prior_motion(model, centred, fields, quality))
        # Not `bits`, which has a floor of probability for training.
        distance = (centred - distribution.location).abs().double()
        bits = -probabilities_of(model.prior, distance, distribution.log2_scale.double())[0].log2().transpose(0, 1)
    ideal = sum(bits[t, used_channels(frame)].clamp_max(24).sum().item() for t, frame in enumerate(codes))
    assert 8 * len(encode(exact_prior, 4, codes)) < 1.02 * ideal + 8 * (4 * len(codes) + 8)


@pytest.mark.parametrize("amount", [1, 2, 8, -17])
def test_units_that_are_too_fine_are_refused(model, exact_prior, amount):
    tensors = exact_prior.tensors()
    tensors["exponents"] = tensors["exponents"] + torch.tensor(amount, dtype=torch.int8)
    with pytest.raises(WeightsError, match=r"context: .* 8-bit multiples of their units, .* 24 bits. Quantize"):
        ExactPrior.from_tensors(model, tensors)


def test_the_bound_counts_the_lowest_code_too(model, exact_prior, monkeypatch):
    seen, layers_of = [], module.prior_layers
    monkeypatch.setattr(module, "prior_layers", lambda prior, most: seen.append(most) or layers_of(prior, 127))
    tensors = exact_prior.tensors()
    companded = tensors["companded"].clone()
    companded[0] = -128  # whose absolute value int8 cannot hold
    ExactPrior.from_tensors(model, tensors | {"companded": companded})
    assert seen == [128]


def test_weights_that_break_the_bound_are_refused(model, exact_prior):
    grown = deepcopy(model)
    with torch.no_grad():
        grown.prior.group_networks[1].hidden.weight.mul_(4)
    with pytest.raises(WeightsError, match="group 1 hidden"):
        ExactPrior.from_tensors(grown, exact_prior.tensors())
    with torch.no_grad():
        grown.prior.group_networks[1].hidden.weight.fill_(1e6)
    with pytest.raises(WeightsError, match="not finite"):
        ExactPrior.quantize(grown)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("exponents", lambda x: x[:-1]),
        ("companded", lambda x: x.flip(0)),
        ("magnitude_weights", lambda x: x * 256),
        ("magnitude_weights", lambda x: x[:, 1:]),
        ("frequencies", lambda x: x.flip(0)),
        ("frequencies", lambda x: x + 1),
        ("gains", lambda x: x[:, 1:]),
        ("gains", lambda x: x.long()),
        ("gains", lambda x: x * 0),
        ("lookup", lambda x: x[1:]),
        ("lookup", lambda x: torch.full_like(x, 255)),
    ],
)
def test_damaged_tensors_are_refused(model, exact_prior, name, change):
    tensors = exact_prior.tensors()
    with pytest.raises(WeightsError):
        ExactPrior.from_tensors(model, tensors | {name: change(tensors[name])})
    del tensors[name]
    with pytest.raises(WeightsError, match=f"'{name}' is missing"):
        ExactPrior.from_tensors(model, tensors)


def test_damaged_payloads_raise_format_errors_only(exact_prior):
    codes = video_of_codes(4, 5, 6)
    payload = encode(exact_prior, 5, codes)
    with pytest.raises(TruncatedError):
        decode(exact_prior, 5, payload[:7], codes.shape)
    with pytest.raises(FormatError, match="13 coded channels declared"):
        decode(exact_prior, 5, b"\x0d" + payload[1:], codes.shape)
    with pytest.raises(FormatError):
        decode(exact_prior, 5, payload[:-1], codes.shape)
    rng = np.random.default_rng(5)
    for _ in range(30):
        damaged = bytearray(payload)
        damaged[rng.integers(8, len(payload))] ^= int(rng.integers(1, 256))
        with contextlib.suppress(FormatError):
            assert not np.array_equal(decode(exact_prior, 5, bytes(damaged), codes.shape), codes)


def test_passes_of_any_tables_come_back(exact_prior):
    tables = exact_prior.tables
    rng = np.random.default_rng(6)
    for num in (0, 1, 7, 8, 9, 5000):
        index = rng.integers(0, len(tables.frequencies), num).astype(np.uint8)
        symbols = np.where(rng.random(num) < 0.3, rng.integers(0, 256, num), 0).astype(np.uint8)
        encoder = PassEncoder(tables)
        encoder.push(symbols, index)
        assert np.array_equal(PassDecoder(tables, encoder.finish()).pull(index), symbols)


def test_coding_in_two_steps_costs_the_same_bits(exact_prior):
    tables: PriorTables = exact_prior.tables
    assert 0 < tables.num_sparse < len(tables.frequencies)
    rng = np.random.default_rng(7)
    index = rng.integers(0, tables.num_sparse, 40_000).astype(np.uint8)
    probabilities = tables.frequencies / FREQUENCY_TOTAL
    symbols = (probabilities.cumsum(1)[index] < rng.random(index.size)[:, None]).sum(1).astype(np.uint8)
    encoder = PassEncoder(tables)
    encoder.push(symbols, index)
    ideal = -np.log2(probabilities[index, symbols]).sum()
    assert 8 * len(encoder.finish()) == pytest.approx(ideal, rel=0.003)


def test_the_lookup_covers_every_scale_and_offset(exact_prior):
    lookup = exact_prior.tables.lookup.reshape(NUM_LEVELS, NUM_OFFSETS)
    peaks = exact_prior.tables.frequencies[lookup, 0].astype(np.int64)
    assert (np.diff(peaks, axis=0) <= 0).all()  # wider distributions are less peaked
    assert (np.diff(peaks, axis=1) <= 0).all()  # and so are those whose location lies between codes
    assert set(lookup.ravel()) == set(range(len(exact_prior.tables.frequencies)))


def test_the_checkerboard_is_that_of_the_model(exact_prior):
    coder = FrameCoder(exact_prior, 5, 3, 5)
    first = (checkerboard(3, 5, device=torch.device("cpu")) == 0).flatten().nonzero().flatten()
    assert coder.positions.order[: len(first)].tolist() == first.tolist()
