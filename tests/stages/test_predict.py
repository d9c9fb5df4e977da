import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from cellflow.core.phantom import Phantom, phantom_block
from cellflow.stages.predict import Direct, Membrane, Predictor, predict_block

CUBE = (1.0, 1.0, 1.0)
FLAT = (0.5, 0.25, 0.25)
ZERO, ONE = np.zeros((1, 1, 1), np.float32), np.ones((1, 1, 1), np.float32)


@pytest.fixture(scope="module")
def tissue():
    p = Phantom(shape=(48, 96, 96), seed=3, tissue=1.0)
    made = phantom_block(p, tuple(slice(0, n) for n in p.shape))
    low, high = np.percentile(made.raw, [1, 99.8])
    return ((made.raw - low) / (high - low)).astype(np.float32), made.boundaries


def separation(found, boundaries):
    """Medians of the probabilities inside cells and on sure membranes."""
    return np.median(found[boundaries < 10]), np.median(found[boundaries > 200])


def test_half_lies_between_cells_and_membranes_however_dim_the_image_is(tissue):
    values, boundaries = tissue
    for gain, offset in [(1.0, 0.0), (0.2, 0.3), (3.0, -1.0)]:
        inside, membrane = separation(
            Membrane()(values * np.float32(gain) + np.float32(offset), FLAT), boundaries
        )
        assert inside < 0.2
        assert membrane > 0.8


def test_dark_membranes_are_bright_ones_of_the_negative(tissue):
    values, boundaries = tissue
    dark = Membrane(dark=True)(1 - values, FLAT)
    assert np.allclose(dark, Membrane()(values, FLAT), atol=0.02)
    inside, membrane = separation(Membrane()(1 - values, FLAT), boundaries)
    assert membrane < inside


@pytest.mark.parametrize(
    "change",
    [{"sigmas": (1.0, 2.0)}, {"window": 8.0}, {"least_contrast": 0.1}, {"level": 1.4}, {"dark": True}],
)
def test_every_parameter_changes_the_boundaries(tissue, change):
    values = tissue[0][:24, :48, :48]
    assert not np.array_equal(Membrane(**change)(values, FLAT), Membrane()(values, FLAT))


def test_a_higher_level_and_contrast_lower_every_probability(tissue):
    values = tissue[0][:24, :48, :48]
    for more in (Membrane(level=1.5), Membrane(least_contrast=0.1)):
        assert (more(values, FLAT) <= Membrane()(values, FLAT)).all()


@pytest.mark.parametrize(
    "predictor", [Membrane(window=5.0), Membrane(sigmas=(2.0,), dark=True), Direct(smoothing=1.5)]
)
def test_a_block_with_its_halo_has_the_bits_of_the_whole(tissue, predictor):
    values, p = tissue[0], predictor
    whole = predict_block(values, ZERO, ONE, p, FLAT)
    halo = predictor.halo(FLAT)
    for start in (0, 20, 36):
        core = slice(start, start + 12)
        outer = slice(max(0, start - halo[0]), min(48, start + 12 + halo[0]))
        crop = slice(start - outer.start, start - outer.start + 12)
        assert np.array_equal(predict_block(values[outer], ZERO, ONE, p, FLAT)[crop], whole[core])
    core, short = slice(20, 32), halo[0] // 2
    cut = predict_block(values[core.start - short : core.stop + short], ZERO, ONE, p, FLAT)
    assert not np.array_equal(cut[short:-short], whole[core])


@pytest.mark.parametrize("predictor", [Membrane(), Membrane(dark=True), Direct(), Direct(smoothing=2.0)])
@pytest.mark.parametrize("shape", [(12, 13, 14), (1, 30, 40), (1, 1, 1)])
def test_a_constant_image_has_no_boundaries(predictor, shape):
    flat = np.full(shape, 200, np.uint16)
    offset = np.full((1, 1, 1), 200, np.float32)
    assert not predict_block(flat, offset, ONE, predictor, CUBE).any()
    raised = predict_block(flat, offset - 1, ONE, predictor, CUBE)
    assert raised.max() == (255 if isinstance(predictor, Direct) else 0)


def test_offset_and_scale_may_differ_between_slices():
    raw = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    offset, scale = (np.array(v, np.float32).reshape(2, 1, 1) for v in ([0, 12], [12, 24]))
    found = predict_block(raw, offset, scale, Direct(), CUBE)
    assert found[0].max() == round(255 * 11 / 12)
    assert found[1].max() == round(255 * 11 / 24)


def test_direct_keeps_probabilities_in_their_range_and_its_input_as_it_was():
    values = np.random.default_rng(0).normal(0.5, 1, (8, 20, 20)).astype(np.float32)
    before = values.copy()
    for smoothing in (0.0, 1.0):
        found = Direct(smoothing=smoothing)(values, CUBE)
        assert 0 <= found.min() < found.max() <= 1
    assert np.array_equal(values, before)
    assert np.array_equal(Direct()(values, CUBE), np.clip(values, 0, 1))


def test_half_lies_between_them_in_one_slice_too(tissue):
    values, boundaries = tissue[0][24:25], tissue[1][24:25]
    inside, membrane = separation(Membrane()(values, FLAT), boundaries)
    assert inside < 0.2
    assert membrane > 0.8


def test_a_predictor_is_chosen_by_its_name():
    adapter = TypeAdapter(Predictor)
    assert adapter.validate_python({"name": "none", "smoothing": 1}) == Direct(smoothing=1)
    assert adapter.validate_python({"name": "membrane", "level": 1.5}) == Membrane(level=1.5)
    with pytest.raises(ValidationError, match="window above the largest of sigmas, 20"):
        Membrane(sigmas=(1.0, 20.0))
