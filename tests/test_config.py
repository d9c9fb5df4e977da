"""What a configuration may say, and what each mistake is called."""

import json

import pytest
from running import TOY

from cellflow.config import from_mapping, load
from cellflow.core.errors import BadInput


def with_stage(**stages):
    return {**TOY, "stages": {**TOY["stages"], **stages}}


def test_a_short_config_is_completed_by_defaults():
    config = from_mapping(TOY, "toy.yaml")
    assert config.stages.supervoxels.max_distance == 12
    assert config.stages.partition.solver.name == "multicut"
    assert config.blocks("toy") == 8


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({**TOY, "sampels": {}}, "unknown key 'sampels'; did you mean 'samples'?"),
        ({**TOY, "zebra": 1}, "unknown key 'zebra'; known are results, samples, stages, storage"),
        (with_stage(supervoxels={"treshold": 0.4}), "treshold'; did you mean 'threshold'?"),
        (with_stage(partition={"solver": {"name": "multicut", "bta": 0.5}}), "did you mean 'beta'?"),
        (with_stage(partition={"solver": {"name": "multicutt"}}), "'multicutt'"),
        (with_stage(supervoxels={"threshold": "high"}), "stages.supervoxels.threshold: found 'high', input"),
        (with_stage(supervoxels={"threshold": 1.5}), "found 1.5, input should be less than or equal to 1"),
        (with_stage(supervoxels={"threshold": float("nan")}), "stages.supervoxels.threshold: found nan"),
        (with_stage(supervoxels=None), "stages.supervoxels: found None"),
        ({**TOY, "samples": {}}, "samples: found {}"),
        ({**TOY, "samples": {"../toy": TOY["samples"]["toy"]}}, "expected letters, digits, _ and -"),
        ({**TOY, "samples": {"toy": {}}}, "expected raw, boundaries or phantom"),
        ({**TOY, "results": ""}, "results: found ''"),
        (with_stage(partition={"evidence": 0.6}), "expected 'mean' or one of graph.quantiles"),
        (
            {**TOY, "samples": {"toy": {**TOY["samples"]["toy"], "mask": {"path": "mask.h5"}}}},
            "expected phantom alone",
        ),
        ({**TOY, "results": "a{b}"}, "results: found 'a{b}', value error, expected a path without"),
        ({**TOY, "storage": {"block": [32, 32, 40], "chunk": [16, 16, 16]}}, "expected a multiple of the"),
        ({**TOY, "storage": {"block": [32, 32]}}, "storage.block"),
        ([], "toy.yaml: content: found []"),
        (None, "toy.yaml: content: found None"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_in_one_line(content, expected):
    with pytest.raises(BadInput) as caught:
        from_mapping(content, "toy.yaml")
    message = str(caught.value)
    assert message.startswith(("toy.yaml: ", "storage."))
    assert expected in message
    assert "\n" not in message


def test_a_file_that_is_not_yaml_is_named_in_one_line(tmp_path):
    (tmp_path / "bad.yaml").write_text("results: [1\nsamples: {")
    with pytest.raises(BadInput, match=r"bad.yaml: is not YAML: .*line") as caught:
        load(tmp_path / "bad.yaml")
    assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match=r"none.yaml: cannot be read: No such file or directory"):
        load(tmp_path / "none.yaml")


def test_a_job_holds_all_that_its_result_depends_on_and_nothing_else():
    before = from_mapping(TOY, "toy.yaml")
    after = from_mapping(with_stage(clean={"min_size": 7}), "toy.yaml")
    changed = {s for s in before.stages.__class__.model_fields if before.job(s, "toy") != after.job(s, "toy")}
    assert changed == {"clean"}
    assert json.loads(after.job("clean", "toy"))["params"]["min_size"] == 7
    assert "results" not in json.loads(after.job("clean", "toy"))


def test_receipts_of_other_parameters_are_outdated_without_snakemake(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = from_mapping(TOY, "toy.yaml")
    assert config.outdated() == []
    folder = config.folder("toy")
    folder.mkdir(parents=True)
    for stage in ("supervoxels", "clean"):
        (folder / f"{stage}.json").write_text(config.job(stage, "toy"))
    assert config.outdated() == []
    changed = from_mapping(with_stage(clean={"min_size": 7}), "toy.yaml")
    assert changed.outdated() == [str(folder / "clean.json")]
