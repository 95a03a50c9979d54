"""Range coding under frozen tables: exact, as small as the tables allow, and equal to the integer reference."""

import subprocess
import sys
from itertools import chain, groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtok.entropy.range_coder import (
    FREQUENCY_TOTAL,
    FrequencyTables,
    SymbolDecoder,
    SymbolEncoder,
    quantize_probabilities,
    reference_decode,
    reference_encode,
)
from vtok.errors import ConfigError, FormatError


def random_tables(rng, num_tables, num_symbols):
    return FrequencyTables(quantize_probabilities(rng.gamma(0.2, size=(num_tables, num_symbols)) + 1e-12))


def runs_of(table_index):
    """Runs of equal tables."""
    return [(int(table), len(list(run))) for table, run in groupby(table_index)]


def encode(tables, parts):
    encoder = SymbolEncoder(tables)
    for symbols, table_index in parts:
        encoder.push(np.array(symbols, int), runs_of(table_index))
    return encoder.finish()


TABLES = random_tables(np.random.default_rng(0), 5, 16)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_tables=st.integers(1, 9),
    num_symbols=st.sampled_from([2, 3, 16, 256, 1000]),
    sizes=st.lists(st.integers(0, 60), max_size=4),
)
def test_round_trip_and_reference(seed, num_tables, num_symbols, sizes):
    rng = np.random.default_rng(seed)
    tables = random_tables(rng, num_tables, num_symbols)
    parts = [(rng.integers(0, num_symbols, n), rng.integers(0, num_tables, n)) for n in sizes]
    all_symbols, all_tables = (
        np.concatenate([[], *column]).astype(int) for column in zip(*parts, ([], []), strict=True)
    )
    data = encode(tables, parts)
    assert data == reference_encode(tables, all_symbols.tolist(), runs_of(all_tables))
    decoder = SymbolDecoder(tables, data)
    for symbols, index in parts:
        np.testing.assert_array_equal(decoder.pull(runs_of(index)), symbols)
    assert reference_decode(tables, data, runs_of(all_tables)) == all_symbols.tolist()
    assert decoder.is_exhausted()


@pytest.mark.parametrize("frequencies", [[[1, FREQUENCY_TOTAL - 1]], [[FREQUENCY_TOTAL // 2] * 2], [[1 << 8] * 65536]])
def test_extreme_tables(frequencies):
    tables = FrequencyTables(frequencies)
    symbols = np.random.default_rng(1).integers(0, tables.num_symbols, 50)
    for row in (symbols, np.zeros(3000, int), np.full(50, tables.num_symbols - 1)):
        runs = [(0, row.size)]
        data = encode(tables, [(row, [0] * row.size)])
        assert data == reference_encode(tables, row.tolist(), runs)
        np.testing.assert_array_equal(SymbolDecoder(tables, data).pull(runs), row)


def test_size_is_what_the_tables_allow():
    rng = np.random.default_rng(2)
    scales = np.geomspace(0.03, 20, 64)
    tables = FrequencyTables(quantize_probabilities(np.exp(-np.abs(np.arange(256) - 128) / scales[:, None])))
    index = rng.integers(0, 64, 200_000)
    symbols = np.empty_like(index)
    for table in range(64):
        at = index == table
        symbols[at] = rng.choice(256, at.sum(), p=tables.frequencies[table] / FREQUENCY_TOTAL)
    ideal = tables.ideal_bits(symbols, index)
    probabilities = tables.frequencies / FREQUENCY_TOTAL
    entropy = -(probabilities * np.log2(probabilities)).sum(axis=1)[index].sum()
    assert ideal == pytest.approx(entropy, rel=0.01)
    size_bits = 8 * len(encode(tables, [(symbols, index)]))
    assert ideal - 64 <= size_bits <= ideal * 1.01 + 64


def test_constant_channels_are_nearly_free():
    probabilities = np.full(256, 1e-9)
    probabilities[128] = 1
    tables = FrequencyTables(quantize_probabilities(probabilities[None]))
    data = encode(tables, [(np.full(100_000, 128), np.zeros(100_000, int))])
    assert len(data) <= 8


def test_parts_and_runs_may_be_split():
    symbols, index = [3, 1, 4, 1, 5, 9, 2, 6], [2, 2, 0, 0, 1, 4, 4, 2]
    whole = encode(TABLES, [(symbols, index)])
    assert whole == encode(TABLES, [(symbols[:1], index[:1]), (symbols[1:], index[1:])])
    assert whole == reference_encode(TABLES, symbols, [(table, 1) for table in index])
    assert whole != encode(TABLES, [(symbols, index[::-1])])


def test_nothing_takes_no_bytes():
    assert encode(TABLES, []) == encode(TABLES, [([], [])]) == b""
    decoder = SymbolDecoder(TABLES, b"")
    assert decoder.pull([]).shape == (0,)
    assert decoder.is_exhausted()


def test_data_left_over_is_noticed():
    symbols, index = np.full(200, 7), np.zeros(200, int)
    decoder = SymbolDecoder(TABLES, encode(TABLES, [(symbols, index)]))
    decoder.pull([(0, 50)])
    assert not decoder.is_exhausted()


def test_damage_raises_format_errors_only_and_as_the_reference_does():
    rng = np.random.default_rng(3)
    runs = [runs_of(rng.integers(0, 5, 20)) for _ in range(3)]
    refused = 0
    for seed in range(600):
        words = np.random.default_rng(seed).integers(0, 2**32, seed % 9, dtype=np.uint32)
        if seed % 4 == 0:
            words[:2] = 0xFFFFFFFF
        data = words.astype("<u4").tobytes()
        decoder = SymbolDecoder(TABLES, data)
        try:
            symbols = np.concatenate([decoder.pull(part) for part in runs])
        except FormatError:
            refused += 1
            with pytest.raises(FormatError):
                reference_decode(TABLES, data, list(chain(*runs)))
            continue
        assert symbols.tolist() == reference_decode(TABLES, data, list(chain(*runs)))
    assert refused
    for size in (1, 2, 3, 5):
        with pytest.raises(FormatError, match=f"{size} bytes"):
            SymbolDecoder(TABLES, bytes(size))


@pytest.mark.parametrize(("symbols", "runs"), [([16], [(0, 1)]), ([-1], [(0, 1)]), ([0], []), ([0, 1], [(0, 1)])])
def test_misuse_is_refused(symbols, runs):
    with pytest.raises(ConfigError):
        SymbolEncoder(TABLES).push(np.array(symbols), runs)


@pytest.mark.parametrize(
    "frequencies",
    [
        [], [[]], [[FREQUENCY_TOTAL]], [1, FREQUENCY_TOTAL - 1], [[0, FREQUENCY_TOTAL]], [[-1, FREQUENCY_TOTAL + 1]],
        [[1, 2]], [[0.5, 0.5]], [[2**32 + 1, FREQUENCY_TOTAL - 1]], [[1, FREQUENCY_TOTAL]],
    ],
)  # fmt: skip
def test_bad_tables_are_refused(frequencies):
    with pytest.raises(ConfigError):
        FrequencyTables(frequencies)


@pytest.mark.parametrize("probabilities", [[], [1.0], [0, 0], [-1, 2], [np.nan, 1], [np.inf, 1], [1e308] * 20, 0.5])
def test_bad_probabilities_are_refused(probabilities):
    with pytest.raises(ConfigError):
        quantize_probabilities(probabilities)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=300).filter(lambda row: sum(row) > 1e-3))
def test_quantized_probabilities(row):
    frequencies = quantize_probabilities([row, row[::-1]])
    assert frequencies.min() >= 1
    assert (frequencies.sum(axis=1) == FREQUENCY_TOTAL).all()
    exact = np.array(row) / sum(row) * FREQUENCY_TOTAL
    assert np.abs(frequencies[0] - exact).max() <= len(row) + 2


def test_tables_are_frozen():
    frequencies = quantize_probabilities(np.ones((2, 4)))
    tables = FrequencyTables(frequencies)
    frequencies[0] = 0
    assert tables.frequencies.sum() == 2 * FREQUENCY_TOTAL
    with pytest.raises(ValueError, match="read-only"):
        tables.frequencies[0, 0] = 0


def test_bytes_do_not_change():
    tables = FrequencyTables([[1, 2, FREQUENCY_TOTAL - 3]])
    assert encode(tables, [([0, 1, 2, 2, 1], [0] * 5)]).hex() == "00000000ffff0000b8e4ff1a"


def test_no_torch():
    code = "import sys, vtok.entropy.range_coder; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
