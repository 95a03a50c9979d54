"""docs/cli.md is what `--help` prints, for every command."""

import runpy

from support.videos import ROOT


def test_the_page_is_what_help_prints():
    generator = runpy.run_path(str(ROOT / "tools" / "docs" / "generate_cli.py"))
    assert generator["PAGE"].read_text() == generator["page"](), "run python tools/docs/generate_cli.py"
