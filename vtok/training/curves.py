"""The plot of a training run, drawn from its log."""

import json
from pathlib import Path

from vtok.errors import writing


def plot_curves(log: Path, picture: Path) -> None:
    """Draw training cost, and rate and PSNR-YUV on the validation clips, over minutes."""
    try:
        import matplotlib as mpl
    except ImportError:
        return  # the log has everything; `pip install vtok[train]` adds the picture
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    events = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [event for event in events if event["event"] == "train"]
    validations = [event for event in events if event["event"] == "validation"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    left.plot([e["minutes"] for e in steps], [e["log_cost"] for e in steps], lw=0.6, label="training")
    left.plot([e["minutes"] for e in validations], [e["mean_log_cost"] for e in validations], "o-", label="validation")
    left.set(xlabel="minutes", ylabel="mean log cost")
    left.legend()
    for i, event in enumerate(validations):
        points = event["points"]
        shade = min(1.0, 0.2 + 0.8 * (i + 1) / len(validations))
        right.plot(
            [p["bits_per_pixel"] for p in points],
            [p["psnr_yuv"] for p in points],
            ".-",
            color=(0.1, 0.3, 0.7, shade),
            label=f"{event['minutes']:.0f} min" if i in (0, len(validations) - 1) else None,
        )
    right.set(xscale="log", xlabel="bits per pixel (ideal)", ylabel="PSNR-YUV (dB)")
    right.legend()
    for axis in (left, right):
        axis.grid(alpha=0.3)
    with writing(picture):
        figure.savefig(picture, dpi=110)
    plt.close(figure)
