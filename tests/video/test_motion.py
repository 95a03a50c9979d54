from fractions import Fraction

import numpy as np
import pytest

from vtok.video.motion import ANCHOR, DISTANCES, MAX_VECTOR, NUM_FIELDS, STEPS, predicted_field


def test_distances_lead_from_the_moved_frame_to_the_anchor():
    frames = [*STEPS, (ANCHOR - 8, ANCHOR)]
    assert [moved + d for (_, moved), d in zip(frames, DISTANCES, strict=True)] == [anchor for anchor, _ in frames]


@pytest.mark.parametrize("k", range(NUM_FIELDS))
def test_predicted_field_is_the_mean_velocity_times_the_distance(k: int):
    fields = np.random.default_rng(k).integers(-40, 41, (NUM_FIELDS, 2, 3, 5)).astype(np.int16)
    predicted = predicted_field(fields, k)
    assert predicted.dtype == np.int16
    assert predicted.shape == (2, 3, 5)
    for place in np.ndindex(2, 3, 5):
        known = [Fraction(int(fields[j][place]), DISTANCES[j]) for j in range(k)]
        exact = DISTANCES[k] * sum(known) / k if known else Fraction(0)
        away = int(abs(exact) + Fraction(1, 2))  # halves away from zero
        assert predicted[place] == (away if exact >= 0 else -away)


def test_steady_motion_is_predicted_exactly():
    velocity = np.array([5, -7], np.int16)[:, None, None] * np.ones((2, 4, 6), np.int16)
    fields = np.stack([velocity * d for d in DISTANCES]).astype(np.int16)
    for k in range(1, NUM_FIELDS):
        assert np.array_equal(predicted_field(fields, k), fields[k])


def test_prediction_stays_within_the_range_of_vectors():
    fields = np.full((NUM_FIELDS, 2, 1, 1), MAX_VECTOR, np.int16)
    fields[[j for j, d in enumerate(DISTANCES) if d < 0]] *= -1
    assert predicted_field(fields, 7).tolist() == [[[-MAX_VECTOR]], [[-MAX_VECTOR]]]


def test_later_fields_are_not_read():
    fields = np.random.default_rng(0).integers(-40, 41, (NUM_FIELDS, 2, 2, 2)).astype(np.int16)
    for k in range(NUM_FIELDS):
        assert np.array_equal(predicted_field(fields[:k], k), predicted_field(fields, k))
