"""The JSON header: what is refused, what may grow, and its limits."""

import dataclasses
import io
import json

import pytest

from support import independent_reader
from support.containers import FILE, HEADER, joined, split
from vtok.container.reader import ContainerReader
from vtok.errors import ConfigError, FormatError, LimitError


def with_header(payload):
    return joined([(b"HEAD", payload), *split(FILE)[1:]])


def header_json(**changes):
    return json.dumps(json.loads(HEADER.to_bytes()) | changes).encode()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe{}",
        HEADER.to_bytes().decode().encode("utf-16"),
        b"\xef\xbb\xbf" + HEADER.to_bytes(),
        HEADER.to_bytes()[:-1] + b',"width":5}',
        HEADER.to_bytes()[:-1] + b',"later":1e999}',
        HEADER.to_bytes()[:-1] + b',"later":-Infinity}',
        HEADER.to_bytes().replace(b":321", b":NaN"),
        HEADER.to_bytes().replace(b":321", b":3" + b"2" * 5000),
        HEADER.to_bytes().replace(b'"width":321,', b""),
        HEADER.to_bytes().replace("日本".encode(), b"\\ud800"),
        *(
            header_json(**{key: value})
            for key, value in [
                ("width", 0), ("width", 1.0), ("width", True), ("width", "5"), ("height", -3), ("height", None),
                ("width", 10**4000), ("num_codebooks", 0), ("frames_per_latent", 257), ("patch_size", 0),
                ("color_range", 256), ("color_range", "1"), ("color_range", -1), ("time_base", [1, 0]),
                ("time_base", [1]), ("time_base", None), ("time_base", 0.5), ("time_base", [1, 2**31]),
                ("average_rate", [-1, 2]), ("sample_aspect_ratio", "4:3"), ("model_name", "../../etc/passwd"),
                ("model_name", ""), ("model_name", "a\n"), ("model_sha256", "A" * 64), ("entropy_coder", None),
                ("writer", "\x1b[31m"), ("tags", []), ("tags", {"a": 1}), ("tags", None),
            ]
        ),
    ],
)  # fmt: skip
def test_bad_headers_are_refused(payload):
    data = with_header(payload)
    with pytest.raises(FormatError) as caught:
        ContainerReader(io.BytesIO(data))
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_header_limits_and_growth():
    for side in ("width", "height"):
        with pytest.raises(LimitError, match=f"{side} is 1099511627776"):
            ContainerReader(io.BytesIO(with_header(header_json(**{side: 2**40}))))
    later = with_header(header_json(later={"deep": [[1e300]]}, color_range=2))
    assert ContainerReader(io.BytesIO(later)).header == dataclasses.replace(HEADER, color_range=2)
    assert independent_reader.read(later).header["color_range"] == 2
    with pytest.raises(ConfigError, match="drop some tags"):
        dataclasses.replace(HEADER, tags={"a": "x" * (1 << 20)}).to_bytes()
    with pytest.raises(ConfigError, match="not valid Unicode"):
        dataclasses.replace(HEADER, tags={"a": "\udc80"})
