"""Pictures are read back from their PNG bytes; charts are read as text."""

import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from cellflow.core.pictures import (
    bars_svg,
    display_shape,
    grey_png,
    histogram_svg,
    label_colours,
    overlay_png,
    short,
)


def decoded(png):
    return np.asarray(Image.open(BytesIO(png)))


@pytest.fixture
def grey():
    return np.random.default_rng(3).integers(0, 256, (90, 100), np.uint8)


def test_a_grey_picture_repeats_every_pixel_exactly(grey):
    assert np.array_equal(decoded(grey_png(grey)), grey.repeat(7, 0).repeat(7, 1))


def test_a_large_slice_is_shrunk_by_averaging():
    stripes = np.tile(np.array([0, 255], np.uint8), (1400, 700))
    shown = decoded(grey_png(stripes))
    assert shown.shape == (700, 700)
    assert set(np.unique(shown)) <= {127, 128}


@pytest.mark.parametrize(
    ("shape", "pixel", "expected"),
    [
        ((64, 200), (0.25, 0.1), (480, 600)),  # fine axis three times, coarse axis 2.5 times as much
        ((200, 64), (0.1, 0.25), (600, 480)),
        ((10, 10), (1, 1), (80, 80)),  # small slices grow eight times at most
        ((50, 4000), (4, 1), (35, 700)),
        ((1, 5000), (1, 1), (1, 700)),
    ],
)
def test_pictures_have_the_shape_of_the_sample(shape, pixel, expected):
    assert display_shape(shape, pixel) == expected
    assert decoded(grey_png(np.zeros(shape, np.uint8), pixel)).shape == expected


def test_label_0_stays_grey_and_labels_do_not(grey):
    labels = np.zeros(grey.shape, np.uint64)
    labels[20:60, 30:70] = 2**63 + 5
    shown = decoded(overlay_png(grey, labels))
    inside = labels.repeat(7, 0).repeat(7, 1) > 0
    expected = grey.repeat(7, 0).repeat(7, 1)
    assert all(np.array_equal(shown[..., c][~inside], expected[~inside]) for c in range(3))
    assert (np.ptp(shown[inside].astype(int), axis=1) > 0).all()


def test_a_label_has_one_colour_in_every_picture():
    flat = np.full((40, 40), 100, np.uint8)
    first, second = np.zeros((2, 40, 40), np.uint32)
    first[5:20, 5:20], second[10:35, 20:38] = 77, 77
    first[25:, 25:] = 78
    a, b = decoded(overlay_png(flat, first)), decoded(overlay_png(flat, second.astype(np.int64)))
    assert np.array_equal(a[80, 80], b[160, 220])
    assert not np.array_equal(a[80, 80], a[270, 270])


def test_every_border_has_a_lighter_line_on_one_side():
    flat = np.full((20, 20), 60, np.uint8)
    labels = np.where(np.arange(20) < 10, 3, 4)[None, :].repeat(20, 0)
    shown = decoded(overlay_png(flat, labels)).astype(int).sum(-1)
    assert (shown[:, 79] > shown[:, 40] + 60).all()
    assert (shown[:, 80:] == shown[0, 100]).all()


def test_without_fill_only_lines_are_drawn():
    flat = np.full((20, 20), 60, np.uint8)
    labels = np.where(np.arange(20) < 10, 3, 4)[None, :].repeat(20, 0)
    changed = (decoded(overlay_png(flat, labels, alpha=0)) != 60).any(-1)
    assert changed[:, 79].all()
    assert changed.sum() == 160


def test_neighbouring_labels_rarely_share_a_colour():
    colours = label_colours(np.arange(1, 20_001)).astype(int)
    same = (colours[1:] == colours[:-1]).all(1).mean()
    assert same < 0.03  # one in 60 by chance
    assert len(np.unique(colours, axis=0)) == 60
    assert (np.ptp(colours, axis=1) > 20).all()  # no label looks grey


def test_bars_are_as_long_as_their_values():
    svg = bars_svg([("a & b", 10, "10 s"), ("c", 5, "5 s"), ("d", 0, "0 s")])
    assert re.findall(r'width="([\d.]+)" height="16"', svg) == ["240.0", "120.0", "2.0"]
    assert "a &amp; b" in svg
    assert bars_svg([]).endswith("</svg>")


def test_histogram_bars_are_as_high_as_their_counts():
    svg = histogram_svg([1, 4, 2], [1, 10, 100, 1000], "<µm³>")
    assert re.findall(r' height="([\d.]+)"><title>', svg) == ["37.5", "150.0", "75.0"]
    assert "4 of 10 to 100 &lt;µm³&gt;" in svg
    assert [t for t in ("1", "10", "100") if f'class="tick">{t}<' in svg] == ["1", "10", "100"]
    with pytest.raises(ValueError, match="need 4 edges"):
        histogram_svg([1, 4, 2], [1, 10, 100], "µm³")


def test_a_histogram_of_many_bins_labels_at_most_nine_edges():
    edges = [float(f"{m}e{d}") for d in range(-3, 5) for m in (1, 2, 3, 5, 7)]
    assert histogram_svg([1] * (len(edges) - 1), edges, "µm³").count('class="tick"') <= 9 + 1
    linear = [7.5 + i for i in range(101)]
    assert 5 < histogram_svg([1] * 100, linear, "µm³").count('class="tick"') <= 9 + 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (12.34, "12.3"),
        (999, "999"),
        (12345, "12\u2009300"),
        (2.5e6, "2.5 M"),
        (3e12, "3 T"),
    ],
)
def test_numbers_are_written_with_three_digits(value, text):
    assert short(value) == text
