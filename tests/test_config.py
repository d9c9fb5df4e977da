"""What a configuration may say, and what each mistake is called."""

import json
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from running import TOY
from small_networks import architecture, network, save

from cellflow.config import from_mapping, load
from cellflow.core.errors import BadInput
from cellflow.plan import planned


def with_stage(**stages):
    return {**TOY, "stages": {**TOY["stages"], **stages}}


def with_phantom(**more):
    return {**TOY, "samples": {"toy": {**TOY["samples"]["toy"], **more}}}


DIRECT = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]


def start(volumes, offsets=DIRECT, path="none.h5"):
    """A config of a sample that starts from affinities."""
    return {**TOY, "samples": {"toy": {**volumes, "affinities": {"path": path, "offsets": offsets}}}}


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
        (start({}, [[0, 0, 0]]), "samples.toy.affinities.offsets: found [[0, 0, 0]]"),
        (start({}, [[0.5, 0, 0]]), "affinities.offsets.0.0: found 0.5"),
        (start({}, [[0, 1]]), "affinities.offsets.0"),
        (start({}, []), "affinities.offsets: found []"),
        (start({}, None), "affinities.offsets: found None"),
        (start({"boundaries": {"path": "b.h5"}}), "expected boundaries or affinities, not both"),
        (start({"phantom": {"shape": [8, 8, 8]}}), "expected phantom alone"),
        (start({}), "samples.toy.raw: "),
        (
            with_phantom(phantom_also=["nuclei"], nuclei={"path": "n.h5"}),
            "expected phantom alone: it brings its own volumes, see phantom_also",
        ),
        (with_phantom(phantom_also=["mask"]), "samples.toy.phantom_also.0: found 'mask'"),
        (
            {**TOY, "samples": {"toy": {"raw": {"path": "r.h5"}, "phantom_also": ["nuclei"]}}},
            "expected a phantom beside phantom_also",
        ),
        (
            {**TOY, "samples": {"toy": {k: {"path": "n"} for k in ("raw", "nuclei", "nuclei_probability")}}},
            "expected one of nuclei (labels), nuclei_probability, nuclei_raw (an image)",
        ),
        (
            {**TOY, "samples": {"toy": {k: {"path": "n"} for k in ("raw", "nuclei_raw", "nuclei")}}},
            "expected one of nuclei (labels), nuclei_probability, nuclei_raw (an image)",
        ),
        (
            with_stage(nuclei={"predicted": True}),
            "stages.predict.predictor: makes boundaries, expected predicted_nuclei as well, as stages.nuclei",
        ),
        (with_stage(predict_nuclei={"predictor": {"name": "membrane"}}), "predict_nuclei.predictor.model: "),
        (
            with_stage(predict={"predictor": {"name": "network", "model": "membrane3d", "device": "gpu"}}),
            "stages.predict.predictor.network.device: found 'gpu'",
        ),
        (
            {**with_phantom(phantom_also=["nuclei"]), "stages": {"reconcile": {"split": False, "join": 0}}},
            "samples.toy: found nuclei that nothing goes by: the solver is multicut",
        ),
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


def test_affinities_stand_in_for_raw_and_for_the_prediction(tmp_path):
    path = str(tmp_path / "a.h5")
    with h5py.File(path, "w") as file:
        file["a"], file["raw"] = np.zeros((5, 8, 20, 30), np.float32), np.zeros((8, 20, 31))
    chosen = {"path": path, "dataset": "a", "offsets": [*DIRECT, [-3, 0, 0]]}
    content = {**TOY, "samples": {"toy": {"affinities": chosen}}}
    found = from_mapping(content, "toy.yaml")
    assert found.shape("toy") == (8, 20, 30)
    assert found.sources("toy").keys() == {"raw"}
    stages = [row.stage for row in planned(found)]
    assert stages[:3] == ["ingest-raw", "affinities", "supervoxels"]
    assert json.loads(found.job("affinities", "toy"))["params"]["offsets"] == chosen["offsets"]
    wrong = {**content, "samples": {"toy": {"raw": {"path": path, "dataset": "raw"}, "affinities": chosen}}}
    with pytest.raises(BadInput, match=r"samples.toy.affinities: found shape \(8, 20, 30\) .* as raw"):
        from_mapping(wrong, "toy.yaml")
    few = {**content, "samples": {"toy": {"affinities": {**chosen, "offsets": 2 * DIRECT}}}}
    with pytest.raises(BadInput, match=r"samples.toy.affinities: .*found 5 channels .* at least 6"):
        from_mapping(few, "toy.yaml")


def test_nuclei_add_two_stages_and_change_the_jobs_of_no_other():
    plain, with_nuclei = (from_mapping(c, "toy.yaml") for c in (TOY, with_phantom(phantom_also=["nuclei"])))
    before, after = plain.chain("toy"), with_nuclei.chain("toy")
    assert [stage for stage in after if stage not in before] == ["ingest-nuclei", "nuclei", "reconcile"]
    assert after.index("supervoxels") < after.index("nuclei") < after.index("partition")
    assert after.index("partition") < after.index("reconcile") < after.index("clean")
    for stage in before:
        assert plain.job(stage, "toy") == with_nuclei.job(stage, "toy")
    assert [row.stage for row in planned(with_nuclei)] == after


def with_stained(folder, model="nuclei3d", **stages):
    """A config of a sample with an image of nuclei."""
    with h5py.File(folder / "a.h5", "w") as file:
        file["raw"] = file["stained"] = np.ones((8, 9, 10), np.uint8)
    given = {
        role: {"path": str(folder / "a.h5"), "dataset": name}
        for role, name in (("raw", "raw"), ("nuclei_raw", "stained"))
    }
    asked = {"predict_nuclei": {"predictor": {"name": "network", "model": model}}, **stages}
    return {**with_stage(**asked), "samples": {"toy": given}}


def test_an_image_of_nuclei_adds_a_prediction_of_its_own(tmp_path):
    content = with_stained(tmp_path, partition={"solver": {"name": "lifted_multicut"}})
    config = from_mapping(content, "toy.yaml")
    chain = config.chain("toy")
    added = ["ingest-nuclei_raw", "normalise-nuclei_raw", "predict-nuclei_raw", "nuclei"]
    assert [stage for stage in chain if stage in added] == added
    assert config.nuclei_from("toy") == "predict-nuclei_raw"
    assert [row.stage for row in planned(config)] == [stage for stage in chain if stage != "phantom"]
    assert json.loads(config.job("predict-nuclei_raw", "toy"))["params"]["predictor"]["model"] == "nuclei3d"
    assert json.loads(config.job("predict", "toy"))["params"]["predictor"]["name"] == "membrane"


def test_a_network_that_knows_no_nuclei_is_not_asked_for_them(tmp_path):
    with pytest.raises(
        BadInput, match=r"stages\.predict_nuclei\.predictor: .* predicts boundary, expected nuc"
    ):
        from_mapping(with_stained(tmp_path, "membrane3d"), "toy.yaml")


def test_nuclei_beside_boundaries_count_only_where_none_are_given(tmp_path):
    heads = {"heads": [{"name": "boundary"}, {"name": "nuclei"}]}
    path = save(tmp_path, network(**heads).state_dict(), config=False)
    predictor = {"name": "network", "model": str(path), "architecture": architecture(**heads).model_dump()}
    stages = {"predict": {"predictor": predictor}, "nuclei": {"predicted": True}}
    assert from_mapping(with_stage(**stages), "toy.yaml").nuclei_from("toy") == "predict"
    given = {**with_stage(**stages), "samples": with_phantom(phantom_also=["nuclei"])["samples"]}
    assert from_mapping(given, "toy.yaml").nuclei_from("toy") == "ingest-nuclei"


def test_the_lifted_solver_needs_something_to_lift():
    bare = from_mapping(TOY, "toy.yaml")
    solver = SimpleNamespace(name="lifted_multicut")
    stages = bare.stages.model_copy(update={"partition": SimpleNamespace(solver=solver)})
    with pytest.raises(BadInput, match=r"samples.toy: found neither nuclei nor affinities of long range"):
        bare.model_copy(update={"stages": stages}).check("toy.yaml")
    nucleated = from_mapping(with_phantom(phantom_also=["nuclei"]), "toy.yaml")
    nucleated.model_copy(update={"stages": stages}).check("toy.yaml")


@pytest.mark.parametrize(
    ("offsets", "long"), [(DIRECT, False), ([*DIRECT, [0, 0, 1]], False), ([*DIRECT, [-3, 0, 0]], True)]
)
@pytest.mark.parametrize("predicted", [False, True])
def test_only_steps_of_more_than_one_voxel_are_of_long_range(tmp_path, offsets, long, predicted):
    content = predicting(tmp_path, offsets) if predicted else starting(tmp_path, offsets)
    from_mapping(content, "toy.yaml")
    content["stages"] = {**content["stages"], "partition": {"solver": {"name": "lifted_multicut"}}}
    if long:
        assert from_mapping(content, "toy.yaml").offsets("toy")[-1] == (-3, 0, 0)
    else:
        with pytest.raises(BadInput, match="found neither nuclei nor affinities of long range"):
            from_mapping(content, "toy.yaml")


def starting(folder, offsets):
    """A config of a sample whose affinities are in a file."""
    with h5py.File(folder / "a.h5", "w") as file:
        file["a"] = np.ones((len(offsets), 8, 9, 10), np.float32)
    given = {"path": str(folder / "a.h5"), "dataset": "a", "offsets": offsets}
    return {**TOY, "samples": {"toy": {"affinities": given}}}


def predicting(folder, offsets):
    """A config of a sample whose affinities a network predicts."""
    heads = {"heads": [{"name": "affinities", "offsets": offsets}]}
    path = save(folder, network(**heads).state_dict(), config=False)
    predictor = {"name": "network", "model": str(path), "architecture": architecture(**heads).model_dump()}
    return with_stage(predict={"predictor": predictor})


@pytest.mark.parametrize("make", [starting, predicting])
def test_mutex_is_for_affinities_in_a_file_or_of_a_network(tmp_path, make):
    content = make(tmp_path, [*DIRECT, [-3, 0, 0]])
    content["stages"] = {**content["stages"], "supervoxels": {"mutex": {}}}
    from_mapping(content, "toy.yaml")
    with pytest.raises(BadInput, match=r"samples\.toy: found no affinities, expected some for stages"):
        from_mapping(with_stage(supervoxels={"mutex": {}}), "toy.yaml")


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
    before: list[str] = []
    for stage in ("supervoxels", "clean", "segment"):
        receipt = {**json.loads(config.job(stage, "toy")), "inputs": dict.fromkeys(before, "digest")}
        (folder / f"{stage}.json").write_text(json.dumps(receipt))
        before = [stage]
    assert config.outdated() == []
    changed = from_mapping(with_stage(clean={"min_size": 7}), "toy.yaml")
    assert changed.outdated() == [folder / "clean.json", folder / "segment.json"]
