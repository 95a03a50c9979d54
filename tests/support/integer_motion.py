"""A second decoder of motion, written from docs/format.md in plain integers, one block at a time: slow, an oracle.

It shares the fitted numbers with the first, and nothing else.
"""

from vtok.entropy.motion_statistics import ROWS, SCORES

DISTANCES = [-3, 1, -1, 1, -1, 1, -1, -8]
AROUND = [(-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]
EQUAL, MERGED, SPLIT = range(3)
KIND, GUESS, FIELD, STATE, RANK, HORIZONTAL, VERTICAL, UNIFORM = 0, 3, 5, 10, 31, 43, 55, 73
MAX_VECTOR = 1023


def require(condition, fault):
    if not condition:
        raise ValueError(fault)


def table_bounds():
    rows = [[int(number) * 4096 for number in line.split()] for line in ROWS.strip().splitlines()]
    rows += [[2 ** (24 - bits)] * 2**bits for bits in range(1, 6)]
    bounds = []
    for row in rows:
        row[row.index(max(row))] -= 32 - len(row)
        row += [1] * (32 - len(row))
        sums = [sum(row[:i]) for i in range(33)]
        bounds.append([total * (2**24 - 32) // 2**24 + i for i, total in enumerate(sums)])
    return bounds


class RangeDecoder:
    def __init__(self, data):
        require(len(data) % 4 == 0, "not whole words")
        self.words = iter([int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)])
        self.width, self.point = 2**64 - 1, next(self.words, 0) * 2**32 + next(self.words, 0)
        self.bounds = table_bounds()

    def symbol(self, table, num_symbols):
        unit = self.width // 2**24
        quantile = self.point // unit
        require(quantile < 2**24, "damaged")
        bounds = self.bounds[table]
        symbol = next(i for i in range(32) if quantile < bounds[i + 1])
        self.point -= unit * bounds[symbol]
        self.width = unit * (bounds[symbol + 1] - bounds[symbol])
        if self.width < 2**32:
            self.width, self.point = self.width * 2**32, self.point * 2**32 + next(self.words, 0)
        require(symbol < num_symbols, "no such symbol")
        return symbol

    def run(self, tables, num_symbols):
        """Symbols with these tables: those of the lowest table come first."""
        symbols = [0] * len(tables)
        for place in sorted(range(len(tables)), key=lambda i: tables[i]):
            symbols[place] = self.symbol(tables[place], num_symbols)
        return symbols


class MotionReference:
    """Decodes chunk by chunk: fields as dictionaries from (row, column) to vectors."""

    def __init__(self, data, height, width):
        self.coder = RangeDecoder(data)
        self.rows, self.columns = -(-height // 16), -(-width // 16)
        self.blocks = [(y, x) for y in range(self.rows) for x in range(self.columns)]
        self.units = [(y, x) for y in range(-(-self.rows // 2)) for x in range(-(-self.columns // 2))]
        of = lambda parities: [(y, x) for y, x in self.units if (y % 2, x % 2) in parities]  # noqa: E731
        self.passes = [of([(0, 0)]), of([(1, 1)]), of([(0, 1), (1, 0)])]
        self.weights = [[int(number) for number in line.split()] for line in SCORES.strip().splitlines()]
        self.table = KIND
        self.num_fields = 7
        self.forget()

    def forget(self):
        self.is_zero_expected = 0
        self.first_field = self.zero()
        self.first_states = dict.fromkeys(self.units, EQUAL)

    def zero(self):
        return dict.fromkeys(self.blocks, (0, 0))

    def pull(self):
        is_moving = self.coder.symbol(self.table, 2)
        self.table = KIND + 1 + is_moving
        num_fields, self.num_fields = self.num_fields, 8
        if not is_moving:
            self.forget()
            return [self.zero() for _ in range(8)]
        fields, states, changes, is_other = [], self.first_states, dict.fromkeys(self.units, 0), 0
        for k in range(num_fields):
            expected = likely = self.expected(fields, k)
            kind = min(k, 1)
            if k == 7:
                kind = 3
                if expected != self.zero():
                    self.is_zero_expected = self.coder.symbol(GUESS + self.is_zero_expected, 2)
                    kind = 2 + self.is_zero_expected
                expected = self.zero() if kind == 3 else expected
            if k == 0:
                likely = self.first_field
            is_other = self.coder.symbol(FIELD + [0, 1 + is_other, 3, 4][kind], 2)
            if is_other:
                states = self.pull_states(k, kind, states, changes, likely)
                fields.append(self.pull_vectors(states, expected, likely))
            else:
                states = dict.fromkeys(self.units, EQUAL)
                fields.append(expected)
            for unit in self.units:
                changes[unit] += states[unit] > EQUAL
            if k == 0:
                self.first_states, self.first_field = states, fields[0]
        return fields + [self.zero()] * (8 - num_fields)

    def expected(self, fields, k):
        return {block: tuple(steady(fields, k, block, axis) for axis in (0, 1)) for block in self.blocks}

    def pull_states(self, k, kind, before, changes, likely):
        states = {}
        for number, units in enumerate(self.passes):
            share = 8 * sum(s > EQUAL for s in states.values()) // max(len(states), 1)
            weights = self.weights[3 * kind + number]
            tables = []
            for y, x in units:
                near = [states.get(z, EQUAL) for z in around((y, x))]
                vector = likely[2 * y, 2 * x]
                features = [
                    int(before[y, x] > EQUAL),
                    sum(before.get(z, EQUAL) > EQUAL for z in around((y, x))),
                    8 * changes[y, x] // max(k, 1),
                    min((abs(vector[0]) + abs(vector[1])).bit_length(), 7),
                    sum(s > EQUAL for s in near),
                    share,
                    1,
                ]
                level = min(max(sum(w * f for w, f in zip(weights, features, strict=True)) // 16, 0), 6)
                near.append(before[y, x])
                splits = near.count(SPLIT) - near.count(MERGED)
                tables.append(STATE + 3 * level + (0 if splits < 0 else 2 if splits > 0 else 1))
            states.update(zip(units, self.coder.run(tables, 3), strict=True))
        return states

    def inside(self, y, x):
        places = [(2 * y, 2 * x), (2 * y, 2 * x + 1), (2 * y + 1, 2 * x), (2 * y + 1, 2 * x + 1)]
        return [(i, j) for i, j in places if i < self.rows and j < self.columns]

    def pull_vectors(self, states, expected, likely):
        known = {z: expected[z] for unit in self.units if states[unit] == EQUAL for z in self.inside(*unit)}
        for units in self.passes:
            changed = [unit for unit in units if states[unit] > EQUAL]
            guesses = []
            for y, x in changed:
                votes = [1 + (states.get(z, EQUAL) > EQUAL) for z in around((y, x))]
                near = [known.get((2 * i, 2 * j)) for i, j in around((y, x))]
                refused = expected[2 * y, 2 * x] if states[y, x] == MERGED else None
                guesses.append((near, votes, likely[2 * y, 2 * x], refused))
            # A merged unit has its other vectors now, too, but they are not asked for before all are known.
            for (y, x), vector in zip(changed, self.pull_guessed(guesses, False), strict=True):
                known[2 * y, 2 * x] = vector
        for unit in self.units:
            if states[unit] == MERGED:
                known |= dict.fromkeys(self.inside(*unit), known[2 * unit[0], 2 * unit[1]])
        for numbers in ((3,), (1, 2)):
            places = [
                (2 * y + number // 2, 2 * x + number % 2)
                for number in numbers
                for y, x in self.units
                if states[y, x] == SPLIT
            ]
            places = [place for place in places if place in expected]
            guesses = [([known.get(z) for z in around(place)], [1] * 8, likely[place], None) for place in places]
            known |= dict(zip(places, self.pull_guessed(guesses, True), strict=True))
        return known

    def pull_guessed(self, guesses, of_split):
        choices, tables = [], []
        for near, strength, likely, refused in guesses:
            votes = {}
            for i, vector in enumerate([*near, likely]):
                if vector is not None and vector != refused:
                    votes[vector] = votes.get(vector, 0) + ([*strength, 1][i] * (2 if i < 4 else 1))
            # Dictionaries keep their order, and sorting is stable: of equals, the first comes first.
            candidates = sorted(votes, key=lambda vector: -votes[vector])[:2]
            choices.append(candidates)
            if candidates:
                level = min(max(votes[candidates[0]] - 1, 0) // 2, 3)
                tables.append(RANK + level + (0 if len(candidates) == 1 else 8 if of_split else 4))
        ranks = iter(self.coder.run(tables, 3))
        vectors, others = [], []
        for place, candidates in enumerate(choices):
            rank = next(ranks) if candidates else 2
            require(rank == 2 or rank < len(candidates), "no such candidate")
            vectors.append(None if rank == 2 else candidates[rank])
            if rank == 2:
                others.append(place)
        for place, vector in zip(others, self.pull_others([guesses[i] for i in others], of_split), strict=True):
            vectors[place] = vector
        return vectors

    def pull_others(self, guesses, of_split):
        bases, spreads = [], []
        for near, _, likely, refused in guesses:
            nine = [*near, likely]
            if set(nine) - {None, refused}:
                nine = [None if vector == refused else vector for vector in nine]
            few = sum(vector is not None for vector in nine[:4]) < 3
            counted = [vector for vector in (nine if few else [*nine[:4], nine[8]]) if vector is not None]
            ordered = [sorted(vector[axis] for vector in counted) for axis in (0, 1)]
            num = len(counted)
            bases.append([(s[(num - 1) // 2] + s[num // 2]) // 2 for s in ordered])
            spreads.append([min(max((s[-1] - s[0]).bit_length() - 1, 0), 5) for s in ordered])
        horizontal = self.coder.run([HORIZONTAL + 6 * of_split + s[0] for s in spreads], 23)
        tables = [VERTICAL + 6 * min((c + 1) // 2, 2) + s[1] for c, s in zip(horizontal, spreads, strict=True)]
        vertical = self.coder.run(tables, 23)
        classes = horizontal + vertical
        low_bits = [max((c + 1) // 2 - 1, 0) for c in classes]
        values = [0] * len(classes)
        for part in ([min(b, 5) for b in low_bits], [b - min(b, 5) for b in low_bits]):
            places = [i for i, b in enumerate(part) if b]
            symbols = self.coder.run([UNIFORM + part[i] - 1 for i in places], 32)
            for i, symbol in zip(places, symbols, strict=True):
                require(symbol < 2 ** part[i], "no such symbol")
                values[i] = values[i] * 2 ** part[i] + symbol
        signed = [
            (v + 2**b if c else 0) * (1 if c % 2 else -1) for c, b, v in zip(classes, low_bits, values, strict=True)
        ]
        vectors = [(base[0] + signed[i], base[1] + signed[len(bases) + i]) for i, base in enumerate(bases)]
        require(all(abs(z) <= MAX_VECTOR for vector in vectors for z in vector), "vector too long")
        return vectors


def around(place):
    return [(place[0] + y, place[1] + x) for y, x in AROUND]


def steady(fields, k, block, axis):
    if k == 0:
        return 0
    numerator = DISTANCES[k] * sum(3 // d * field[block][axis] for d, field in zip(DISTANCES, fields[:k]))  # noqa: B905
    rounded = (2 * abs(numerator) + 3 * k) // (6 * k) * (1 if numerator > 0 else -1)
    return min(max(rounded, -MAX_VECTOR), MAX_VECTOR)
