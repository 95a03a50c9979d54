"""Models in memory: loaded once, from nothing but their file, and named by the weights that they have."""

import copy
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch

import vtok
from support.motions import no_motion
from support.videos import ROOT, cut_sample
from vtok.codec.compressed_video import CompressedVideo
from vtok.errors import ConfigError, ModelMismatchError
from vtok.files.inspection import file_info
from vtok.model.loading import read_model, shared_model
from vtok.model.tokenizer import VideoTokenizer
from vtok.model.weights import EXACT_PRIOR, save_weights
from vtok.networks.objective import Objective, ObjectiveConfig
from vtok.networks.planes import Planes
from vtok.training.config import load_config

TINY = ROOT / "tests" / "golden" / "tiny.safetensors"


@pytest.fixture
def tiny():
    return VideoTokenizer.from_pretrained(TINY)


def contents(model):
    """A hash of networks and exact prior as they are in memory."""
    tensors = [*model.networks.parameters(), *model.networks.buffers(), *model.exact_prior.tensors().values()]
    for group in model.exact_prior.of_quality(4.5).groups:
        tensors += [group.biases, group.from_context.weight, *group.hidden, *group.out]
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tensor.dtype).encode() + tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def test_a_model_is_loaded_once_until_its_file_changes(tmp_path):
    path = shutil.copy(TINY, tmp_path / "tiny.safetensors")
    first = shared_model(path)
    assert shared_model(path) is first
    assert shared_model() is shared_model("vtok-8x8x8")
    os.utime(path, ns=(1, 1))
    assert shared_model(path) is not first


def test_files_are_opened_with_the_shared_model(tmp_path):
    source = cut_sample(tmp_path / "cut.mkv", num_frames=8)
    vtok.encode_file(source, tmp_path / "a.vtok")
    with CompressedVideo(tmp_path / "a.vtok") as video:
        assert video.model is shared_model()


def test_everyone_has_a_tokenizer_of_their_own(tiny):
    other = VideoTokenizer.from_pretrained(TINY)
    assert other.networks is not tiny.networks is not shared_model(TINY).networks
    with torch.no_grad():
        next(tiny.parameters()).zero_()
    assert next(other.parameters()).any()
    assert next(shared_model(TINY).networks.parameters()).any()


def test_loading_takes_nothing_from_its_caller_and_leaves_nothing():
    expected = contents(read_model(TINY))
    torch.manual_seed(0)
    drawn = torch.rand(3)
    torch.manual_seed(0)
    read_model(TINY)
    assert torch.equal(torch.rand(3), drawn)
    torch.set_default_dtype(torch.float64)
    try:
        assert contents(read_model(TINY)) == expected
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    torch.set_default_device("meta")
    try:
        model = read_model(TINY)
        assert torch.empty(1).is_meta
    finally:
        torch.set_default_device(None)
    assert contents(model) == expected
    with torch.inference_mode():
        model = read_model(TINY)
    assert contents(model) == expected
    next(model.networks.parameters()).sum().backward()


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight.mul_(1.01),
        lambda weight: setattr(weight, "data", weight * 1.01),
        lambda weight: weight.data.view(-1)[5].add_(1e-6),
    ],
)
def test_weights_that_were_changed_have_another_name_and_hash(change, tiny, tmp_path):
    source = cut_sample(tmp_path / "cut.mkv", num_frames=8)
    before = vtok.encode_file(source, tmp_path / "before.vtok", tokenizer=tiny)
    released = tiny.weights_sha256
    with torch.no_grad():
        change(next(tiny.networks.synthesis.parameters()))
    vtok.encode_file(source, tmp_path / "after.vtok", tokenizer=tiny)
    info = file_info(tmp_path / "after.vtok")
    assert info.model_name == tiny.name == "tiny-changed"
    assert info.model_sha256 == tiny.weights_sha256 != released
    vtok.decode_file(tmp_path / "after.vtok", tmp_path / "after.mp4", tokenizer=tiny)
    with pytest.raises(ModelMismatchError):
        vtok.decode_file(tmp_path / "after.vtok", tmp_path / "x.mp4", tokenizer=VideoTokenizer.from_pretrained(TINY))
    with pytest.raises(ModelMismatchError):
        vtok.decode_file(before.target, tmp_path / "x.mp4", tokenizer=tiny)

    tensors = {EXACT_PRIOR + name: tensor for name, tensor in tiny.pretrained.exact_prior.tensors().items()}
    path = tmp_path / "saved.safetensors"
    save_weights(path, tensors | tiny.networks.state_dict(), asdict(tiny.networks.config))
    vtok.decode_file(tmp_path / "after.vtok", tmp_path / "y.mp4", tokenizer=VideoTokenizer.from_pretrained(path))


def test_a_changed_prior_codes_files_that_its_own_tokenizer_decodes(tiny, tmp_path):
    source = cut_sample(tmp_path / "cut.mkv", num_frames=8)
    with torch.no_grad():
        for parameter in tiny.networks.prior.parameters():
            parameter.mul_(1.1)
    vtok.encode_file(source, tmp_path / "a.vtok", tokenizer=tiny, verify=True)
    assert vtok.decode_file(tmp_path / "a.vtok", tmp_path / "a.mp4", tokenizer=tiny).num_frames == 8


def test_moving_copying_and_pickling_change_no_weights(tiny):
    released = tiny.weights_sha256
    for other in (copy.deepcopy(tiny), pickle.loads(pickle.dumps(tiny)), tiny.double(), tiny.float()):
        assert (other.name, other.weights_sha256) == ("tiny", released)
        assert other.pretrained.networks is other.networks


def test_the_loss_of_the_pretrained_kind_is_that_of_training(tiny_tokenizer):
    assert load_config().objective == ObjectiveConfig()
    video = torch.rand(2, 3, 16, 16, 16) * 2 - 1
    with torch.no_grad():
        loss, breakdown = tiny_tokenizer(video, return_loss=True, quality=4)
        objective = Objective(tiny_tokenizer.networks, ObjectiveConfig())
        outcome = objective(Planes.from_rgb(video), torch.full((2,), 4.0), no_motion(2, 2, 16, 16))
    torch.testing.assert_close(loss, outcome.loss.mean())
    torch.testing.assert_close(torch.stack(breakdown).sum(), loss)
    assert breakdown.rate > 0 < breakdown.reconstruction


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"layers": (5,)}, r"layer 5 is not a \(type, dimension\) pair"),
        ({"layers": 5}, r"layers is 5; expected"),
        (
            {"layers": (("klt", 1000), ("latent_residual", 8)), "num_codebooks": 1000},
            "num_channels is 1000; expected .* 768",
        ),
        ({"latent_options": {"prior_groups": (8, 4)}}, r"prior_groups is \(8, 4\); expected increasing integers"),
        ({"latent_options": {"refine_dim": 0}}, "refine_dim is 0; expected an integer from 1"),
    ],
)
def test_bad_parameters_name_the_value_and_the_allowed_set(parameters, message):
    usual = {"layers": (("klt", 12), ("latent_residual", 8)), "num_codebooks": 12, "codebook_size": 256}
    with pytest.raises(ConfigError, match=message):
        VideoTokenizer(**usual | parameters)


@pytest.mark.parametrize("kind", ["conv", "latent"])
def test_bad_values_name_the_value_and_the_allowed_set(kind, tiny_tokenizer):
    tokenizer = tiny_tokenizer if kind == "latent" else VideoTokenizer((("residual", 4),), init_dim=4)
    video = torch.zeros(1, 3, 8, 16, 16)
    for dtype in (torch.float16, torch.float64):
        with pytest.raises(ConfigError, match=f"video has type {dtype}; expected .*torch.float32"):
            tokenizer.encode(video.to(dtype))
        with pytest.raises(ConfigError, match=f"latents have type {dtype}; expected torch.float32"):
            tokenizer.decode(tokenizer.encode(video).to(dtype))
    for value in ("nan", "inf"):
        bad = video.clone()
        bad[0, 1, 2, 3, 4] = float(value)
        with pytest.raises(ConfigError, match=f"video_or_images: a value is {value}; expected finite numbers"):
            tokenizer(video, bad)


def test_loading_leaves_the_compiler_of_pytorch_alone():
    program = (
        "import sys, vtok; vtok.VideoTokenizer.from_pretrained(); "
        "print({'torch._dynamo'} & set(sys.modules))"  # more than a second
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
