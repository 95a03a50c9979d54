"""The exact prior and its symbols in Python integers, one value at a time: slow, and plain enough to be believed."""

from fractions import Fraction

import numpy as np

from vtok.entropy.channel_flags import CODED, REPEATED
from vtok.entropy.tables import BLOCK


class IntegerReference:
    """The exact prior in Python integers, one output value at a time; it shares nothing but the integer weights."""

    def __init__(self, prior, quality, height, width):
        self.prior, self.quality, self.weights, self.size = prior, quality, prior.of_quality(quality), (height, width)
        self.previous = self.before = np.full((prior.num_channels, height, width), 128, np.uint8)
        self.num_known = 0
        self.is_context = np.zeros(prior.num_channels, bool)
        self.stored_before = None

    def passes(self, frame, flags, motion):
        """For each pass of a latent frame with these flags and this motion: symbols and tables as flat lists."""
        self.is_coded = is_coded = flags == CODED
        in_place = self.previous
        if self.stored_before is not None:
            self.displace(motion.fields[7].tolist())
        self.stored_before = frame
        # Rare channels are no context, nor are repeated ones of such.
        self.is_context = is_coded | (flags == REPEATED) & self.is_context
        frame = np.where(self.is_context[:, None, None], frame, 128)
        inside = [(y, x) for y in range(self.size[0]) for x in range(self.size[1])]
        context = self.context(inside, motion)
        for group in self.weights.groups:
            channels = [c for c in np.flatnonzero(is_coded) if group.start <= c < group.end]
            passes = [[(y, x) for y, x in inside if (y + x) % 2 == parity] for parity in (0, 1)]
            if group.start >= self.prior.first_single_pass:
                passes = [passes[0] + passes[1]]
            for places in passes:
                if places and channels:
                    yield [self.symbol(frame, context, group, c, y, x) for y, x in places for c in channels]
        self.previous, self.before = frame, in_place
        self.num_known = min(self.num_known + 1, 2)

    def displace(self, vectors):
        """Where a block has a vector, both latent frames before are what that leads to."""
        displaced = plain_displaced(self.prior.displaced_codes(self.quality), self.stored_before.tolist(), vectors)
        self.previous, self.before = self.previous.copy(), self.before.copy()
        for (y, x), codes in displaced.items():
            for frame in (self.previous, self.before):
                frame[:, y, x] = [code + 128 for code in codes] + [128] * (len(frame) - len(codes))

    def context(self, inside, motion):
        w = self.weights
        first = {}
        for y, x in inside:
            terms = [w.context_biases[self.num_known].tolist()]
            terms.append(convolved(w.from_previous, lambda c, i, j: self.companded(self.previous, c, i, j), y, x))
            terms.append(product(w.from_before, [self.companded(self.before, c, y, x) for c in range(12)]))
            terms.append(product(w.from_motion, plain_maps(motion, y // 2, x // 2)))
            first[y, x] = activations(terms, w.context_exponent)
        inner = lambda c, i, j: first[i, j][c] if (i, j) in first else 0  # noqa: E731
        return {
            (y, x): activations([w.hidden_bias.tolist(), convolved(w.context_hidden, inner, y, x)], w.hidden_exponent)
            for y, x in inside
        }

    def symbol(self, frame, context, group, c, y, x):
        has_two_passes = group.start < self.prior.first_single_pass
        second = (y + x) % 2 == 1 and has_two_passes
        around = [(y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x)]
        terms = [group.biases[int(second)].tolist(), product(group.from_context, context[y, x])]
        if group.from_lower is not None:
            terms.append(convolved(group.from_lower, lambda k, i, j: self.companded(frame, k, i, j), y, x))
        if second:
            coded = np.where(self.is_coded[:, None, None], frame, 128)  # not those that are repeated
            own = [self.companded(coded, k, i, j) for i, j in around for k in range(group.start, group.end)]
            terms.append(product(group.from_own, own))
        hidden = activations(terms, group.exponent)
        hidden = activations([group.hidden.bias.tolist(), product(group.hidden, hidden)], group.hidden.exponent)
        sums = [a + b for a, b in zip(group.out.bias.tolist(), product(group.out, hidden), strict=True)]
        size = group.end - group.start
        outputs = [sums[i] >> int(group.out.exponent[i]) for i in range(c - group.start, len(sums), size)]
        gate, correction, factor, spatial_gate = outputs if has_two_passes else [*outputs, 0]
        gate, spatial_gate = np.clip([gate, spatial_gate], -64, 64).tolist()
        correction, factor = max(-4096, min(4096, correction)), max(-2048, min(2048, factor))
        # In units of 2^-14 of a code.
        location = 256 * gate * self.code(self.previous, c, y, x) + 256 * correction
        if second:
            known = sum(self.code(frame, c, i, j) for i, j in around)
            known_before = sum(self.code(self.previous, c, i, j) for i, j in around)
            location += spatial_gate * (64 * known - gate * known_before)
        steps = max(-2048, min(127 * 16, (location + 512) // 1024))
        centre, offset = (steps + 8) // 16, steps - (steps + 8) // 16 * 16
        symbol = (self.code(frame, c, y, x) - centre) * (-1 if offset < 0 else 1) % 256
        level = self.level(frame, c, y, x, second, around, factor)
        return symbol, int(self.prior.tables.lookup[level * 9 + abs(offset)])

    def level(self, frame, c, y, x, second, around, factor):
        is_single = c >= self.prior.first_single_pass
        if is_single:
            weights = self.prior.single_pass_magnitude_weights[c - self.prior.first_single_pass].int().tolist()
        else:
            weights = self.prior.magnitude_weights[int(second), c].int().tolist()
        window = [(y, x)] if is_single else [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        now, previous, before = (lambda p, f=f: self.code(f, c, *p) for f in (frame, self.previous, self.before))
        magnitudes = [1, sum(abs(previous(p) - before(p)) for p in window), sum(abs(previous(p)) for p in window)]
        if not is_single:
            magnitudes.append(abs(previous((y, x))))
        if second:
            magnitudes += [sum(abs(now(p) - previous(p)) for p in around), sum(abs(now(p)) for p in around)]
        scale = sum(w * m for w, m in zip(weights, magnitudes, strict=False))
        octave = scale.bit_length() - 1
        log2_scale = octave * 128 + scale * 128 // 2**octave - 128 + factor
        lowest = (self.prior.magnitude_exponent - 4) * 128 - 4 - 7
        return max(0, min(11 * 16, (log2_scale - lowest) // 8))

    def code(self, frame, c, y, x):
        inside = 0 <= y < self.size[0] and 0 <= x < self.size[1]
        return int(frame[c, y, x]) - 128 if inside else 0

    def companded(self, frame, c, y, x):
        return int(self.prior.companded[self.code(frame, c, y, x) + 128])


def plain_maps(motion, row, column):
    """What the prior sees of the motion in a block."""
    sizes = [abs(int(x)) + abs(int(y)) for x, y in motion.fields[:, :, row, column]]
    return [8 * (sizes[7] > 0), min(8, sizes[7].bit_length()), min(8, (sum(sizes[:7]) // 4).bit_length())]


def plain_displaced(displaced_codes, codes, vectors, *, everywhere=False):
    """For each displaced position, the codes expected there, from stored `codes [n, H, W]` and `vectors [2, R, C]`."""
    to_samples, to_codes = integers(displaced_codes.to_samples, 16), integers(displaced_codes.to_codes, 24)
    height, width = len(codes[0]), len(codes[0][0])
    samples = {}
    for y in range(height):
        for x in range(width):
            column = [codes[c][y][x] - 128 for c in range(len(codes))]
            samples[y, x] = [clipped(nearest(dot(row, column), 16), 2**15) for row in to_samples]
    planes = [(8, 0, 4), (4, 64, 8), (4, 80, 8)]  # samples on a side of a position, first of a position, units of vectors

    def sample(side, first, y, x):
        y, x = (min(max(z, 0), size * side - 1) for z, size in ((y, height), (x, width)))
        return samples[y // side, x // side][first + y % side * side + x % side]

    def displaced_sample(side, first, units, y, x, vector):
        (left, right), (up, down) = (divmod(z, units) for z in vector)
        y, x = y + up, x + left
        upper, lower = (
            sample(side, first, z, x) * (units - right) + sample(side, first, z, x + 1) * right for z in (y, y + 1)
        )
        return (upper * (units - down) + lower * down + units**2 // 2) // units**2

    found = {}
    for y in range(height):
        for x in range(width):
            vector = [vectors[axis][y // 2][x // 2] for axis in (0, 1)]
            if vector != [0, 0] or everywhere:
                moved = [
                    displaced_sample(side, first, units, side * y + i, side * x + j, vector)
                    for side, first, units in planes
                    for i in range(side)
                    for j in range(side)
                ]
                found[y, x] = [clipped(nearest(dot(row, moved), 24), 128) for row in to_codes]
    return found


def integers(matrix, bits):
    """A matrix in units of `2^-bits`."""
    return [[int(value * 2**bits) for value in row] for row in matrix.tolist()]


def dot(row, column):
    return sum(a * b for a, b in zip(row, column, strict=True))


def nearest(value, bits):
    """`value / 2^bits`, rounded to an integer, halves to even."""
    return round(Fraction(value, 2**bits))


def clipped(value, limit):
    return min(max(value, -limit), limit - 1)


def product(layer, inputs):
    """`weight [..., in, out]` times integers, each sum times its factor."""
    rows = layer.weight.flatten(0, -2).T.tolist()
    factors = layer.factor.tolist() if hasattr(layer, "factor") else [1] * len(rows)
    return [f * sum(w * x for w, x in zip(row, inputs, strict=True)) for row, f in zip(rows, factors, strict=True)]


def convolved(layer, value, y, x):
    """Windows of the first channels, then the others at the position."""
    near = layer.num_near
    inputs = [value(c, y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1) for c in range(near)]
    return product(layer, inputs + [value(c, y, x) for c in range(near, len(layer.weight) - 8 * near)])


def activations(terms, exponent):
    return [max(0, min(126, sum(t) >> e)) for *t, e in zip(*terms, exponent.tolist(), strict=True)]


def plain_kinds(before, some_repeated):
    """Which table each channel's flag has, from the flags before."""
    if before is None:
        return [0] * 12
    if some_repeated:
        return [7 if flag == REPEATED else 4 + min(flag, 2) for flag in before]
    return [2 if flag == REPEATED else 1 + min(flag, 2) for flag in before]


def plain_flags(tables, flags, kinds):
    """What channels' flags mean to the coder: symbols and its tables."""
    first = len(tables.frequencies) + 2 * tables.num_sparse
    order = sorted(range(len(flags)), key=lambda c: (kinds[c], c))
    return [(flags[c], first + kinds[c]) for c in order]


def plain_rare(tables, frame, flags):
    """The same of rare channels: eight positions to a byte, then the symbols that are not 0."""
    first = len(tables.frequencies) + 2 * tables.num_sparse + 8
    bytes_of_flags, nonzero = [], []
    for c in sorted((c for c in range(12) if 2 <= flags[c] < REPEATED), key=lambda c: (flags[c], c)):
        symbols = [(int(code) - 128) % 256 for code in frame[c].ravel()]
        symbols += [0] * (-len(symbols) % 8)
        blocks = [symbols[i : i + 8] for i in range(0, len(symbols), 8)]
        bytes_of_flags += [(byte_of_flags(block), first + flags[c] - 2) for block in blocks]
        nonzero += [(s, first + 10) for s in symbols if s]
    return bytes_of_flags + nonzero


def plain_pass(tables, symbols, index):
    """The same of one pass: flags of blocks and other symbols, then the symbols that are flagged."""
    num_tables = len(tables.frequencies)
    order = sorted(range(len(symbols)), key=lambda i: (index[i], i))
    ordered = [(int(symbols[i]), int(index[i])) for i in order]
    num_blocks = sum(table < tables.num_sparse for _, table in ordered) // BLOCK
    blocks = [ordered[i * BLOCK : (i + 1) * BLOCK] for i in range(num_blocks)]
    flags = [(byte_of_flags([s for s, _ in block]), num_tables + block[4][1]) for block in blocks]
    flagged = [(s, num_tables + tables.num_sparse + table) for block in blocks for s, table in block if s]
    return flags + ordered[num_blocks * BLOCK :] + flagged


def byte_of_flags(block):
    return int("".join("1" if s else "0" for s in block), 2)
