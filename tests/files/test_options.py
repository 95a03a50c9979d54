"""Options of encoding and decoding: bad ones are one clear error before anything is read or written."""

import pickle
from dataclasses import fields, replace
from fractions import Fraction
from inspect import signature

import numpy as np
import pytest

from support.videos import write_video
from vtok.errors import ConfigError
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.files.options import DecodeOptions, EncodeOptions
from vtok.video.filters import filters_of

NAN, INFINITY = float("nan"), float("inf")
OF_BOTH = [
    ({"start_seconds": -1}, "start_seconds is -1; expected seconds, 0 or more"),
    ({"start_seconds": NAN}, "start_seconds is nan; expected seconds"),
    ({"start_seconds": INFINITY}, "start_seconds is inf; expected seconds"),
    ({"start_seconds": "1:30"}, "start_seconds is '1:30'; expected seconds"),
    ({"end_seconds": 0}, "end_seconds is 0; expected seconds after start_seconds, 0, or None"),
    ({"end_seconds": NAN}, "end_seconds is nan; expected seconds after"),
    ({"start_seconds": 2, "end_seconds": 1.5}, "end_seconds is 1.5; expected seconds after start_seconds, 2, or None"),
    ({"start_seconds": Fraction(1, 10), "end_seconds": 0.1}, "end_seconds is 0.1; expected seconds after"),
]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *OF_BOTH,
        *(({"quality": quality}, r"expected 1 \(smallest\) to 9 \(best\)") for quality in (0, 9.1, -1, NAN, None, "5")),
        *(({"keyframe_seconds": x}, "expected seconds, more than 0") for x in (-3, 0, NAN, "4")),
        *(({"effort": x}, "expected one of fast, normal, high") for x in ("best", "", "Fast", 3, None)),
        *(({"image_rate": x}, "above 0 and at most 1000, or None") for x in (-1, 0, 1001, NAN)),
    ],
)
def test_bad_options_of_encoding_name_the_value_and_the_allowed_set(options, message, tmp_path):
    with pytest.raises(ConfigError, match=message) as caught:
        encode_file(tmp_path / "missing.mp4", tmp_path / "out.vtok", **options)
    assert str(caught.value).startswith(f"{list(options)[-1]} is ")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("options", "message"), OF_BOTH)
def test_bad_options_of_decoding_name_the_value_and_the_allowed_set(options, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        decode_file(tmp_path / "missing.vtok", tmp_path / "out.mp4", **options)


# These arguments make one option each.
GOALS = {"size", "bitrate", "ratio", "psnr", "ssim", "vmaf"}
FILTERS = {"scale", "fps", "crop"}


def test_options_are_those_of_the_functions_with_the_same_defaults():
    for function, options, others in (
        (encode_file, EncodeOptions, {"model", "goal", "filters"}),
        (decode_file, DecodeOptions, set()),
    ):
        parameters = signature(function).parameters
        assert (
            set(parameters) - {"source", "target", "tokenizer", "overwrite", "progress", *GOALS, *FILTERS}
            == {field.name for field in fields(options)} - others
        )
        for field in fields(options):
            assert field.name in others or parameters[field.name].default == field.default


def test_options_travel_to_other_processes():
    options = EncodeOptions(model="a.safetensors", quality=np.float32(3.5), image_rate=Fraction(24), end_seconds=1.28)
    options = replace(options, filters=filters_of(scale="32:-2", fps=24, crop="9:9"))
    assert pickle.loads(pickle.dumps(options)) == options


def test_numbers_of_numpy_are_numbers(tiny_tokenizer, tmp_path):
    source = write_video(tmp_path / "in.mp4", num_frames=16)
    for name, kind in (("a.vtok", float), ("b.vtok", np.float32)):
        encode_file(
            source,
            tmp_path / name,
            tokenizer=tiny_tokenizer,
            quality=kind(4.5),
            start_seconds=kind(0.25),
            end_seconds=kind(0.5),
        )
    assert (tmp_path / "a.vtok").read_bytes() == (tmp_path / "b.vtok").read_bytes()
