"""PyTorch's threads are divided between stages and are what they were afterwards; results do not depend on them."""

import threading

import numpy as np
import pytest
import torch

from support.videos import write_video
from vtok.entropy import integer_products
from vtok.entropy.frame_coder import FrameCoder
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.latent_model import LatentModel
from vtok.system.threads import num_threads, use_threads


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

    count(LatentModel, "encode_chunk", "networks")
    count(LatentModel, "decode_chunk", "networks")
    count(FrameCoder, "code", "entropy coding")
    return counts


@pytest.mark.parametrize("exact_in_int8", [True, False])
def test_entropy_coding_has_one_thread_where_its_products_are_small(
    tiny_tokenizer, counted, monkeypatch, tmp_path, exact_in_int8
):
    monkeypatch.setattr(integer_products, "int8_products_are_exact", lambda: exact_in_int8)
    source = write_video(tmp_path / "in.mp4", num_frames=40)
    with num_threads(2):
        encode_file(source, tmp_path / "a.vtok", tokenizer=tiny_tokenizer)
        assert torch.get_num_threads() == 2
        decode_file(tmp_path / "a.vtok", tmp_path / "out.mp4", tokenizer=tiny_tokenizer)
        assert torch.get_num_threads() == 2
    assert counted == {"networks": {2}, "entropy coding": {1 if exact_in_int8 else 2}}


def test_a_thread_keeps_its_number_when_another_sets_one():
    is_set, is_changed = threading.Event(), threading.Event()
    seen = []

    def compute():
        use_threads(2)
        is_set.set()
        is_changed.wait()
        seen.append(torch.get_num_threads())

    with num_threads(torch.get_num_threads()):
        thread = threading.Thread(target=compute)
        thread.start()
        is_set.wait()
        torch.set_num_threads(1)
        is_changed.set()
        thread.join()
    assert seen == [2]


def test_bytes_and_pictures_do_not_depend_on_threads(tmp_path):
    tokenizer = VideoTokenizer.from_pretrained()  # wide enough for its layers to be divided between threads
    source = write_video(tmp_path / "in.mp4", num_frames=40, size=(160, 96))
    pixels = {}
    for count in (1, 2, 3, 4):
        with num_threads(count):
            encode_file(source, tmp_path / f"{count}.vtok", tokenizer=tokenizer)
            decode_file(tmp_path / "1.vtok", tmp_path / f"{count}.yuv", tokenizer=tokenizer)
        pixels[count] = np.fromfile(tmp_path / f"{count}.yuv", np.uint8).astype(int)
    assert len({(tmp_path / f"{count}.vtok").read_bytes() for count in (1, 2, 4)}) == 1
    assert all(np.array_equal(pixels[1], pixels[count]) for count in (2, 4))
    # Where a layer's values cannot be divided evenly, the last of a share are rounded otherwise than the rest.
    differences = np.abs(pixels[1] - pixels[3])
    assert differences.max() <= 1
    assert (differences > 0).mean() < 1e-5
