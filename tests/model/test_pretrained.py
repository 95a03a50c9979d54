"""The weights in the package: they are what their card says, need no network, and compress a real video well."""

import json
import os
import shutil
import socket
from dataclasses import asdict

import pytest
import torch
from safetensors import safe_open

from support.videos import cut_sample
from vtok.errors import ModelMismatchError, WeightsError
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.files.inspection import file_info
from vtok.measure.stats import file_stats
from vtok.model.registry import DEFAULT_MODEL, FOLDER, model_card, model_names
from vtok.model.tokenizer import VideoTokenizer
from vtok.model.weights import EXACT_PRIOR, load_weights, save_card, save_weights, tensors_sha256

MAX_BYTES = 16_000_000


@pytest.mark.parametrize("name", model_names())
def test_card_and_weights_agree(name):
    path = FOLDER / f"{name}.safetensors"
    assert path.stat().st_size <= MAX_BYTES
    tensors, configuration = load_weights(path)
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(tensors)
    card = model_card(name)
    assert card.name == card.card["name"] == name
    assert card.tensors_sha256 == tensors_sha256(tensors)
    # JSON has no tuples.
    assert card.card["configuration"] == json.loads(json.dumps(configuration))
    assert all(tensor.isfinite().all() for tensor in tensors.values() if tensor.is_floating_point())


def test_default_model_is_there_and_complete():
    assert DEFAULT_MODEL in model_names()
    tokenizer = VideoTokenizer.from_pretrained(DEFAULT_MODEL)
    assert (tokenizer.name, tokenizer.weights_sha256) == (DEFAULT_MODEL, model_card(DEFAULT_MODEL).tensors_sha256)
    assert not tokenizer.training


def test_hash_depends_on_names_shapes_types_and_values():
    tensor = torch.arange(6, dtype=torch.float32)
    variants = [{"a": tensor}, {"b": tensor}, {"a": tensor.reshape(2, 3)}, {"a": tensor.half()}, {"a": tensor + 1}]
    assert len({tensors_sha256(variant) for variant in variants}) == len(variants)
    assert tensors_sha256({"a": tensor, "b": tensor + 1}) == tensors_sha256({"b": tensor + 1, "a": tensor})


@pytest.fixture
def installed_copy(tmp_path, monkeypatch):
    """The package's weights in a folder that can be tampered with."""
    for suffix in ("json", "safetensors"):
        shutil.copy(FOLDER / f"{DEFAULT_MODEL}.{suffix}", tmp_path)
    monkeypatch.setattr("vtok.model.registry.FOLDER", tmp_path)
    return tmp_path / f"{DEFAULT_MODEL}.safetensors"


def test_one_changed_weight_is_refused_with_both_hashes(installed_copy):
    assert VideoTokenizer.from_pretrained().weights_sha256 == model_card(DEFAULT_MODEL).tensors_sha256
    tensors, configuration = load_weights(installed_copy)
    tensor = next(tensor for tensor in tensors.values() if tensor.is_floating_point())
    tensor.view(-1)[0] += 1
    save_weights(installed_copy, tensors, configuration)
    with pytest.raises(WeightsError) as caught:
        VideoTokenizer.from_pretrained()
    assert tensors_sha256(tensors) in str(caught.value)
    assert model_card(DEFAULT_MODEL).tensors_sha256 in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [lambda data: data[:-1000], lambda data: b"", lambda data: b"\xff" * 100])
def test_broken_file_is_refused(damage, installed_copy):
    installed_copy.write_bytes(damage(installed_copy.read_bytes()))
    with pytest.raises(WeightsError, match=rf"{DEFAULT_MODEL}.safetensors: not a readable safetensors file"):
        VideoTokenizer.from_pretrained()


def test_models_are_found_by_their_hash_in_folders_that_the_user_names(tiny_tokenizer, tmp_path, monkeypatch):
    """Two weights of one name, one of them not in the package: each file gets the ones it was written with."""
    folder = tmp_path / "models"
    folder.mkdir()
    path = folder / f"{DEFAULT_MODEL}.safetensors"
    tensors = {name: tensor.half() for name, tensor in tiny_tokenizer.networks.state_dict().items()}
    tensors |= {EXACT_PRIOR + name: tensor for name, tensor in tiny_tokenizer.pretrained.exact_prior.tensors().items()}
    save_weights(path, tensors, asdict(tiny_tokenizer.networks.config))
    source = cut_sample(tmp_path / "cut.mkv", num_frames=8)
    with_own, with_packaged = tmp_path / "own.vtok", tmp_path / "packaged.vtok"
    encode_file(source, with_own, tokenizer=VideoTokenizer.from_pretrained(path))
    encode_file(source, with_packaged)
    assert file_info(with_own).model_name == file_info(with_packaged).model_name == DEFAULT_MODEL

    assert not file_info(with_own).has_model
    with pytest.raises(ModelMismatchError, match=rf"{DEFAULT_MODEL} {tensors_sha256(tensors)}; at hand are only"):
        decode_file(with_own, tmp_path / "own.mp4")
    monkeypatch.setenv("VTOK_MODELS", os.pathsep.join([str(tmp_path / "missing"), str(folder)]))
    assert not file_info(with_own).has_model  # without a card, weights are not looked at
    save_card(path, tensors_sha256(tensors), {})
    assert model_names().count(DEFAULT_MODEL) == 2
    assert file_info(with_own).has_model
    for coded in (with_own, with_packaged):
        assert decode_file(coded, coded.with_suffix(".mp4")).num_frames == 8
    assert VideoTokenizer.from_pretrained().weights_sha256 == model_card(DEFAULT_MODEL).tensors_sha256 != "0" * 64


def test_a_card_that_is_none_is_passed_over_and_named_where_a_model_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("VTOK_MODELS", str(tmp_path))
    (tmp_path / "a.safetensors").touch()
    for content in (b"{", b"[]", b"{}", b"\xff"):
        (tmp_path / "a.json").write_bytes(content)
        assert model_names() == [DEFAULT_MODEL]
        with pytest.raises(WeightsError, match=rf"'a'; expected .*{DEFAULT_MODEL}.*; passed over: .*a\.json: not "):
            model_card("a")


def test_weights_may_have_a_name_that_is_not_utf_8(tmp_path):
    weights = {"a": torch.arange(3.0)}
    path = tmp_path / os.fsdecode(b"caf\xe9.safetensors")
    save_weights(path, weights, {"b": 4})
    loaded, config = load_weights(path)
    assert torch.equal(loaded["a"], weights["a"])
    assert config == {"b": 4}


def test_unknown_names_list_what_there_is(tmp_path):
    with pytest.raises(WeightsError, match=rf"no pretrained model 'nonsense'; expected {DEFAULT_MODEL}.*safetensors"):
        VideoTokenizer.from_pretrained("nonsense")
    with pytest.raises(WeightsError, match=r"missing.safetensors: no such weights file"):
        VideoTokenizer.from_pretrained(tmp_path / "missing.safetensors")


def test_no_network_is_used(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("the network was used")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, forbidden)
    video = torch.zeros(1, 3, 8, 16, 16)
    tokenizer = VideoTokenizer.from_pretrained()
    assert tokenizer.decode(tokenizer.encode(video, quantize=True)).shape == video.shape


def test_quality_trades_rate_for_fidelity(tmp_path):
    """A sanity check, with room for other weights: a broken model or a wrong table lands far outside of it."""
    source = cut_sample(tmp_path / "cut.mkv", num_frames=8, codec="ffv1")
    tokenizer = VideoTokenizer.from_pretrained()
    results = []
    for quality in (1, 5, 9):
        target = tmp_path / f"{quality}.vtok"
        encode_file(source, target, tokenizer=tokenizer, quality=quality)
        results.append(file_stats(source, target, tokenizer=tokenizer))
    rates = [result.bits_per_pixel for result in results]
    psnrs = [result.quality.psnr_yuv for result in results]
    assert 2 * rates[0] < rates[1] < rates[2] / 2
    assert rates[0] < 0.08
    assert rates[1] < 0.35
    assert rates[2] < 1.5
    assert psnrs[0] > 26
    assert psnrs[1] > max(32, psnrs[0] + 3)
    assert psnrs[2] > max(38, psnrs[1] + 3)
    assert [result.quality.ssim_y for result in results] == sorted(result.quality.ssim_y for result in results)
    assert results[1].codes.bits_per_code < 1  # well below the byte that a code is
