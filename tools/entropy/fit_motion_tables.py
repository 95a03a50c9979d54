"""Fit the frequency tables of motion to motion that was found in videos, and write them as a Python module.

    python tools/entropy/fit_motion_tables.py FOLDER

The folder has the .npz files of `collect_motion.py`, each of one clip that is one group. Their arrays are, for each of
several names NAME, `fields_NAME`, int16 `[chunks, 8, 2, rows, columns]`: what an encoder finds at one quality. The last
field of the first chunk is zero.

Tables are a constant of the format: once files exist, do not write them again.
"""

import sys
from collections import defaultdict
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from vtok.entropy import motion_field
from vtok.entropy.motion_coder import MotionWalk
from vtok.entropy.motion_contexts import UnitFacts, state_tables
from vtok.entropy.motion_layout import Indices, Integers
from vtok.entropy.motion_symbols import Numbers, SymbolCounter
from vtok.entropy.motion_tables import (
    FIRST_EQUAL,
    FIRST_GUESS,
    FIRST_HORIZONTAL,
    FIRST_RANK,
    FIRST_STATE,
    FIRST_UNIFORM,
    NUM_CLASSES,
    NUM_SCORES,
    NUM_STATES,
    ROW_TOTAL,
    SCORE_WEIGHTS,
)
from vtok.video.motion import ChunkMotion

OUTPUT = Path(__file__).parents[2] / "vtok" / "entropy" / "motion_statistics.py"
SCORE_STEP = 1.25  # of the logarithm of odds, between two levels
# Still chunks are too rare in clips to count, and must be cheap.
KINDS = ((2048, 2048), (4032, 64), (256, 3840))
SMOOTHING = 0.01  # share of the distribution that every table is mixed with
EXTRA_COUNTS = 20  # as many symbols of that distribution are added, for rare tables

NUM_SYMBOLS_FROM = (
    (FIRST_GUESS, 2),
    (FIRST_EQUAL, 2),
    (FIRST_STATE, NUM_STATES),
    (FIRST_RANK, 3),
    (FIRST_HORIZONTAL, NUM_CLASSES),
)

Motions = list[ChunkMotion]


class ScoreRecorder(SymbolCounter):
    """Records the features of each unit, and whether it is changed.

    Attributes:
        rows: Of each kind of field and each pass, arrays `[7, num]`: features, then 1 for a changed unit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[tuple[int, int], list[Integers]] = defaultdict(list)
        self._features: tuple[tuple[int, int], Integers] | None = None

    def expect(self, key: tuple[int, int], features: Integers) -> None:
        """Take the features of the units whose states are next."""
        self._features = key, features

    def code(self, tables: Numbers, num_symbols: int, known: Numbers | None) -> Numbers:
        """Record states."""
        assert known is not None
        if self._features is not None:
            key, features = self._features
            self.rows[key].append(np.concatenate([features, (known > 0)[None]]))
            self._features = None
        return known


def motions_of(folder: Path) -> list[Motions]:
    """The motion of all clips at all lagrangians."""
    groups = []
    for path in sorted(folder.glob("*.npz")):
        arrays = np.load(path)
        for name in sorted(arrays.files):
            if name.startswith("fields_"):
                groups.append([ChunkMotion(fields) for fields in arrays[name]])
    return groups


def walk(groups: list[Motions], symbols: SymbolCounter) -> None:
    """Take all symbols of these groups of chunks."""
    for motions in groups:
        one = MotionWalk(symbols, *motions[0].fields.shape[2:])
        for motion in motions:
            one.code(motion)


def fitted_scores(groups: list[Motions]) -> NDArray[np.int32]:
    """Weights of features, `[4, 3, 7]`: those of logistic regressions, in sixteenths of a level."""
    recorder = ScoreRecorder()

    def recording(
        facts: UnitFacts, scores: Integers, number: int, units: Indices, near: Integers, share: tuple[Integers, int]
    ) -> Integers:
        features = [*facts.facts[:, units], share[0], np.full(len(units), share[1], np.int32)]
        recorder.expect((facts.kind, number), np.stack(features))
        return state_tables(facts, scores, number, units, near, share)

    with patch.object(motion_field, "state_tables", recording):
        walk(groups, recorder)
    scores = np.zeros(SCORE_WEIGHTS.shape, np.int32)
    for key, rows in sorted(recorder.rows.items()):
        scores[key] = np.rint(_regression(np.concatenate(rows, axis=1)) * 16 / SCORE_STEP)
    scores[:, :, -1] += 8 * NUM_SCORES
    return scores


def _regression(rows: Integers) -> NDArray[np.float64]:
    """Weights and constant `[7]` for the logarithm of odds of the last of `rows [7, num]`, from the others."""
    x, is_changed = torch.tensor(rows[:-1].T, dtype=torch.float64), torch.tensor(rows[-1], dtype=torch.float64)
    weights = torch.zeros(len(rows), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        odds = x @ weights[:-1] + weights[-1]
        value = torch.nn.functional.binary_cross_entropy_with_logits(odds, is_changed) + 1e-5 * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    fitted: NDArray[np.float64] = weights.detach().numpy()
    return fitted


def rows_of(counts: NDArray[np.int64]) -> list[list[int]]:
    """The rows of all tables but the uniform ones, from counts of symbols."""
    rows = [list(row) for row in KINDS]
    for table in range(FIRST_GUESS, FIRST_UNIFORM):
        _, num = max(pair for pair in NUM_SYMBOLS_FROM if pair[0] <= table)
        rows.append(_row(counts[table, :num].astype(np.float64)))
    return rows


def _row(counts: NDArray[np.float64]) -> list[int]:
    """Integers of at least 1 that sum to `ROW_TOTAL`, nearly in proportion to smoothed counts."""
    common = np.ones(len(counts))
    if len(counts) == NUM_CLASSES:  # signs have no preference; the larger, the rarer
        counts[1::2] = counts[2::2] = (counts[1::2] + counts[2::2]) / 2
        common = 2.0 ** (-(np.arange(NUM_CLASSES) + 1) // 2 / 2)
    common /= common.sum()
    shares = counts + EXTRA_COUNTS * common
    shares = (1 - SMOOTHING) * shares / shares.sum() + SMOOTHING * common
    row = 1 + np.floor(shares * (ROW_TOTAL - len(counts))).astype(np.int64)
    row[row.argmax()] += ROW_TOTAL - row.sum()
    return [int(number) for number in row]


def module_text(scores: NDArray[np.int32], rows: list[list[int]]) -> str:
    """The module with these numbers."""
    lines = ['"""What `tools/entropy/fit_motion_tables.py` has fitted; `vtok.entropy.motion_tables` explains it."""']
    lines += ["", 'SCORES = """']
    lines += [" ".join(map(str, row)) for row in scores.reshape(-1, scores.shape[-1]).tolist()]
    lines += ['"""', "", 'ROWS = """']
    lines += [" ".join(map(str, row)) for row in rows]
    return "\n".join([*lines, '"""', ""])


def main() -> None:
    """Fit and write."""
    groups = motions_of(Path(sys.argv[1]))
    scores = fitted_scores(groups)
    SCORE_WEIGHTS[:] = scores
    counter = SymbolCounter()
    walk(groups, counter)
    OUTPUT.write_text(module_text(scores, rows_of(counter.counts)), encoding="utf-8")
    num_chunks = sum(map(len, groups))
    print(f"{len(groups)} groups, {num_chunks} chunks; {OUTPUT}")


if __name__ == "__main__":
    main()
