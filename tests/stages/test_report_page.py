"""The report is read as a browser would: as HTML, from one string."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from pydantic import ValidationError

from cellflow.core.contingency import contingency_block
from cellflow.core.metrics import scores
from cellflow.core.pictures import grey_png
from cellflow.core.report_page import (
    MEANING,
    InputFacts,
    Page,
    Picture,
    Sizes,
    StageCost,
    StageSettings,
    duration,
    render,
    size,
    size_histogram,
)

EVIL = "<script>alert('x')</script> & \"co\""
DASH = "\N{EN DASH}"
FACTS = InputFacts(source="raw.h5", shape=(10, 20, 30), voxel_size_um=(0.5, 0.1, 0.1), dtype="uint16")
PNG = grey_png(np.zeros((4, 4), np.uint8))


def full(text="embryo"):
    truth = np.repeat([0, 1, 2], 8)
    return Page(
        sample=text,
        cells_found=1234,
        input=FACTS.model_copy(update={"source": text, "dtype": text}),
        scores=scores(contingency_block(truth, truth)),
        sizes=Sizes(counts=(3, 4), edges=(1, 10, 100), median=7, unit=text),
        pictures=(Picture(plane="xy", title=text, png=PNG, caption=text),),
        stages=(
            StageCost(name=text, seconds=4, blocks=8, worker_bytes=3 * 10**9),
            StageCost(name="empty", seconds=0, blocks=0),
        ),
        settings=(
            StageSettings(
                name=text,
                values={"solver": {"name": text, "beta": 0.6}, "halo": [1, 2, 3], text: None},
                defaults={"solver": {"name": text, "beta": 0.5}, "halo": [1, 2, 3], text: None},
            ),
        ),
        versions={text: text},
        warnings=(text,),
    )


class Reader(HTMLParser):
    """Collects tags with their attributes, the visible text, and whether every tag is closed."""

    VOID = ("meta", "img", "br", "rect", "path")

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def test_the_page_is_closed_html_with_one_anchor_per_id():
    page = Reader(render(full()))
    assert page.open == []
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for t, a in page.tags if t == "a"} <= set(ids)


def test_the_page_loads_nothing_from_outside():
    html = render(full())
    assert not re.search(r"https?:|//[a-z]|@import|url\(", html)
    sources = [a[k] for _, a in Reader(html).tags for k in ("src", "href", "srcset") if k in a]
    assert all(s.startswith(("data:image/png;base64,", "#")) for s in sources)
    assert "default-src 'none'" in html


def test_every_text_is_escaped():
    html = render(full(EVIL))
    page = Reader(html)
    assert "<script" not in html
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(EVIL) >= 12
    assert page.open == []


def test_pictures_are_inside_the_page():
    image = next(a for t, a in Reader(render(full())).tags if t == "img")
    assert base64.b64decode(image["src"].split(",")[1]) == PNG
    assert image["alt"].startswith("embryo, xy")


def test_every_score_is_shown_with_its_meaning():
    page = full()
    assert set(page.scores) == set(MEANING)
    text = Reader(render(page)).text
    for name, meaning in MEANING.values():
        assert f"{name} " in text
        assert meaning in text
    assert "1 234 Cells found" in text
    assert "0.000 Adapted Rand error" in text
    assert "2 Cells in the truth" in text


def test_without_truth_the_page_says_so_and_shows_no_score():
    text = Reader(render(full().model_copy(update={"scores": None}))).text
    assert "There was no truth for this sample" in text
    assert "Adapted Rand" not in text
    assert "Median size" in text


def test_a_score_with_nothing_to_judge_is_a_dash():
    nothing = scores(contingency_block(np.zeros(4, int), np.zeros(4, int)))
    text = Reader(render(full().model_copy(update={"scores": nothing}))).text
    assert f"{DASH} Adapted Rand error" in text
    assert "nan" not in text.lower().split()


@pytest.mark.parametrize(
    ("split", "merge", "sentence"),
    [
        (2, 0.1, "cut into pieces."),
        (0.1, 2, "joined together."),
        (1, 1.2, "about the same."),
        (0.01, 0, "Hardly any"),
    ],
)
def test_the_page_says_which_error_prevails(split, merge, sentence):
    text = Reader(render(full().model_copy(update={"scores": {"voi_split": split, "voi_merge": merge}}))).text
    others = {"cut into pieces.", "joined together.", "about the same.", "Hardly any"} - {sentence}
    beginning = text.split("Pictures")[0].replace("cells were cut into pieces.", "")
    assert sentence in beginning
    assert not any(other in beginning for other in others)


def test_only_changed_parameters_are_marked_with_their_default():
    page = Reader(render(full()))
    assert "solver.beta 0.6 default 0.5" in page.text
    assert "halo 1, 2, 3 embryo none" in page.text
    assert sum(a.get("class") == "set" for _, a in page.tags) == 1


def test_the_rows_of_the_table_of_costs_have_a_cell_for_each_column():
    (table,) = (t for t in re.findall("<table>.*?</table>", render(full()), re.DOTALL) if "Written" in t)
    cells = [len(re.findall("<t[hd]", row)) for row in re.findall("<tr>.*?</tr>", table, re.DOTALL)]
    assert cells == [6] * 4  # the head, two stages, the sum


def test_the_smallest_page_has_no_empty_section():
    page = Reader(
        render(Page(sample="s", cells_found=0, input=FACTS.model_copy(update={"voxel_size_um": None})))
    )
    assert [t for t, _ in page.tags].count("h2") == 1
    assert "Voxel size unknown" in page.text


def test_sizes_fall_into_bins_with_round_edges():
    found = size_histogram(np.array([3, 4, 5, 40, 99]), "µm³")
    assert (found.edges[0], found.edges[-1], found.median) == (2.5, 100, 5)
    assert sum(found.counts) == 5
    wide = size_histogram(np.array([1e-3, 1, 8e4]), "µm³")
    assert sum(wide.counts) == 3
    assert wide.edges[:3] == (1e-3, 1.6e-3, 2.5e-3)
    assert size_histogram(np.array([]), "µm³") is None
    assert size_histogram(np.array([8]), "voxels").counts == (1,)


def test_times_and_sizes_read_well():
    assert [duration(s) for s in (0, 59.94, 65, 3599.7, 12000)] == [
        "0.0 s", "59.9 s", "1 min 05 s", "1 h 00 min", "3 h 20 min"
    ]  # fmt: skip
    assert [size(n) for n in (None, 0, 999, 12_340_000, 999_600_000)] == [
        DASH,
        "0 B",
        "999 B",
        "12.3 MB",
        "1 GB",
    ]


def test_a_page_with_nan_is_refused():
    with pytest.raises(ValidationError):
        full().model_validate({**full().model_dump(), "scores": {"seg": float("nan")}})
