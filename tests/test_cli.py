"""The door to the user: every command teaches, and says what it found."""

import pytest
from click.testing import CliRunner
from running import TOY, cellflow, write_config

from cellflow.cli import STAGES, cli


def helped(*arguments):
    result = CliRunner().invoke(cli, [*arguments, "--help"], terminal_width=80)
    assert result.exit_code == 0
    return result.output


def test_the_command_list_is_not_cut_off():
    text = helped()
    assert "..." not in text.split("Commands:")[1].split("First steps")[0]
    assert "snakemake --profile profiles/local" in text


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_shows_an_example(name):
    assert any(word in helped(name) for word in (f"cellflow {name} ", "snakemake --profile"))


@pytest.mark.parametrize("stage", [s for s in STAGES if s != "ingest"])
def test_the_manual_of_a_stage_names_every_parameter(stage):
    from importlib import import_module

    said = CliRunner().invoke(cli, ["params", stage]).output
    for name, field in import_module(f"cellflow.stages.{stage}").Params.model_fields.items():
        assert f"  {name}: " in said
        assert field.description.split()[0] in said


def test_the_manual_gives_range_default_and_every_choice():
    said = CliRunner().invoke(cli, ["params", "partition"]).output
    assert "beta: number > 0 and < 1 | text, default 0.5" in said
    for solver in ("multicut", "gasp", "mutex_watershed"):
        assert f"name: {solver} - " in said
    assert (
        "per_slice: true | false, default false" in CliRunner().invoke(cli, ["params", "supervoxels"]).output
    )


def test_plan_lists_every_stage_and_a_sum(tmp_path):
    write_config(tmp_path, TOY)
    found = cellflow(tmp_path, "plan", "toy.yaml", "--workers", "2")
    assert found.returncode == 0, found.stderr
    for stage in ("phantom", "ingest-raw", "supervoxels", "scores", "report"):
        assert stage in found.stdout
    assert "2 workers: at most" in found.stdout
    assert not (tmp_path / "results").exists()


def test_plan_refuses_what_cannot_fit(tmp_path):
    huge = {**TOY, "samples": {"toy": {"phantom": {"shape": [4096, 4096, 4096]}}}}
    write_config(tmp_path, {**huge, "storage": {"block": [2048, 2048, 2048]}})
    found = cellflow(tmp_path, "plan", "toy.yaml")
    assert found.returncode == 2
    assert "MB of free memory; use fewer workers (--cores) or a smaller storage.block" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_a_phantom_is_the_same_whatever_its_blocks(tmp_path):
    import zarr

    for folder, block in (("a", "16"), ("b", "32")):
        done = cellflow(
            tmp_path, "phantom", folder, "--shape", "32", "32", "32", "--block", block, block, block,
            "--set", "photons=20", "--workers", "1",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    a, b = (zarr.open_array(str(tmp_path / f / "phantom" / "raw"), mode="r")[:] for f in "ab")
    assert (a == b).all()
    found = cellflow(tmp_path, "info", "a/phantom/raw")
    assert "32 x 32 x 32" in found.stdout
    assert "samples:" in found.stdout


def test_summary_of_a_folder_without_results_says_what_to_run(tmp_path):
    found = cellflow(tmp_path, "summary", "nothing")
    assert found.returncode == 2
    assert "stage clean has not finished here" in found.stderr
