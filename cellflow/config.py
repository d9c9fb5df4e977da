"""What a user asks for: samples, parameters of stages, storage. One YAML file, checked before any job."""

import json
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, Field, model_validator

import cellflow
from cellflow.core.affinities import is_direct
from cellflow.core.errors import BadInput
from cellflow.core.grid import Triple
from cellflow.core.schema import Schema, checked, without
from cellflow.engine.formats import Source, Volume, fingerprint, open_volume
from cellflow.engine.store import Storage
from cellflow.sample import ROLES, Sample, plain_name, plain_path, same_shape
from cellflow.stages import predict
from cellflow.stages.affinities import Affinities, open_channels
from cellflow.stages.clean import Params as Clean
from cellflow.stages.graph import Params as Graph
from cellflow.stages.normalise import Params as Normalise
from cellflow.stages.nuclei import Params as Nuclei
from cellflow.stages.partition import Params as Partition
from cellflow.stages.predict import Nuclei as PredictNuclei
from cellflow.stages.predict import Params as Predict
from cellflow.stages.reconcile import Params as Reconcile
from cellflow.stages.report import Params as Report
from cellflow.stages.scores import Params as Scores
from cellflow.stages.segment import Params as Segment
from cellflow.stages.supervoxels import Params as Supervoxels

PLACES = {"predict": "predict", "predict-nuclei_raw": "predict_nuclei", "normalise-nuclei_raw": "normalise"}
"""Where the parameters of a stage stand, if not under its name."""


class Stages(Schema):
    """Parameters of the stages where they differ from the defaults; `cellflow params STAGE` explains."""

    normalise: Normalise = Normalise()
    predict: Predict = Predict()
    supervoxels: Supervoxels = Supervoxels()
    predict_nuclei: PredictNuclei = PredictNuclei()
    nuclei: Nuclei = Nuclei()
    graph: Graph = Graph()
    partition: Partition = Partition()
    reconcile: Reconcile = Reconcile()
    clean: Clean = Clean()
    segment: Segment = Segment()
    scores: Scores = Scores()
    report: Report = Report()

    @model_validator(mode="after")
    def _normalised_once(self) -> Self:
        unused = {"method", "low", "high"} & self.normalise.model_fields_set
        if self.network and unused:
            raise ValueError(
                f"normalise.{min(unused)} says nothing to a network, which knows what it was trained on; "
                "give predict.predictor.normalisation, or drop it"
            )
        return self

    @property
    def network(self) -> bool:
        """Whether a network predicts."""
        return isinstance(self.predict.predictor, predict.Network)

    @model_validator(mode="after")
    def _evidence_is_measured(self) -> Self:
        wanted, measured = self.partition.evidence, self.graph.quantiles
        if wanted != "mean" and wanted not in measured:
            raise ValueError(
                f"partition.evidence is {wanted}, expected 'mean' or one of graph.quantiles {measured}; "
                "add it there"
            )
        return self


class Config(Schema):
    """A whole run."""

    results: Annotated[str, Field(min_length=1), AfterValidator(plain_path)]
    """Folder for everything that is made; relative to the working folder."""
    samples: Annotated[dict[Annotated[str, AfterValidator(plain_name)], Sample], Field(min_length=1)]
    """Specimens by name; each is segmented on its own, side by side."""
    stages: Stages = Stages()
    storage: Storage = Storage()

    def folder(self, sample: str) -> Path:
        """Where the results of a sample lie."""
        return Path(self.results) / sample

    def sources(self, sample: str) -> dict[str, Source]:
        """The volumes of a sample by role; those of a phantom are made by its stage."""
        chosen = self.samples[sample]
        if chosen.phantom is not None:
            return {
                role: Source(
                    path=str(self.folder(sample) / "phantom" / role),
                    voxel_size_um=chosen.phantom.voxel_size_um,
                )
                for role in ("raw", "truth", *chosen.phantom_also)
            }
        found = {role: getattr(chosen, role) for role in ROLES if getattr(chosen, role) is not None}
        if "raw" in found:
            return found
        start = chosen.boundaries or chosen.affinities
        if start is None:
            raise BadInput(f"samples.{sample}: found neither raw nor boundaries nor affinities; add one")
        first = Source(**{name: getattr(start, name) for name in Source.model_fields})
        return {"raw": first, **found}

    def shape(self, sample: str) -> Triple:
        """Voxels of a sample along z, y, x; reads the head of its file."""
        phantom = self.samples[sample].phantom
        return phantom.shape if phantom else open_volume(self.sources(sample)["raw"]).shape

    def blocks(self, sample: str) -> int:
        """How many blocks a sample is cut into."""
        return len(self.storage.fitted(self.shape(sample)).grid())

    def params(self, stage: str, sample: str) -> Schema:
        """The parameters of a stage of a sample; `ingest-raw` and its like name their volume."""
        if stage in ("phantom", "affinities"):
            given: Schema | None = getattr(self.samples[sample], stage)
            if given is None:
                raise BadInput(f"samples.{sample}: found no {stage}, expected some; add it or drop the stage")
            return given
        if stage.startswith("ingest-"):
            from cellflow.stages import ingest  # noqa: PLC0415 - only the ingest rules need it

            role: Any = stage.removeprefix("ingest-")
            return ingest.Params(role=role, source=self.sources(sample)[role])
        found: Schema = getattr(self.stages, PLACES.get(stage, stage))
        return found

    def job(self, stage: str, sample: str) -> str:
        """What Snakemake compares to see whether a stage must run again, and hands to it: JSON."""
        p = self.params(stage, sample)
        content = {
            "params": without(p.model_dump(mode="json"), [f"predictor.{name}" for name in predict.FASTER]),
            "storage": self.storage.model_dump(mode="json"),
            "version": cellflow.__version__,
        }
        path = self._input(stage, sample)
        if path:
            content["input"] = fingerprint(Path(path))
        elif isinstance(p, Predict | PredictNuclei) and (model := predict.stamp(p)):
            content["input"] = model
        return json.dumps(content, sort_keys=True)

    def _input(self, stage: str, sample: str) -> str | None:
        """The file of the user's that a stage reads."""
        chosen = self.samples[sample]
        if stage == "affinities" and chosen.affinities:
            return chosen.affinities.path
        if stage.startswith("ingest-") and not chosen.phantom:
            return self.sources(sample)[stage.removeprefix("ingest-")].path
        return None

    def chain(self, sample: str) -> list[str]:
        """The stages that a sample goes through, as its receipts are named."""
        roles = self.sources(sample)
        found = ["phantom"] if self.samples[sample].phantom else []
        found += [f"ingest-{role}" for role in roles]
        if self.samples[sample].affinities:
            found += ["affinities"]
        elif self._is_predicted(sample):
            found += ["normalise", "predict"]
        if "nuclei_raw" in roles:
            found += ["normalise-nuclei_raw", "predict-nuclei_raw"]
        nucleated = self.nuclei_from(sample) is not None
        found += ["supervoxels", *["nuclei"] * nucleated, "graph", "partition", *["reconcile"] * nucleated]
        return [*found, "clean", "segment", "scores", "report"]

    def _is_predicted(self, sample: str) -> bool:
        return not self.samples[sample].affinities and "boundaries" not in self.sources(sample)

    def nuclei_from(self, sample: str) -> str | None:
        """The stage that says where the nuclei of a sample are; None if nobody does."""
        beside = self.stages.nuclei.predicted and self._is_predicted(sample)
        return self.samples[sample].nuclei_from or ("predict" if beside else None)

    def offsets(self, sample: str) -> tuple[Triple, ...]:
        """Of the affinities that are given, or that a network, downloaded for it, will predict."""
        given = self.samples[sample].affinities
        if given:
            return given.offsets
        return predict.offsets_of(self.stages.predict) if "predict" in self.chain(sample) else ()

    def outdated(self) -> list[Path]:
        """Receipts that were made with other parameters than these, and all that stand on them.

        Snakemake knows that by itself as long as its folder `.snakemake` is there; receipts always know.
        """
        found: list[Path] = []
        for sample in self.samples:
            for stage in self.chain(sample):
                receipt = self._receipt(stage, sample)
                if receipt.exists():
                    made = json.loads(receipt.read_text())
                    before = [self._receipt(name, sample) for name in made["inputs"]]
                    stale = any(r in found or not r.exists() for r in before)
                    if stale or not self._agrees(made, stage, sample):
                        found.append(receipt)
        return found

    def _receipt(self, stage: str, sample: str) -> Path:
        return self.folder(sample) / f"{stage}.json"

    def _agrees(self, receipt: dict[str, Any], stage: str, sample: str) -> bool:
        wanted = json.loads(self.job(stage, sample))
        wanted["params"] = _told(wanted["params"], receipt["params"])
        return all(receipt[name] == wanted[name] for name in ("params", "storage", "version"))

    def check(self, where: str) -> None:
        """Open the head of every input. Raises `BadInput` for what is missing, of a wrong kind or shape."""
        for sample, chosen in self.samples.items():
            volumes: dict[str, Volume] = {}
            sources = {} if chosen.phantom else self.sources(sample)
            for role, source in {**sources, "affinities": chosen.affinities}.items():
                try:
                    if isinstance(source, Affinities):
                        volumes[role] = open_channels(source)[0]
                    elif source is not None:
                        volumes[role] = open_volume(source)
                except BadInput as error:
                    raise BadInput(f"{where}: samples.{sample}.{role}: {error}") from error
            same_shape(volumes, f"{where}: samples.{sample}")
            self.storage.fitted(self.shape(sample))
        for stage in ("predict", "predict-nuclei_raw"):
            if any(stage in self.chain(sample) for sample in self.samples):
                self._check_model(where, stage)
        for sample in self.samples:
            self._check_use(f"{where}: samples.{sample}", sample)

    def _check_model(self, where: str, stage: str) -> None:
        place = PLACES[stage]
        beside = any(self.nuclei_from(sample) == "predict" for sample in self.samples)
        try:
            predict.check(getattr(self.stages, place), nuclei=beside)
        except BadInput as error:
            raise BadInput(f"{where}: stages.{place}.predictor: {error}") from error

    def _check_use(self, where: str, sample: str) -> None:
        """What is given must be used, and what is asked for must have what it is for."""
        solver, rules = self.stages.partition.solver.name, self.stages.reconcile
        nucleated = self.nuclei_from(sample) is not None
        lifted, mutex = solver == "lifted_multicut", self.stages.supervoxels.mutex is not None
        if nucleated and not (lifted or rules.split or rules.join):
            raise BadInput(
                f"{where}: found nuclei that nothing goes by: the solver is {solver}, stages.reconcile has "
                "split off and join 0; take the solver lifted_multicut, or set split or join"
            )
        if not (mutex or (lifted and not nucleated)):
            return
        if "predict" in self.chain(sample) and not predict.is_here(self.stages.predict):
            return  # the plan, which downloads the model, finds out
        offsets = self.offsets(sample)
        if mutex and not offsets:
            raise BadInput(
                f"{where}: found no affinities, expected some for stages.supervoxels.mutex; add them, take a "
                "network that predicts them, or leave mutex out"
            )
        if lifted and not nucleated and (not offsets or is_direct(offsets).all()):
            raise BadInput(
                f"{where}: found neither nuclei nor affinities of long range, expected some for the solver "
                "lifted_multicut; add nuclei, nuclei_probability or nuclei_raw, or take the solver multicut"
            )


def from_mapping(content: object, where: str) -> Config:
    """The checked configuration; inputs are looked at as well."""
    config = checked(Config, content, where)
    config.check(where)
    return config


def load(path: Path) -> Config:
    """The configuration in a YAML file. Raises `BadInput`."""
    return from_mapping(read_yaml(path), str(path))


def read_yaml(path: Path) -> object:
    """What a YAML file holds. Raises `BadInput`."""
    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}; check the path") from error
    except yaml.YAMLError as error:
        problem = str(error).replace("\n", " ")
        raise BadInput(f"{path}: is not YAML: {problem:.200}") from error


def _told(wanted: Any, told: Any) -> Any:  # noqa: ANN401 - parameters as JSON
    """Without what a receipt does not repeat, such as a path."""
    if not (isinstance(wanted, dict) and isinstance(told, dict)):
        return wanted
    return {name: _told(value, told[name]) for name, value in wanted.items() if name in told}
