"""Data sets of tokens: which windows, what is in them, crops, shards, workers, and what is left out."""

import warnings

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from support.coded_files import random_codes, random_motions, write_codes
from support.models import set_hash
from vtok import TokenDataset
from vtok.container.reader import ContainerReader
from vtok.entropy.group_coder import PriorGroupDecoder
from vtok.errors import ChecksumError, ConfigError, MediaError
from vtok.files.concat import concat_files

LENGTHS = {"a": 7, "b": 2, "c": 5}
CODES = {name: random_codes(length, seed=length) for name, length in LENGTHS.items()}


@pytest.fixture
def folder(tiny_tokenizer, tmp_path):
    root = tmp_path / "coded"
    (root / "sub").mkdir(parents=True)
    for name, place in (("a", root), ("b", root), ("c", root / "sub")):
        write_codes(place / f"{name}.vtok", tiny_tokenizer, CODES[name], quality=4.5)
    return root


@pytest.fixture
def dataset_of(tiny_tokenizer):
    def make(source, **options):
        return TokenDataset(source, **({"num_latents": 2, "tokenizer": tiny_tokenizer} | options))

    return make


def windows(dataset):
    return [(item["path"].rpartition("/")[2][0], item["first_latent"]) for item in dataset]


def test_windows_are_those_of_the_files_in_order(folder, dataset_of):
    dataset = dataset_of(folder)
    assert windows(dataset) == [("a", 0), ("a", 2), ("a", 4), ("b", 0), ("c", 0), ("c", 2)]
    for item in dataset:
        name, first = item["path"].rpartition("/")[2][0], item["first_latent"]
        assert item["tokens"].dtype == torch.uint8
        np.testing.assert_array_equal(item["tokens"], CODES[name][first : first + 2])
        assert (item["first_frame"], set(item["quality"].tolist())) == (8 * first, {4.5})
        assert item["pts_seconds"] == pytest.approx(0.32 * first)
    np.testing.assert_array_equal(dataset[-1]["tokens"], dataset[5]["tokens"])
    with pytest.raises(IndexError):
        dataset[6]


def test_random_numbers_of_the_caller_are_left_alone(folder, dataset_of):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    dataset = dataset_of(folder, crop=(2, 2))
    assert dataset[0]["tokens"].shape[2:] == (2, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_windows_overlap_with_a_small_stride(folder, dataset_of):
    dataset = dataset_of(folder / "sub", num_latents=3, stride=1, num_channels=5)
    assert windows(dataset) == [("c", 0), ("c", 1), ("c", 2)]
    np.testing.assert_array_equal(dataset[1]["tokens"], CODES["c"][1:4, :5])


def test_windows_hold_no_short_latent_frame_but_the_last(folder, dataset_of, tiny_tokenizer, tmp_path):
    parts = [tmp_path / f"{length}.vtok" for length in (5, 1, 4)]
    for part, length, num_missing in zip(parts, (5, 1, 4), (3, 7, 0), strict=True):
        write_codes(part, tiny_tokenizer, random_codes(length, seed=length), num_missing=num_missing)
    concat_files(parts, folder / "joined.vtok")
    dataset = dataset_of(folder / "joined.vtok", stride=1)
    assert [item["first_latent"] for item in dataset] == [0, 1, 2, 3, 6, 7, 8]
    assert [item["first_frame"] for item in dataset] == [0, 8, 16, 24, 38, 46, 54]
    np.testing.assert_array_equal(dataset[5]["tokens"], random_codes(4, seed=4)[1:3])
    assert [item["first_latent"] for item in dataset_of(folder / "joined.vtok", num_latents=3)] == [0, 6]
    with pytest.raises(ConfigError, match="5 latent frames in a row, and windows have 6"), pytest.warns(match="1 of 1"):
        dataset_of(folder / "joined.vtok", num_latents=6)


def test_what_a_source_may_be(folder, dataset_of, tmp_path):
    everything = windows(dataset_of(folder))
    (tmp_path / "list.txt").write_text("coded/a.vtok\n\n  coded/b.vtok\ncoded/sub/c.vtok\n")
    assert windows(dataset_of(tmp_path / "list.txt")) == everything
    assert windows(dataset_of(str(folder / "**" / "*.vtok"))) == everything
    assert windows(dataset_of([folder / "sub", folder / "a.vtok"])) == everything[4:] + everything[:3]
    assert windows(dataset_of(folder / "b.vtok")) == [("b", 0)]


@pytest.mark.parametrize("source", ["empty", "empty/*.vtok", "none.txt"])
def test_a_source_has_files(source, tmp_path, dataset_of):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match=source.replace("*", r"\*")):
        dataset_of(str(tmp_path / source))


def test_crops_are_random_but_the_same_again(folder, dataset_of):
    options = {"num_latents": 1, "crop": (2, 3)}
    dataset, again, other = (
        dataset_of(folder, **options),
        dataset_of(folder, **options),
        dataset_of(folder, seed=1, **options),
    )
    found = [crop_places(dataset, i) for i in range(len(dataset))]
    assert found == [crop_places(again, i) for i in range(len(again))]
    assert found != [crop_places(other, i) for i in range(len(other))]
    dataset.set_epoch(1)
    assert found != [crop_places(dataset, i) for i in range(len(dataset))]
    dataset.set_epoch(0)
    assert found == [crop_places(dataset, i) for i in reversed(range(len(dataset)))][::-1]
    assert {row for row, _ in found} == {0}
    assert {column for _, column in found} == {0, 2}


def crop_places(dataset, index):
    """Where an item was cut out of its latent frame."""
    item = dataset[index]
    whole = CODES[item["path"].rpartition("/")[2][0]][item["first_latent"]]
    tokens = item["tokens"][0].numpy()
    places = [
        (row, column)
        for row in range(2)
        for column in range(3)
        if np.array_equal(tokens, whole[:, row : row + 2, column : column + 3])
    ]
    assert len(places) == 1
    return places[0]


def test_crops_may_be_fixed(folder, dataset_of):
    centre = dataset_of(folder, crop=(1, 1), crop_at="center")
    np.testing.assert_array_equal(centre[1]["tokens"], CODES["a"][2:4, :, :1, 2:3])
    corner = dataset_of(folder, crop=(1, 2), crop_at=(2, 2))
    np.testing.assert_array_equal(corner[1]["tokens"], CODES["a"][2:4, :, 2:3, 2:4])
    with pytest.raises(ConfigError, match="column of crop_at is 3; expected an even number"):
        dataset_of(folder, crop=(2, 2), crop_at=(0, 3))


def test_the_motion_is_that_of_the_window(folder, dataset_of):
    motions = random_motions(7)
    item = dataset_of(folder)[1]
    assert item["motion"].dtype == torch.int16
    np.testing.assert_array_equal(item["motion"], [motion.fields for motion in motions[2:4]])
    corner = dataset_of(folder, crop=(1, 3), crop_at=(2, 2))[1]
    np.testing.assert_array_equal(corner["motion"], [motion.fields[:, :, 1:, 1:3] for motion in motions[2:4]])


@pytest.mark.parametrize(
    "options",
    [
        {"num_latents": 0},
        {"stride": 0},
        {"crop": (0, 2)},
        {"crop": (2, 2), "crop_at": "left"},
        {"num_channels": 13},
        {"seed": -1},
        {"num_latents": 8},
    ],
)
@pytest.mark.filterwarnings("ignore:.*files skipped")
def test_arguments_are_checked(options, folder, dataset_of):
    with pytest.raises(
        ConfigError, match=next(iter(options)) if options != {"num_latents": 8} else "no file has a win"
    ):
        dataset_of(folder, **options)


def test_files_of_another_model_are_left_out(folder, dataset_of, tiny_tokenizer):
    set_hash(tiny_tokenizer, "1" * 64)
    write_codes(folder / "b.vtok", tiny_tokenizer, CODES["b"])
    with pytest.warns(UserWarning, match="2 of 3 files skipped: .*a.vtok: was written with tiny 0000.*sub/c.vtok: "):
        assert windows(dataset_of(folder)) == [("b", 0)]


def test_files_of_two_models_at_hand_are_not_mixed(folder, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr("vtok.codec.token_reader.card_of", lambda header: None)
    set_hash(tiny_tokenizer, "1" * 64)
    write_codes(folder / "b.vtok", tiny_tokenizer, CODES["b"])
    with pytest.raises(ConfigError, match=r"b\.vtok: was written with the model tiny 1111.* Make a data set of each"):
        TokenDataset(folder, num_latents=2)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_shards_of_several_machines_are_all_windows_once(num_workers, folder, dataset_of):
    dataset = dataset_of(folder, num_latents=1)
    seen = []
    for rank in range(2):
        sampler = DistributedSampler(dataset, num_replicas=2, rank=rank, shuffle=True)
        sampler.set_epoch(3)
        for batch in DataLoader(dataset, batch_size=3, sampler=sampler, num_workers=num_workers):
            assert batch["tokens"].shape[1:] == (1, 12, 3, 5)
            for path, first, tokens in zip(batch["path"], batch["first_latent"], batch["tokens"], strict=True):
                name = path.rpartition("/")[2][0]
                np.testing.assert_array_equal(tokens[0], CODES[name][first])
                seen.append((name, int(first)))
    assert sorted(seen) == [(name, i) for name, length in LENGTHS.items() for i in range(length)]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_that_stay_see_the_next_epoch(context, folder, dataset_of):
    dataset = dataset_of(folder / "sub", num_latents=1, crop=(1, 1))
    loader = DataLoader(dataset, batch_size=5, num_workers=2, persistent_workers=True, multiprocessing_context=context)
    epochs = []
    for epoch in range(2):
        dataset.set_epoch(epoch)
        (batch,) = loader
        np.testing.assert_array_equal(batch["tokens"], torch.stack([item["tokens"] for item in dataset]))
        epochs.append(batch["tokens"])
    assert not torch.equal(*epochs)


def test_what_is_left_out_is_reported(folder, dataset_of, tiny_tokenizer):
    whole = (folder / "a.vtok").read_bytes()
    (folder / "a.vtok").write_bytes(whole[:-10])
    (folder / "b.vtok").write_bytes(b"no such thing")
    write_codes(folder / "short.vtok", tiny_tokenizer, random_codes(1))
    write_codes(folder / "small.vtok", tiny_tokenizer, random_codes(3, height=1))
    with pytest.warns(
        UserWarning, match=r"^4 of 5 files skipped: .*a\.vtok: the end of the file is missing; .*; \.\.\.$"
    ):
        dataset = dataset_of(folder, crop=(2, 2))
    assert {path.rpartition("/")[2]: reason for path, reason in dataset.skipped} == {
        "a.vtok": "the end of the file is missing",
        "b.vtok": "not a .vtok file (begins with 6e 6f 20 73 75 63 68 20)",
        "short.vtok": "1 latent frames in a row, and windows have 2",
        "small.vtok": "1x5 latent rows and columns, and the crop has 2x2",
    }
    assert [path for path, _ in windows(dataset)] == ["c", "c"]


def test_damage_inside_a_file_is_found_by_verify_or_by_whoever_meets_it(folder, dataset_of):
    with (folder / "a.vtok").open("rb") as file:
        location = ContainerReader(file).read_index().locations[1]
    data = bytearray((folder / "a.vtok").read_bytes())
    data[location.byte_offset + 70] ^= 1
    (folder / "a.vtok").write_bytes(data)
    dataset = dataset_of(folder)
    assert dataset.skipped == []
    with pytest.raises(ChecksumError, match="frames 16 to 31 are lost"):
        dataset[1]
    with pytest.warns(UserWarning, match="1 of 3 files skipped"):
        verified = dataset_of(folder, verify=True)
    assert "frames 16 to 31 are lost" in verified.skipped[0].reason
    assert [path for path, _ in windows(verified)] == ["b", "c", "c"]


def test_scanning_decodes_nothing_and_says_nothing_if_all_is_well(folder, dataset_of, monkeypatch):
    monkeypatch.setattr(PriorGroupDecoder, "__init__", None)
    monkeypatch.setattr(ContainerReader, "read_group", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(dataset_of(folder)) == 6
