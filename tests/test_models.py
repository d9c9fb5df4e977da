"""`cellflow models` teaches, and says in one line what is wrong with a model."""

import pytest
from click.testing import CliRunner
from running import cellflow
from small_networks import BLOCK, save

from cellflow.cli import cli
from cellflow.core.errors import BadInput


def said(*arguments):
    """What a command printed; an error of the user's comes as it is."""
    found = CliRunner().invoke(
        cli, ["models", *map(str, arguments)], catch_exceptions=False, terminal_width=80
    )
    assert found.exit_code == 0, found.output
    return found.output


@pytest.mark.parametrize("command", ["list", "describe", "check"])
def test_every_command_shows_an_example(command):
    assert f"cellflow models {command}" in said(command, "--help")


def test_the_list_has_a_line_for_each_model(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lines = said("list").splitlines()
    assert lines[0].split()[:3] == ["name", "axes", "predicts"]
    assert len(lines) == 20
    assert lines[1].split() == ["membrane3d", "3D", "boundary", "0.4", "0.2", "0.2", "yes", "cellflow"]
    (line,) = [line for line in lines if line.startswith("lightsheet_2D_unet_root_nuclei_ds1x")]
    assert line.split()[1:] == ["2D", "nuclei", "0.25", "0.1625", "0.1625", "no", "zenodo", "7774563"]


def test_a_listed_model_is_described_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = said("describe", "generic_confocal_3D_unet")
    for part in ("boundary, 3D", "0.235 x 0.15 x 0.15", "zenodo.org/record/7805434", "here             no"):
        assert part in text
    assert not list(tmp_path.iterdir())


def test_check_says_what_a_stage_must_know(tmp_path):
    text = said("check", save(tmp_path))
    for part in (
        "can be used",
        "UNet3D, layers bcr, 4 8 feature maps",
        "channels in      1",
        "output: 1 channel, sigmoid",
        "reach            9 x 9 x 9 voxels",
        "pooling          2 x 2 x 2:",
        "leave no seams",
        "mean 0 and standard deviation 1",
        "voxel size (um)  unknown",
        " numbers, each key in its shape",
        "sha256           ",
    ):
        assert part in text


def test_check_says_that_groupnorm_leaves_seams(tmp_path):
    path = save(tmp_path, layer_order="gcr", num_groups=2, config=False)
    shape = tmp_path / "shape.yaml"
    shape.write_text(f"model: {dict(BLOCK, layer_order='gcr', num_groups=2)}")
    assert "tiles            leave seams: GroupNorm looks at the tile" in said(
        "check", path, "--architecture", shape
    )


def test_describe_reads_no_weights(tmp_path):
    path = save(tmp_path)
    path.write_bytes(b"nothing")
    assert "9 x 9 x 9" in said("describe", path)
    with pytest.raises(BadInput, match="is damaged or no checkpoint"):
        said("check", path)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["check", "net.pytorch"], "found shape (2, 1, 3, 3, 3), expected shape (3, 1, 3, 3, 3)"),
        (
            ["check", "http://127.0.0.1:9/net.pytorch", "--sha256", "0" * 64],
            "cannot be reached (Connection refused)",
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(tmp_path, arguments, expected):
    save(tmp_path, name="net.pytorch")
    (tmp_path / "net.yaml").write_text(f"model: {dict(BLOCK, f_maps=6)}")
    found = cellflow(tmp_path, "models", *arguments)
    assert found.returncode == 2
    assert found.stderr.startswith("cellflow: ")
    assert expected in found.stderr
    assert len(found.stderr.splitlines()) == 1
