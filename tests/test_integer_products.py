"""Sums of integers are exact at their bounds, in either kind of arithmetic, and the one that is not is found out."""

import pytest
import torch

from vtok.entropy import integer_products
from vtok.entropy.checkerboard import Checkerboard
from vtok.entropy.exact_sums import EXACT_LIMIT, MAX_WEIGHT, Terms
from vtok.entropy.integer_products import Convolution, WindowProduct, multiply
from vtok.errors import WeightsError


@pytest.mark.parametrize("in_int8", [True, False])
def test_sums_are_exact_at_the_bound(monkeypatch, in_int8):
    """Many weights of much the same size: 2^24 is what limits their units."""
    if not in_int8:
        monkeypatch.setattr("vtok.entropy.integer_products.int8_products_are_exact", lambda: False)
    torch.manual_seed(2)
    num_near, num_far = 150, 90
    sizes = torch.tensor([0.001, 0.1, 1, 20, 60, 120]).double()[:, None]
    weights = (1 + torch.rand(6, 9 * num_near + num_far, dtype=torch.float64)) / 2 * sizes
    weights *= torch.where(torch.rand_like(weights) < 0.5, -1, 1)
    layer = Terms("test", (weights,), (126,), (torch.randn(2, 6, dtype=torch.float64),))
    (rounded,) = layer.in_units(layer.finest_exponents()).weights
    worst = rounded.long().abs().sum(1) * 126
    assert (worst < EXACT_LIMIT).all()
    assert (worst[1:] > EXACT_LIMIT / 3).all()
    positions = Checkerboard(3, 3)
    product = WindowProduct(rounded.T.contiguous(), torch.ones(6, dtype=torch.int32), num_near)
    for out in range(6):
        extreme = rounded[out].sign() * 126
        near, far = extreme[: 9 * num_near].view(9, num_near), extreme[9 * num_near :].expand(9, num_far)
        rows = torch.cat([near, far], dim=1)[positions.order].contiguous()
        sums = Convolution(rows, product, positions).plus(torch.zeros(6, dtype=torch.int32), slice(9))
        assert positions.to_map(sums)[4, out] == worst[out]


@pytest.mark.parametrize("in_int8", [True, False])
def test_windows_of_some_channels_are_those_of_all_where_the_others_are_zero(monkeypatch, in_int8):
    if not in_int8:
        monkeypatch.setattr("vtok.entropy.integer_products.int8_products_are_exact", lambda: False)
    rng = torch.Generator().manual_seed(5)
    positions = Checkerboard(5, 4)
    weight = torch.randint(-127, 128, (9 * 4 + 3, 8), generator=rng, dtype=torch.int8)
    product = WindowProduct(weight, torch.full((8,), 2, dtype=torch.int32), 4)
    for channels in ([0, 2, 3, 5], [1, 2], [4, 6], list(range(7))):
        rows = torch.zeros(20, 7, dtype=torch.int8)
        rows[:, channels] = torch.randint(-128, 128, (20, len(channels)), generator=rng, dtype=torch.int8)
        some = Convolution(rows[:, channels], product.restricted(torch.tensor(channels)), positions)
        everything = Convolution(rows, product, positions)
        bias = torch.arange(8, dtype=torch.int32)
        assert torch.equal(some.plus(bias, slice(3, 11)), everything.plus(bias, slice(3, 11)))


@pytest.mark.parametrize("in_int8", [True, False])
def test_products_are_exact(monkeypatch, in_int8):
    if not in_int8:
        monkeypatch.setattr("vtok.entropy.integer_products.int8_products_are_exact", lambda: False)
    rng = torch.Generator().manual_seed(4)
    for shape in ((1, 1, 1), (5, 0, 3), (30, 129, 7), (2100, 1000, 40)):
        rows = torch.randint(-112, 127, shape[:2], generator=rng, dtype=torch.int8)
        weight = torch.randint(-127, 128, shape[1:], generator=rng, dtype=torch.int8)
        assert torch.equal(multiply(rows, weight), (rows.double() @ weight.double()).int())


def test_each_weight_tensor_has_its_own_units():
    weights = tuple(torch.tensor([[x], [1.0]], dtype=torch.float64)[..., None, None] for x in (100.0, 0.01))
    layer = Terms("test", weights, (126, 126), (torch.tensor([[2.25, 0]], dtype=torch.float64),))
    terms = layer.in_units(layer.finest_exponents())
    assert [w[:, 0, 0, 0].tolist() for w in terms.weights] == [[100, 64], [82, 64]]
    assert [f.tolist() for f in terms.factors] == [[2**13, 1], [1, 1]]
    assert terms.exponents.tolist() == [13, 6]
    assert terms.constants[0].tolist() == [[2.25 * 2**13, 0]]


@pytest.mark.parametrize(("weight", "message"), [(MAX_WEIGHT + 1.0, "too large for 8 bits"), (torch.inf, "not finite")])
def test_weights_that_no_unit_fits_are_refused(weight, message):
    layer = Terms("test", (torch.full((1, 1, 1, 1), weight).double(),), (126,), (torch.zeros(1, 1).double(),))
    with pytest.raises(WeightsError, match=f"test has weights that are {message}"):
        layer.finest_exponents()


@pytest.fixture
def fresh_check():
    """The check of int8 products is made once in a process: here it is made anew, and again afterwards."""
    integer_products.int8_products_are_exact.cache_clear()
    yield integer_products.int8_products_are_exact
    integer_products.int8_products_are_exact.cache_clear()


def saturating(a, b):
    """What processors without VNNI do: pairs of products saturate at 16 bits, bytes `a` counted from -128."""
    pairs = (a.int() + 128)[:, :, None] * b.int()[None]
    pairs = pairs.view(len(a), -1, 2, b.shape[1]).sum(2).clamp(-(2**15), 2**15 - 1).sum(1)
    return (pairs - 128 * b.int().sum(0)).int()


def refuse(*_):
    raise RuntimeError("not implemented for this processor")


@pytest.mark.parametrize(("product", "is_exact"), [(None, True), (saturating, False), (refuse, False)])
def test_int8_products_are_used_where_they_are_exact(fresh_check, monkeypatch, product, is_exact):
    monkeypatch.setattr("vtok.entropy.integer_products.has_int8_dot_products", lambda: True)
    exact = lambda a, b: (a.double() @ b.double()).to(torch.int32)  # noqa: E731
    monkeypatch.setattr("torch._int_mm", product or exact)
    if torch.backends.mkldnn.is_available():
        assert fresh_check() == is_exact


def test_float_products_are_used_where_int8_is_slow(fresh_check, monkeypatch):
    monkeypatch.setattr("vtok.entropy.integer_products.has_int8_dot_products", lambda: False)
    assert not fresh_check()
