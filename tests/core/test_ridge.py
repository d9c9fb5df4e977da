import numpy as np
import pytest

from cellflow.core.ridge import contrast_radius, ridge, ridge_contrast, ridge_radius
from cellflow.core.smoothing import smooth

CUBE = (1.0, 1.0, 1.0)
SIGMAS, WINDOW, LEAST = (1.0, 2.0), 4.0, 0.005


def sheet(normal, shape=(41, 41, 41), pitch=CUBE, sigma=1.5, height=1.0):
    """A Gaussian sheet through the middle, `sigma` thick in the unit of `pitch`."""
    at = [(np.arange(n) - n // 2) * p for n, p in zip(shape, pitch, strict=True)]
    z, y, x = np.meshgrid(*at, indexing="ij")
    n = np.array(normal) / np.linalg.norm(normal)
    return (height * np.exp(-0.5 * ((z * n[0] + y * n[1] + x * n[2]) / sigma) ** 2)).astype(np.float32)


def noise(shape=(24, 28, 32), seed=0):
    return np.random.default_rng(seed).normal(0.5, 0.1, shape).astype(np.float32)


def contrast(volume, pitch=CUBE, sigmas=SIGMAS, window=WINDOW, least=LEAST):
    return ridge_contrast(volume, sigmas, window, least, pitch)


def middle(volume):
    return volume[tuple(n // 2 for n in volume.shape)]


def test_the_answer_is_the_smallest_eigenvalue_of_the_hessian():
    volume, sigma = noise((9, 10, 11)), 1.5
    smoothed = smooth(volume.copy(), (sigma, sigma, sigma)).astype(np.float64)
    z, y, x = 4, 5, 6
    first = [np.gradient(smoothed, axis=a) for a in range(3)]
    hessian = np.array([[np.gradient(f, axis=a)[z, y, x] for a in range(3)] for f in first])
    for a in range(3):  # along one axis the narrow second difference, not the gradient of the gradient
        line = np.moveaxis(smoothed, a, 0)[(slice(None), *np.delete((z, y, x), a))]
        at = (z, y, x)[a]
        hessian[a, a] = line[at - 1] - 2 * line[at] + line[at + 1]
    expected = max(0.0, -(sigma**2) * np.linalg.eigvalsh(hessian)[0])
    assert ridge(volume, (sigma,), CUBE)[z, y, x] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("normal", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1)])
def test_a_sheet_answers_alike_in_every_direction(normal):
    along_x = middle(ridge(sheet((0, 0, 1)), SIGMAS, CUBE))
    assert middle(ridge(sheet(normal), SIGMAS, CUBE)) == pytest.approx(along_x, rel=0.08)


@pytest.mark.parametrize("normal", [(1, 0, 0), (0, 1, 0), (1, 0, 1)])
def test_flat_voxels_do_not_change_the_answer_of_a_sheet(normal):
    pitch, sigmas = (2.0, 1.0, 1.0), (2.0,)
    cubes = middle(ridge(sheet(normal), sigmas, CUBE))
    flat = sheet(normal, (21, 41, 41), pitch)
    assert middle(ridge(flat, sigmas, pitch)) == pytest.approx(cubes, rel=0.15)
    # Negative control: taken for cubes, flat voxels make a sheet across z thinner than it is.
    wrong = middle(ridge(flat, sigmas, CUBE))
    assert normal != (1, 0, 0) or abs(wrong - cubes) > 0.15 * cubes


def test_the_scale_of_a_sheet_answers_most():
    thick = sheet((0, 0, 1), sigma=3.0)
    answers = [middle(ridge(thick, (sigma,), CUBE)) for sigma in (1.0, 2.0, 4.0)]
    assert answers == sorted(answers)
    assert middle(ridge(thick, (1.0, 2.0, 4.0), CUBE)) == answers[-1]


def test_dark_sheets_do_not_answer():
    assert middle(ridge(1 - sheet((0, 1, 1)), SIGMAS, CUBE)) < 0.01


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0, 1000.0])
@pytest.mark.parametrize("shape", [(9, 10, 11), (1, 12, 13), (1, 1, 1)])
def test_a_constant_image_has_no_membranes(value, shape):
    flat = np.full(shape, value, np.float32)
    assert np.abs(ridge(flat, SIGMAS, CUBE)).max() <= 1e-5 * value
    # What is left is the rounding of the square, which counts against the least contrast.
    assert value > 1 or contrast(flat).max() < 0.15


def test_contrast_stands_out_of_noise_and_dim_regions_count_as_bright_ones():
    bright = sheet((0, 1, 0)) + noise((41, 41, 41)) * 0.2
    dim = bright * 0.1 + 0.3
    for volume in (bright, dim):
        found = contrast(volume, window=10.0)
        assert found[20, 20].mean() > 2
        assert found[20, 5:12].mean() < 1.2
    assert np.allclose(contrast(bright, least=1e-6), contrast(dim, least=1e-6), atol=0.05)
    assert contrast(dim, least=0.1).max() < contrast(dim).max() / 2


def test_the_middle_of_a_thick_wall_and_a_junction_answer_too():
    cross = np.maximum(sheet((0, 1, 0), sigma=3.0), sheet((0, 0, 1), sigma=3.0))
    wall = np.minimum(2 * sheet((0, 1, 0), sigma=3.0), 1)
    for volume in (cross, wall):
        sharp, both = ridge(volume, (1.0,), CUBE), contrast(volume, sigmas=(1.0,), window=10.0)
        assert middle(sharp) < 0.1 * sharp.max() + 0.05
        assert middle(both) > 2


@pytest.mark.parametrize("pitch", [CUBE, (2.5, 1.0, 1.0)])
def test_a_block_with_its_halo_has_the_bits_of_the_whole(pitch):
    volume = noise((50, 44, 40))
    whole = contrast(volume, pitch, window=3.0)
    core = (slice(20, 30), slice(18, 26), slice(20, 24))

    def cut(radius):
        outer = tuple(
            slice(max(0, s.start - r), min(n, s.stop + r))
            for s, r, n in zip(core, radius, volume.shape, strict=True)
        )
        crop = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(core, outer, strict=True))
        return contrast(volume[outer], pitch, window=3.0)[crop]

    radius = contrast_radius(SIGMAS, 3.0, pitch)
    assert np.array_equal(cut(radius), whole[core])
    for axis in range(3):
        small = tuple(r - (a == axis) for a, r in enumerate(radius))
        assert not np.array_equal(cut(small), whole[core])


def test_the_radius_is_that_of_the_widest_part():
    assert ridge_radius((1.0, 2.0), CUBE) == (7, 7, 7)
    assert contrast_radius((1.0, 2.0), 2.1, (2.0, 1.0, 1.0)) == (4, 7, 7)
    assert contrast_radius((1.0, 2.0), 12.0, (2.0, 1.0, 1.0)) == (18, 36, 36)


def test_a_single_slice_is_a_slice_of_a_volume_that_does_not_change_along_z():
    line = sheet((0, 1, 2), (1, 41, 41)) + noise((1, 41, 41))
    deep = np.repeat(line, 31, axis=0)
    assert np.allclose(contrast(line)[0], contrast(deep)[15], rtol=1e-3, atol=1e-3)


def test_the_input_is_left_alone_and_any_layout_gives_the_same():
    volume = noise()
    before = volume.copy()
    found = contrast(volume)
    assert np.array_equal(volume, before)
    assert found.dtype == np.float32
    assert np.array_equal(contrast(np.asfortranarray(volume)), found)
