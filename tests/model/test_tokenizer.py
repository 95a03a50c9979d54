"""VideoTokenizer: the documented examples, every parameter, every shape, and errors that say what to do."""

import math

import pytest
import torch

from vtok.errors import ConfigError
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.losses import LossBreakdown

SMALL = {"layers": (("residual", 8),), "init_dim": 8, "input_conv_kernel_size": (3, 3, 3)}


def small(**changes):
    torch.manual_seed(0)
    return VideoTokenizer(**(SMALL | changes))


def test_documented_examples_run_as_written():
    video_tokenizer = VideoTokenizer()

    video = torch.randn(1, 3, 32, 32, 32)
    encoded_tokens = video_tokenizer.encode(video, quantize=True)
    decoded_video = video_tokenizer.decode(encoded_tokens)

    assert encoded_tokens.shape == (1, 1, 32, 32, 32)
    assert encoded_tokens.dtype == torch.int64
    assert 0 <= encoded_tokens.min() <= encoded_tokens.max() < 8192
    assert decoded_video.shape == video.shape
    assert decoded_video.dtype == torch.float32


def test_documented_training_example_gives_finite_differentiable_losses():
    video_tokenizer = VideoTokenizer()

    video = torch.randn(1, 3, 32, 32, 32)
    video_or_images = torch.randn(1, 3, 32, 32, 32)
    loss, loss_breakdown = video_tokenizer(video, video_or_images, return_loss=True)

    assert isinstance(loss_breakdown, LossBreakdown)
    assert all(math.isfinite(part.item()) for part in loss_breakdown)
    assert loss.item() == pytest.approx(sum(part.item() for part in loss_breakdown), rel=1e-5)
    loss.backward()
    gradients = [p.grad for p in video_tokenizer.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert all(g.abs().max() > 0 for g in gradients)


def test_layers_set_types_and_dimensions():
    tokenizer = small(layers=(("residual", 4), ("compress_space", 6), ("compress_time", 10), ("residual", 12)))
    assert (tokenizer.time_factor, tokenizer.space_factor) == (2, 2)
    codes = tokenizer.encode(torch.zeros(2, 3, 4, 8, 6), quantize=True)
    assert codes.shape == (2, 1, 2, 4, 3)
    assert tokenizer.networks.decoder[0].out_channels == 12


def test_residual_conv_kernel_size_sets_reach():
    def reach(kernel_size):
        tokenizer = small(residual_conv_kernel_size=kernel_size, input_conv_kernel_size=(1, 1, 1))
        video = torch.zeros(1, 3, 1, 1, 15)
        nudged = video.clone()
        nudged[..., 7] = 1
        return int((tokenizer.encode(video) != tokenizer.encode(nudged)).any(1).sum())

    assert reach(3) == 3
    assert reach(5) == 5


def test_num_codebooks_and_codebook_size_set_codes():
    tokenizer = small(num_codebooks=3, codebook_size=4)
    codes = tokenizer.encode(torch.randn(1, 3, 5, 16, 16), quantize=True)
    assert codes.shape == (1, 3, 5, 16, 16)
    assert codes.unique().tolist() == [0, 1, 2, 3]
    assert tokenizer.encode(torch.randn(1, 3, 2, 4, 4)).shape == (1, 6, 2, 4, 4)


def test_huge_codebook_needs_no_codebook_memory():
    tokenizer = small(codebook_size=2**40)
    loss, _, codes = tokenizer(torch.randn(1, 3, 2, 8, 8), return_loss=True, return_codes=True)
    assert loss.isfinite()
    assert 2**20 < codes.max() < 2**40


def test_channels_sets_video_channels():
    tokenizer = small(channels=1)
    assert tokenizer(torch.randn(2, 1, 3, 8, 8)).shape == (2, 1, 3, 8, 8)


def test_init_dim_is_the_width_after_the_input_convolution():
    assert small(init_dim=20).networks.encoder[0].conv.out_channels == 20


def test_convolution_kernel_sizes():
    tokenizer = small(input_conv_kernel_size=(2, 5, 7), output_conv_kernel_size=(4, 1, 3))
    assert tokenizer.networks.encoder[0].conv.kernel_size == (2, 5, 7)
    assert tokenizer.networks.decoder[-1].conv.kernel_size == (4, 1, 3)
    assert tokenizer(torch.randn(1, 3, 3, 9, 9)).shape == (1, 3, 3, 9, 9)


def test_pad_mode_changes_edges_only():
    video = torch.randn(1, 3, 3, 12, 12)
    latents = {mode: small(pad_mode=mode).encode(video) for mode in ("constant", "reflect", "replicate", "circular")}
    inner = (..., slice(3, -3), slice(3, -3))
    for mode, value in latents.items():
        torch.testing.assert_close(value[inner], latents["reflect"][inner])
        assert mode == "reflect" or not torch.allclose(value, latents["reflect"])


def test_entropy_weight_and_diversity_gamma_scale_their_losses():
    video = torch.randn(1, 3, 2, 8, 8)
    _, plain = small()(video, return_loss=True)
    _, doubled = small(lfq_entropy_loss_weight=0.2)(video, return_loss=True)
    _, diverse = small(lfq_diversity_gamma=3.0)(video, return_loss=True)
    assert doubled.entropy.item() == pytest.approx(2 * plain.entropy.item(), rel=1e-5)
    assert doubled.diversity.item() == pytest.approx(2 * plain.diversity.item(), rel=1e-5)
    assert diverse.diversity.item() == pytest.approx(3 * plain.diversity.item(), rel=1e-5)
    assert diverse.entropy.item() == pytest.approx(plain.entropy.item(), rel=1e-5)
    assert plain.entropy > 0 > plain.diversity


@pytest.mark.parametrize("layers", [SMALL["layers"], (("compress_space", 8), ("compress_time", 8), ("residual", 8))])
def test_no_latent_sees_the_future(layers):
    tokenizer = small(layers=layers)
    video = torch.randn(1, 3, 8, 8, 8)
    changed = video.clone()
    changed[:, :, 4:] += 1
    before = 4 // tokenizer.time_factor
    same = tokenizer.encode(video)[:, :, :before], tokenizer.encode(changed)[:, :, :before]
    assert torch.equal(*same)
    codes = tokenizer.encode(video, quantize=True)
    later = codes.clone()
    later[:, :, before:] ^= 1
    assert torch.equal(tokenizer.decode(codes)[:, :, :4], tokenizer.decode(later)[:, :, :4])


@pytest.mark.parametrize("kind", ["conv", "latent"])
@pytest.mark.parametrize("size", [(1, 1, 1), (7, 5, 3), (8, 8, 8), (9, 13, 17), (17, 20, 31)])
def test_any_size_comes_back(kind, size, tiny_tokenizer):
    layers = (("compress_space", 8), ("compress_time", 8), ("compress_space", 8))
    tokenizer = small(layers=layers) if kind == "conv" else tiny_tokenizer
    video = torch.rand(2, 3, *size) * 2 - 1
    assert tokenizer(video).shape == video.shape
    codes = tokenizer.encode(video, quantize=True)
    factors = (tokenizer.time_factor, tokenizer.space_factor, tokenizer.space_factor)
    assert codes.shape[2:] == tuple(-(-n // f) for n, f in zip(size, factors, strict=True))
    assert tokenizer.decode(codes, size=size).shape == video.shape


@pytest.mark.parametrize("kind", ["conv", "latent"])
def test_images_are_one_frame(kind, tiny_tokenizer):
    tokenizer = small() if kind == "conv" else tiny_tokenizer
    images = torch.rand(2, 3, 9, 10) * 2 - 1
    assert tokenizer(images).shape == images.shape
    torch.testing.assert_close(tokenizer(images), tokenizer(images[:, :, None])[:, :, 0])
    loss, _ = tokenizer(images, images[:, :, None], return_loss=True)
    assert loss.isfinite()


@pytest.mark.parametrize("kind", ["conv", "latent"])
def test_forward_is_decode_of_encode(kind, tiny_tokenizer):
    tokenizer = small() if kind == "conv" else tiny_tokenizer
    video = torch.rand(1, 3, 9, 10, 12) * 2 - 1
    reconstruction, codes = tokenizer(video, return_codes=True)
    assert torch.equal(codes, tokenizer.encode(video, quantize=True))
    torch.testing.assert_close(reconstruction, tokenizer.decode(codes, size=(9, 10, 12)))


def test_other_source_than_target_is_what_gets_tokenized():
    tokenizer = small()
    video, source = torch.randn(2, 1, 3, 2, 8, 8)
    loss, breakdown, codes = tokenizer(video, source, return_loss=True, return_codes=True)
    assert torch.equal(codes, tokenizer.encode(source, quantize=True))
    expected = (tokenizer(source) - video).square().mean()
    torch.testing.assert_close(breakdown.reconstruction, expected)
    assert loss > breakdown.reconstruction


def test_pretrained_kind_has_byte_codes_and_a_rate_that_falls_with_quality(tiny_tokenizer):
    video = torch.rand(1, 3, 16, 32, 32) * 2 - 1
    codes = tiny_tokenizer.encode(video, quantize=True)
    assert (codes.dtype, codes.shape) == (torch.uint8, (1, tiny_tokenizer.num_codebooks, 2, 4, 4))
    spread = [tiny_tokenizer.encode(video, quantize=True, quality=q).float().std() for q in (1, 4.5, 9)]
    assert spread == sorted(spread)
    loss, breakdown = tiny_tokenizer(video, return_loss=True, quality=3)
    assert breakdown.rate > 0
    loss.backward()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": (("resudual", 8),)}, "'resudual'.*residual, compress_space, compress_time"),
        ({"layers": (("residual", 0),)}, "dimension 0; expected an integer of 1 or more"),
        ({"layers": ("residual",)}, "'residual' is not a .type, dimension. pair"),
        ({"num_codebooks": 0}, "num_codebooks is 0"),
        ({"codebook_size": 1000}, "1000; expected a power of two"),
        ({"pad_mode": "mirror"}, "'mirror'; expected one of constant, reflect"),
        ({"input_conv_kernel_size": (3, 4, 3)}, "expected odd rows and columns"),
        ({"output_conv_kernel_size": 3}, "expected three positive integers"),
        ({"channels": 0}, "channels is 0"),
        ({"latent_options": {}}, r"latent_options needs \('klt', n\)"),
        ({"layers": (("klt", 4), ("residual", 8))}, "'residual', 8.*klt, latent_residual"),
        ({"layers": (("klt", 4), ("latent_residual", 8)), "codebook_size": 256}, "num_codebooks is 1; expected 4"),
        (
            {"layers": (("klt", 1), ("latent_residual", 8)), "codebook_size": 4, "latent_options": {"size": 1}},
            "latent_options has a key",
        ),
    ],
)
def test_bad_configurations_name_the_value_and_the_allowed_set(changes, message):
    with pytest.raises(ConfigError, match=message):
        small(**changes)


def test_bad_tensors_name_the_value_and_the_allowed_set(tiny_tokenizer):
    tokenizer = small()
    with pytest.raises(ConfigError, match=r"video has shape \[3, 8, 8\]; expected \[b, 3, t, h, w\]"):
        tokenizer.encode(torch.zeros(3, 8, 8))
    with pytest.raises(ConfigError, match=r"shape \[1, 4, 2, 8, 8\]"):
        tokenizer(torch.zeros(1, 4, 2, 8, 8))
    with pytest.raises(ConfigError, match=r"uint8; expected floating point in \[-1, 1\]"):
        tokenizer.encode(torch.zeros(1, 3, 2, 8, 8, dtype=torch.uint8))
    with pytest.raises(ConfigError, match="expected that of video"):
        tokenizer(torch.zeros(1, 3, 2, 8, 8), torch.zeros(1, 3, 3, 8, 8))
    with pytest.raises(ConfigError, match=r"codes have shape \[1, 8, 8\]; expected \[b, 1, T, H, W\]"):
        tokenizer.decode(torch.zeros(1, 8, 8, dtype=torch.int64))
    with pytest.raises(ConfigError, match="codes range from 0 to 8192; expected 0 to 8191"):
        tokenizer.decode(torch.tensor([0, 8192]).view(1, 1, 2, 1, 1))
    with pytest.raises(ConfigError, match="quality is for the pretrained kind"):
        tokenizer.encode(torch.zeros(1, 3, 2, 8, 8), quality=5)
    with pytest.raises(ConfigError, match=r"quality is 9.5; expected 1 \(smallest\) to 9 \(best\)"):
        tiny_tokenizer.encode(torch.zeros(1, 3, 2, 8, 8), quality=9.5)
