"""docs/scale.md is what its generator computes."""

import runpy

import pytest

from support.videos import ROOT


def test_the_page_is_what_is_computed():
    generator = runpy.run_path(str(ROOT / "tools" / "docs" / "generate_scale.py"))
    assert generator["PAGE"].read_text() == generator["page"](), "run python tools/docs/generate_scale.py"


def test_quantities_by_hand():
    generator = runpy.run_path(str(ROOT / "tools" / "docs" / "generate_scale.py"))
    figure = generator["Figure"]
    figures = generator["Figures"](
        encode=figure(5, "", ""), scan=figure(100, "", ""), rate=figure(0.05, "", ""), hours=figure(10, "", "")
    )
    results = {name: value for name, (_, value, _) in generator["quantities"](figures).items()}
    assert results["encode_hours"] == pytest.approx(50)  # 25 frames/s of video at 5 frames/s: five hours an hour
    assert results["scan_hours"] == pytest.approx(2.5)
    assert results["pictures"] == pytest.approx(10 * 3600 * 25 * 46_080 / 8 / 1e12)  # 921,600 pixels at 0.05 bits
    assert results["files"] == 60
    assert results["speedup"] == 20
    assert generator["number"](1234567) == "1.23 x 10^6"
    assert generator["number"](12345) == "12,300"
