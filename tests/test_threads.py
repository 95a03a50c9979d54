"""PyTorch's threads are divided between stages and are what they were afterwards; results do not depend on them."""

import pytest
import torch
from made_videos import write_video

from vtok import threads
from vtok.codec import decode_file, encode_file
from vtok.latent_model import LatentModel
from vtok.prior_coding import FrameCoder
from vtok.threads import num_threads


@pytest.fixture
def counted(monkeypatch):
    """Sets of the numbers of threads that networks and entropy coding were called with."""
    counts = {"networks": set(), "entropy coding": set()}

    def count(owner, method, name):
        original = getattr(owner, method)

        def counting(*arguments, **options):
            counts[name].add(torch.get_num_threads())
            return original(*arguments, **options)

        monkeypatch.setattr(owner, method, counting)

    count(LatentModel, "encode", "networks")
    count(LatentModel, "decode", "networks")
    count(FrameCoder, "code", "entropy coding")
    return counts


@pytest.mark.parametrize("exact_in_int8", [True, False])
def test_entropy_coding_has_one_thread_where_its_products_are_small(
    tiny_tokenizer, counted, monkeypatch, tmp_path, exact_in_int8
):
    monkeypatch.setattr(threads, "int8_products_are_exact", lambda: exact_in_int8)
    source = write_video(tmp_path / "in.mp4", num_frames=40)
    with num_threads(2):
        encode_file(source, tmp_path / "a.vtok", tokenizer=tiny_tokenizer)
        assert torch.get_num_threads() == 2
        decode_file(tmp_path / "a.vtok", tmp_path / "out.mp4", tokenizer=tiny_tokenizer)
        assert torch.get_num_threads() == 2
    assert counted == {"networks": {2}, "entropy coding": {1 if exact_in_int8 else 2}}


def test_bytes_and_pictures_do_not_depend_on_threads(tiny_tokenizer, tmp_path):
    source = write_video(tmp_path / "in.mp4", num_frames=40, size=(160, 96))
    for count in (1, 2, 3):
        with num_threads(count):
            encode_file(source, tmp_path / f"{count}.vtok", tokenizer=tiny_tokenizer)
            decode_file(tmp_path / f"{count}.vtok", tmp_path / f"{count}.yuv", tokenizer=tiny_tokenizer)
    for suffix in ("vtok", "yuv"):
        assert len({(tmp_path / f"{count}.{suffix}").read_bytes() for count in (1, 2, 3)}) == 1
