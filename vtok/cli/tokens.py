"""The commands `tokens export` and `tokens import`."""

import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vtok.cli.loading import load, set_threads
from vtok.cli.options import Force, OtherModel, PathArgument, PathOption, Quiet, Threads, json_option
from vtok.cli.output import EXIT_INCOMPLETE, Reporter


class TokenFormat(StrEnum):
    """The formats that `tokens export` writes."""

    NPZ = "npz"
    WEBDATASET = "webdataset"


tokens_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@tokens_app.callback()
def tokens() -> None:
    """Take tokens out of .vtok files for training, and make .vtok files of tokens.

    Example: vtok tokens export holiday.vtok holiday.npz
    """


@tokens_app.command("export")
def export_tokens(
    files: Annotated[
        list[Path], PathArgument(help="A .vtok file and the .npz file to write; with -o, files, folders or patterns.")
    ],
    output: Annotated[
        Path | None, PathOption("-o", "--output", help="Folder for shards of any number of files.")
    ] = None,
    output_format: Annotated[
        TokenFormat, typer.Option("--format", help="npz: one file to one; webdataset: tar shards, with -o.")
    ] = TokenFormat.NPZ,
    num_latents: Annotated[int, typer.Option(help="Latent frames (8 frames each) per sample of a shard.", min=1)] = 16,
    stride: Annotated[
        int | None, typer.Option(help="Latent frames from one sample to the next; default: --num-latents.", min=1)
    ] = None,
    num_channels: Annotated[
        int | None, typer.Option(help="Channels per sample, the most important ones; default: all.", min=1)
    ] = None,
    samples_per_shard: Annotated[int, typer.Option(help="Samples per shard.", min=1)] = 256,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, json_option("the attributes of vtok.TokenFileResult, or of vtok.ShardResult")] = False,
    model: OtherModel = None,
    threads: Threads = None,
) -> None:
    """Write the tokens of a .vtok file to an .npz file, or those of many to tar shards. No network runs.

    Files that cannot be used for shards are left out with a warning; then the exit code is 3.

    Example: vtok tokens export coded/ -o shards/ --format webdataset
    """
    set_threads(threads)
    tokenizer = load(model) if model else None
    report = Reporter(as_json=as_json, quiet=quiet)
    if output_format is TokenFormat.NPZ:
        if output is not None or len(files) != 2:
            raise typer.BadParameter("an .npz file takes one input and one output. For shards add --format webdataset")
        from vtok.tokens.npz_export import export_npz

        report.result(export_npz(files[0], files[1], tokenizer=tokenizer, overwrite=force))
        return
    if output is None:
        raise typer.BadParameter("shards need a folder: give one with -o")
    from vtok.tokens.dataset import TokenDataset
    from vtok.tokens.shards import export_shards

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # reported below, one line per file
        dataset = TokenDataset(
            files, num_latents=num_latents, stride=stride, num_channels=num_channels, tokenizer=tokenizer
        )
    result = export_shards(dataset, output, samples_per_shard=samples_per_shard, overwrite=force)
    for path, reason in dataset.skipped:
        report.warning(f"{path}: {reason}. It is left out.")
    report.result(result)
    if dataset.skipped:
        raise typer.Exit(EXIT_INCOMPLETE)


@tokens_app.command("import")
def import_tokens(
    source: Annotated[Path, PathArgument(help="The .npz file; docs/tokens.md lists its arrays.")],
    target: Annotated[Path, PathArgument(help="The .vtok file to write.")],
    keyframe_seconds: Annotated[
        float, typer.Option(help="Length of the groups that decode on their own.", min=0.1, max=3600)
    ] = 4.0,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, json_option("the attributes of vtok.TokenFileResult")] = False,
    model: OtherModel = None,
    threads: Threads = None,
) -> None:
    """Make a .vtok file of tokens, such as a generative model's; decoded, it is a video. No network runs.

    Example: vtok tokens import generated.npz generated.vtok
    """
    from vtok.tokens.npz_import import import_npz

    set_threads(threads)
    result = import_npz(
        source,
        target,
        tokenizer=load(model) if model else None,
        keyframe_seconds=keyframe_seconds,
        overwrite=force,
    )
    Reporter(as_json=as_json, quiet=quiet).result(result)
