"""The exact prior: against plain integers, under all settings of PyTorch, and as a coder of latent frames."""

import contextlib
import sys

import numpy as np
import pytest
import torch
from conftest import new_tiny_tokenizer
from prior_bytes import SETTINGS, digests_of

from vtok.dyadic import EXACT_LIMIT, MAX_WEIGHT, Terms
from vtok.entropy import FREQUENCY_TOTAL, reference_encode
from vtok.errors import FormatError, TruncatedError, WeightsError
from vtok.exact_prior import ExactPrior
from vtok.integer_products import int8_products_are_exact, multiply
from vtok.prior import checkerboard
from vtok.prior_coding import FrameCoder, PriorGroupDecoder, PriorGroupEncoder
from vtok.prior_tables import (
    BLOCK,
    CODED,
    NUM_LEVELS,
    NUM_OFFSETS,
    RARE,
    RARE_EXPONENTS,
    ZERO,
    PassDecoder,
    PassEncoder,
    PriorTables,
    probabilities_of,
)


@pytest.fixture(scope="module")
def float_prior():
    """A tiny prior whose gates, corrections and factors use their whole ranges."""
    prior = new_tiny_tokenizer().latent_model.prior
    with torch.no_grad():
        for network in prior.group_networks:
            network.out.weight.mul_(4)
            network.out.bias.mul_(4)
        prior.magnitude_weights.normal_(-1.0, 1.0)
        prior.tail_weight.copy_(torch.tensor([-2.0, 0.3, 0.0]))
    return prior


@pytest.fixture(scope="module")
def exact_prior(float_prior):
    return ExactPrior.quantize(float_prior)


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
    for frame in codes:
        encoder.push(frame)
    return encoder.finish()


def decode(prior, quality, payload, shape):
    num_frames, _, height, width = shape
    decoder = PriorGroupDecoder(prior, quality, payload, num_latent_frames=num_frames, height=height, width=width)
    return np.stack([decoder.pull() for _ in range(num_frames)])


def used_channels(frame):
    return np.flatnonzero((frame != 128).any(axis=(1, 2)))


class IntegerReference:
    """The exact prior in Python integers, one output value at a time; it shares nothing but the stored weights.

    All channels that are used are coded under the prior; an encoder may take some of them for rare.
    """

    def __init__(self, prior, quality, height, width):
        self.prior, self.weights, self.size = prior, prior.of_quality(quality), (height, width)
        self.previous = self.before = np.full((prior.num_channels, height, width), 128, np.uint8)
        self.num_known = 0

    def passes(self, frame):
        """For each pass of a latent frame: symbols and tables as flat lists."""
        inside = [(y, x) for y in range(self.size[0]) for x in range(self.size[1])]
        context = self.context(inside)
        for group in self.weights.groups:
            channels = [c for c in used_channels(frame) if group.start <= c < group.end]
            for parity in (0, 1):
                places = [(y, x) for y, x in inside if (y + x) % 2 == parity]
                if places and channels:
                    yield [self.symbol(frame, context, group, c, y, x) for y, x in places for c in channels]
        self.previous, self.before = frame, self.previous
        self.num_known = min(self.num_known + 1, 2)

    def context(self, inside):
        w = self.weights
        first = {}
        for y, x in inside:
            before = [self.companded(self.before, c, y, x) for c in range(len(w.from_before.weight))]
            terms = [
                w.context_biases[self.num_known].tolist(),
                scaled(w.from_previous, convolved(w.from_previous.weight, self.of(self.previous), y, x)),
                scaled(w.from_before, times(w.from_before.weight, before)),
            ]
            first[y, x] = activations(terms, w.context_exponent)
        hidden = lambda c, i, j: first[i, j][c] if (i, j) in first else 0  # noqa: E731
        layer = w.context_hidden
        return {
            (y, x): activations([layer.bias.tolist(), convolved(layer.weight, hidden, y, x)], layer.exponent)
            for y, x in inside
        }

    def symbol(self, frame, context, group, c, y, x):
        second = (y + x) % 2 == 1
        around = [(y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x)]
        terms = [group.biases[int(second)].tolist()]
        terms.append(scaled(group.from_context, times(group.from_context.weight, context[y, x])))
        if group.from_lower is not None:
            terms.append(scaled(group.from_lower, convolved(group.from_lower.weight, self.of(frame), y, x)))
        if second:
            # Channels that are not coded are zero in the frame too.
            own = [[self.companded(frame, k, i, j) for k in range(group.start, group.end)] for i, j in around]
            terms += [scaled(group.from_own, times(group.from_own.weight[tap], own[tap])) for tap in range(4)]
        hidden = activations(terms, group.exponent)
        hidden = activations([group.hidden.bias.tolist(), times(group.hidden.weight, hidden)], group.hidden.exponent)
        places = [k * (group.end - group.start) + c - group.start for k in range(4)]
        sums, out = times(group.out.weight[:, places], hidden), group.out
        gate, correction, factor, spatial_gate = (
            (total + int(out.bias[place])) >> int(out.exponent[place])
            for total, place in zip(sums, places, strict=True)
        )
        gate, spatial_gate = np.clip([gate, spatial_gate], -64, 64).tolist()
        correction, factor = max(-4096, min(4096, correction)), max(-2048, min(2048, factor))
        location = gate * self.code(self.previous, c, y, x) + correction  # in units of 1/64 of a code
        if second:
            known = sum(self.code(frame, c, i, j) for i, j in around)
            known_before = sum(self.code(self.previous, c, i, j) for i, j in around)
            location = (256 * location + spatial_gate * (64 * known - gate * known_before)) // 256
        steps = max(-2048, min(127 * 16, (location + 2) // 4))
        centre, offset = (steps + 8) // 16, steps - (steps + 8) // 16 * 16
        symbol = (self.code(frame, c, y, x) - centre) * (-1 if offset < 0 else 1) % 256
        level = self.level(frame, c, y, x, second, around, factor)
        return symbol, int(self.prior.tables.lookup[level * 9 + abs(offset)])

    def level(self, frame, c, y, x, second, around, factor):
        weights = [int(w) for w in self.prior.magnitude_weights[int(second), c]]
        window = [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        now, previous, before = (lambda p, f=f: self.code(f, c, *p) for f in (frame, self.previous, self.before))
        magnitudes = [1, sum(abs(previous(p) - before(p)) for p in window), sum(abs(previous(p)) for p in window)]
        magnitudes.append(abs(previous((y, x))))
        if second:
            magnitudes += [sum(abs(now(p) - previous(p)) for p in around), sum(abs(now(p)) for p in around)]
        scale = sum(w * m for w, m in zip(weights, magnitudes, strict=False))
        octave = scale.bit_length() - 1
        mantissa = scale * 128 // 2**octave - 128
        log2_scale = octave * 128 + mantissa + factor
        lowest = (self.prior.magnitude_exponent - 4) * 128 - 4 - 7
        return max(0, min(11 * 16, (log2_scale - lowest) // 8))

    def of(self, frame):
        return lambda c, y, x: self.companded(frame, c, y, x)

    def code(self, frame, c, y, x):
        inside = 0 <= y < self.size[0] and 0 <= x < self.size[1]
        return int(frame[c, y, x]) - 128 if inside else 0

    def companded(self, frame, c, y, x):
        return int(self.prior.companded[self.code(frame, c, y, x) + 128])


def times(weight, inputs):
    """`weight [in, out]` times integers."""
    return [sum(w * x for w, x in zip(column, inputs, strict=True)) for column in weight.t().tolist()]


def scaled(product, sums):
    return [total * factor for total, factor in zip(sums, product.factor.tolist(), strict=True)]


def convolved(weight, value, y, x):
    """`weight [9, in, out]` at one place."""
    taps = [times(w, [value(c, y + t // 3 - 1, x + t % 3 - 1) for c in range(len(w))]) for t, w in enumerate(weight)]
    return [sum(values) for values in zip(*taps, strict=True)]


def activations(terms, exponents):
    totals = [sum(values) for values in zip(*terms, strict=True)]
    return [max(0, min(126, total >> exponent)) for total, exponent in zip(totals, exponents.tolist(), strict=True)]


def test_symbols_tables_and_bytes_equal_the_integer_reference(exact_prior):
    codes, quality = video_of_codes(4, 3, 4), 4.3
    coder, reference = FrameCoder(exact_prior, quality, 3, 4), IntegerReference(exact_prior, quality, 3, 4)
    first_channel_table = exact_prior.tables.first_channel_table
    payload_symbols, payload_runs, counts, before = [], [], [], None
    for frame in codes:
        rows = frame.reshape(12, -1).T[coder.positions.order.numpy()]
        passes = []
        channels = used_channels(frame)
        flags = np.full(12, ZERO, np.uint8)
        flags[channels] = CODED

        def spy(of_pass, columns, symbols, rows=rows, passes=passes, channels=channels):
            known = rows[of_pass, channels[columns]]
            passes.append((symbols.to_symbols(known).ravel(), symbols.tables.ravel()))
            return known

        assert np.array_equal(coder.code(flags, spy).reshape(frame.shape), frame)
        expected = [tuple(np.array(column) for column in zip(*p, strict=True)) for p in reference.passes(frame)]
        assert len(passes) == len(expected)
        for got, want in zip(passes, expected, strict=True):
            assert got[0].tolist() == want[0].tolist()
            assert got[1].tolist() == want[1].tolist()
        counts.append(max(channels, default=-1) + 1)
        kinds = [0 if before is None else 1 + int(before[c]) for c in range(counts[-1])]
        before = flags
        order = sorted((kind, c) for c, kind in enumerate(kinds))
        payload_symbols += [int(flags[c]) for _, c in order]
        payload_runs += [(first_channel_table + kind, 1) for kind, _ in order]
        for symbols, index in expected:
            for step_symbols, step_tables in plain_passes(exact_prior.tables, symbols, index):
                payload_symbols += step_symbols
                payload_runs += [(table, 1) for table in step_tables]
    assert encode(exact_prior, quality, codes) == np.array(counts, "<u2").tobytes() + reference_encode(
        exact_prior.tables.coder_tables, payload_symbols, payload_runs
    )


def plain_passes(tables, symbols, index):
    """What one pass means to the coder: flags of blocks and other symbols, then the symbols that are flagged."""
    num_tables = len(tables.frequencies)
    in_order = sorted(zip(index.tolist(), range(len(index)), symbols.tolist(), strict=True))
    num_in_blocks = sum(table < tables.num_sparse for table, _, _ in in_order) // BLOCK * BLOCK
    flags, flag_tables, flagged, flagged_tables = [], [], [], []
    for start in range(0, num_in_blocks, BLOCK):
        block = in_order[start : start + BLOCK]
        flags.append(int("".join("1" if symbol else "0" for _, _, symbol in block), 2))
        flag_tables.append(num_tables + block[BLOCK // 2][0])
        flagged += [symbol for _, _, symbol in block if symbol]
        flagged_tables += [num_tables + tables.num_sparse + table for table, _, symbol in block if symbol]
    others = in_order[num_in_blocks:]
    first = flags + [symbol for _, _, symbol in others], flag_tables + [table for table, _, _ in others]
    return [first, (flagged, flagged_tables)]


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (5, 1), (3, 5), (17, 30)])
def test_codes_come_back(exact_prior, size):
    codes = video_of_codes(5, *size)
    for quality in (1, 5.5, 9):
        assert np.array_equal(decode(exact_prior, quality, encode(exact_prior, quality, codes), codes.shape), codes)


def test_extreme_codes_come_back(exact_prior):
    rng = np.random.default_rng(3)
    codes = rng.choice(np.array([0, 255, 128], np.uint8), (4, 12, 4, 7))
    assert np.array_equal(decode(exact_prior, 9, encode(exact_prior, 9, codes), codes.shape), codes)


def test_frames_of_zeros_cost_their_count_only(exact_prior):
    codes = np.full((3, 12, 5, 6), 128, np.uint8)
    payload = encode(exact_prior, 5, codes)
    assert payload == bytes(6)
    assert np.array_equal(decode(exact_prior, 5, payload, codes.shape), codes)


def test_settings_around_the_coder_change_nothing(float_prior, exact_prior):
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
    other_layout = new_tiny_tokenizer().latent_model.prior.to(memory_format=torch.channels_last)
    other_layout.load_state_dict(float_prior.state_dict())
    assert encode(ExactPrior.from_tensors(other_layout, exact_prior.tensors()), 5, codes) == expected


def test_the_released_prior_gives_the_same_bytes_on_a_lesser_processor():
    assert digests_of(sys.executable, SETTINGS[-1]) == digests_of(sys.executable, {})


def test_any_choice_of_flags_that_holds_all_codes_can_be_decoded(exact_prior, monkeypatch):
    codes = video_of_codes(4, 5, 6)
    codes[:, [2, 5, 7]] = 128
    sizes = []

    def all_coded(codes, groups):
        return np.full(len(codes), CODED, np.uint8)

    def all_rare(codes, groups):
        return (RARE + np.arange(len(codes)) % len(RARE_EXPONENTS)).astype(np.uint8)

    def mixed(codes, groups):
        return np.where(np.arange(len(codes)) % 3 == 0, all_rare(codes, groups), CODED).astype(np.uint8)

    for choose in (None, all_coded, all_rare, mixed):
        if choose:
            monkeypatch.setattr("vtok.prior_coding._choose_flags", choose)
        payload = encode(exact_prior, 5, codes)
        sizes.append(len(payload))
        assert np.array_equal(decode(exact_prior, 5, payload, codes.shape), codes)
    assert sizes[0] == min(sizes)


def test_channels_that_are_hardly_used_cost_little(exact_prior):
    """They are coded without the prior, at a cost near that of their positions."""
    codes = np.full((3, 12, 48, 64), 128, np.uint8)
    codes[:, 3, 10, 20] = 130
    codes[1, 11, :2, 5] = 127
    payload = encode(exact_prior, 5, codes)
    assert np.array_equal(decode(exact_prior, 5, payload, codes.shape), codes)
    # Five codes among 3072 positions: a dozen bits for where each is, a few for what it is, and for the flags.
    assert len(payload) < 2 * len(codes) + 5 * 3 + 16


def test_every_way_to_multiply_gives_the_same(exact_prior, monkeypatch):
    codes = video_of_codes(3, 9, 11)
    expected = encode(exact_prior, 5, codes)
    monkeypatch.setattr("vtok.integer_products.int8_products_are_exact", lambda: False)
    assert encode(exact_prior, 5, codes) == expected
    with monkeypatch.context() as patch:
        patch.setattr("torch.backends.mkldnn.is_available", lambda: False)
        assert encode(exact_prior, 5, codes) == expected
    monkeypatch.setattr(
        "vtok.integer_products.torch.mkldnn_convolution",
        lambda x, w, *_: torch.nn.functional.conv2d(x.double(), w.double(), padding=w.shape[-1] // 2),
    )
    assert encode(exact_prior, 5, codes) == expected


def test_products_of_bytes_are_not_trusted_blindly(monkeypatch):
    monkeypatch.setattr("vtok.integer_products.has_int8_dot_products", lambda: True)
    is_exact = int8_products_are_exact.__wrapped__

    def saturating(rows, weight):
        """Pairs of products summed in 16 bits, as processors without dot products of bytes do it."""
        shifted = rows.int() + 128  # such processors multiply unsigned by signed bytes
        pairs = shifted.view(len(rows), -1, 2, 1) * weight.int().view(1, -1, 2, weight.shape[1])
        return (pairs.sum(2).clamp(-(2**15), 2**15 - 1).sum(1) - 128 * weight.int().sum(0)).int()

    monkeypatch.setattr("torch._int_mm", saturating)
    assert not is_exact()
    monkeypatch.setattr("torch._int_mm", lambda rows, weight: (rows.double() @ weight.double()).int())
    assert is_exact() == torch.backends.mkldnn.is_available()
    monkeypatch.setattr("vtok.integer_products.has_int8_dot_products", lambda: False)
    assert not is_exact()


def test_half_precision_weights_are_all_it_needs(float_prior, exact_prior):
    released = new_tiny_tokenizer().latent_model.prior
    released.load_state_dict({name: x.half().float() for name, x in float_prior.state_dict().items()})
    loaded = ExactPrior.from_tensors(released, {name: x.clone() for name, x in exact_prior.tensors().items()})
    codes = video_of_codes(3, 6, 7)
    assert encode(loaded, 7, codes) == encode(exact_prior, 7, codes)
    assert sum(tensor.nbytes for tensor in exact_prior.tensors().values()) < 300_000


def test_qualities_in_between_are_themselves(exact_prior):
    low, middle, high = (exact_prior.of_quality(q).groups[0].biases for q in (3, 3.5, 4))
    assert not torch.equal(low, high)
    torch.testing.assert_close(middle.double(), (low + high) / 2, atol=1, rtol=0, check_dtype=False)
    assert torch.equal(exact_prior.of_quality(12).groups[0].biases, exact_prior.of_quality(9).groups[0].biases)


def test_it_says_what_the_float_prior_says(float_prior, exact_prior):
    codes = video_of_codes(5, 8, 9)
    centred = torch.from_numpy(codes).float().transpose(0, 1)[None] - 128
    with torch.no_grad():
        distribution = float_prior(centred, torch.tensor([4.0]))
        # Not `bits`, which has a floor of probability for training.
        distance = (centred - distribution.location).abs().double()
        bits = -probabilities_of(float_prior, distance, distribution.log2_scale.double())[0].log2().transpose(0, 1)
    ideal = sum(bits[t, used_channels(frame)].clamp_max(24).sum().item() for t, frame in enumerate(codes))
    assert 8 * len(encode(exact_prior, 4, codes)) < 1.02 * ideal + 8 * (4 * len(codes) + 8)


@pytest.mark.parametrize("num_in", [20, 200])
def test_sums_are_exact_at_the_bound(num_in):
    torch.manual_seed(2)
    weight = torch.randn(6, num_in, 3, 3).double() * torch.logspace(-3, 0, 6).double()[:, None, None, None]
    terms = Terms("test", (weight,), (126,), (torch.randn(2, 6).double(),))
    layer = terms.in_units(terms.finest_exponents())
    (integers,) = layer.weights
    assert integers.dtype == torch.int8
    worst = integers.abs().int().flatten(1).sum(1) * 126
    assert (worst < EXACT_LIMIT).all()
    # One unit finer would be too fine, for the weights or for their sum; or there is no finer one.
    assert ((integers.abs().amax((1, 2, 3)) > MAX_WEIGHT // 2) | (layer.exponents == 16)).all()
    for out in range(6):
        rows = (integers[out].sign() * 126).flatten()[None]
        assert multiply(rows, integers[out].flatten()[:, None]).item() == worst[out]


@pytest.mark.parametrize("amount", [1, 2, 8])
def test_units_that_are_too_fine_are_refused(float_prior, exact_prior, amount):
    tensors = exact_prior.tensors()
    tensors["exponents"] = tensors["exponents"] + torch.tensor(amount, dtype=torch.int8)
    with pytest.raises(WeightsError, match=r"context: weights are not 8-bit multiples of their units"):
        ExactPrior.from_tensors(float_prior, tensors)


def test_weights_that_break_the_bound_are_refused(float_prior, exact_prior):
    grown = new_tiny_tokenizer().latent_model.prior
    grown.load_state_dict(float_prior.state_dict())
    with torch.no_grad():
        grown.group_networks[1].hidden.weight.mul_(4)
    with pytest.raises(WeightsError, match="group 1 hidden"):
        ExactPrior.from_tensors(grown, exact_prior.tensors())
    with torch.no_grad():
        grown.group_networks[1].hidden.weight.fill_(1e6)
    with pytest.raises(WeightsError, match="not finite"):
        ExactPrior.quantize(grown)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("exponents", lambda x: x[:-1]),
        ("companded", lambda x: x.flip(0)),
        ("magnitude_weights", lambda x: x * 256),
        ("magnitude_weights", lambda x: x[:, :5]),
        ("frequencies", lambda x: x.flip(0)),
        ("frequencies", lambda x: x + 1),
        ("lookup", lambda x: x[1:]),
        ("lookup", lambda x: torch.full_like(x, 255)),
    ],
)
def test_damaged_tensors_are_refused(float_prior, exact_prior, name, change):
    tensors = exact_prior.tensors()
    with pytest.raises(WeightsError):
        ExactPrior.from_tensors(float_prior, tensors | {name: change(tensors[name])})
    del tensors[name]
    with pytest.raises(WeightsError, match=f"'{name}' is missing"):
        ExactPrior.from_tensors(float_prior, tensors)


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


def test_the_checkerboard_is_that_of_the_float_prior(exact_prior):
    coder = FrameCoder(exact_prior, 5, 3, 5)
    first = (checkerboard(3, 5, device=torch.device("cpu")) == 0).flatten().nonzero().flatten()
    assert coder.positions.order[: len(first)].tolist() == first.tolist()
