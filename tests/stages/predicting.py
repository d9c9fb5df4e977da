"""Samples that a network predicts, and networks whose weights are set by hand so that they see something."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import yaml
from conftest import MODULES, Sample
from small_networks import network, save

from cellflow.core.tiles import Lattice, assembled
from cellflow.engine.stage import Job
from cellflow.networks.model import load_model
from cellflow.stages.predict import Network, Params
from cellflow.stages.predict.image import Image
from cellflow.stages.predict.network import facts_of
from cellflow.stages.predict.tiles import Work, shown

DIRECT = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
BOUNDARY = {"name": "boundary"}


def predictor(model, **more):
    """Parameters of a network; its only head predicts boundaries if nothing is said."""
    head = {} if "architecture" in more else {"head": BOUNDARY}
    return Network.model_validate({"model": str(model), "device": "cpu", **head, **more})


@dataclass
class Predicted(Sample):
    """A sample whose boundaries a network predicts."""

    network: Network | None = None

    def job(self, name):
        if name == "graph":
            return Job(name, self.folder, MODULES[name].Params(), self.storage, ("predict", "supervoxels"))
        if name != "predict":
            return super().job(name)
        after = ("normalise", *(["ingest-mask"] if "mask" in self.volumes else []))
        private, p = MODULES[name].PRIVATE, Params(predictor=self.network)
        return Job(name, self.folder, p, self.storage, after, private=private, stamp=MODULES[name].stamp(p))

    def predict(self):
        """The result of the prediction."""
        before = [f"ingest-{role}" for role in self.volumes]
        return self.run(*before, "normalise", "predict")["predict"]["result"]


def image_of(raw, **more):
    """A volume in memory, normalised by its own mean and deviation."""
    given = {"offset": raw.mean(), "scale": raw.std()} | more
    numbers = {name: np.atleast_1d(given.pop(name)).astype(np.float32) for name in ("offset", "scale")}
    return Image(raw=raw, background=float("-inf"), **numbers, **given)


def tiled(running, image, p, core):
    """All maps (channel, z, y, x), tile by tile, in float32."""
    lattice = facts_of(p).lattice(image.shape, p, core)
    work = Work(image, p.spec, running.setting, 1)
    made = [
        (tile, running.submit(values[None], tile.inner, [tile.crop], as_bytes=False).result()[0])
        for tile, values in shown(work.image, list(lattice))
    ]
    whole = tuple(slice(0, n) for n in image.shape)
    put = partial(assembled, lattice=lattice, box=whole, profile=p.profile)
    return np.stack([put([(tile, maps[c]) for tile, maps in made]) for c in range(len(made[0][1]))])


def untiled(p, image, name="boundary"):
    """One pass of the bare network over the whole volume, mirrored at its ends."""
    model = load_model(p.spec, "cpu")
    margin = Lattice(image.shape, image.shape, facts_of(p).period, facts_of(p).reach).margin
    ends = [-n % q for n, q in zip(image.shape, facts_of(p).period, strict=True)]
    pad = [(m, m + e) for m, e in zip(margin, ends, strict=True)]
    normalised = (image.raw.astype(np.float32) - image.offset) / image.scale
    maps = model(np.pad(normalised, pad, mode="reflect")[None, None])[name][0]
    return maps[(slice(None), *(slice(m, m + n) for m, n in zip(margin, image.shape, strict=True)))]


def seeing(folder, offsets=(), *, boundary=False, turned=False):
    """A network that looks at bytes of a boundary map: affinities from both ends of a pair, or boundaries."""
    heads = [{"name": "affinities", "offsets": [list(step) for step in offsets]}] if offsets else []
    heads += [BOUNDARY] if boundary else []
    block = {"layer_order": "cr", "f_maps": 8, "num_levels": 2, "heads": heads}
    made = network(**block)
    for values in made.parameters():
        values.data.zero_()
    weights = {name: values.data for name, values in made.named_parameters()}
    weights["encoders.0.basic_module.SingleConv1.conv.weight"][0, 0, 1, 1, 1] = 1
    second = weights["encoders.0.basic_module.SingleConv2.conv.weight"]
    for k, step in enumerate(offsets):
        second[k, 0, 1, 1, 1] = 1
        second[(k, 0, *np.add(step, 1))] += 1
    second[7, 0, 1, 1, 1] = 1
    for number in (1, 2):
        for k in range(8):
            weights[f"decoders.0.basic_module.SingleConv{number}.conv.weight"][k, k, 1, 1, 1] = 1
    last = {head["name"]: "final_conv" if len(heads) == 1 else f"heads.{head['name']}" for head in heads}
    sign = -1 if turned else 1
    for k in range(len(offsets)):
        weights[f"{last['affinities']}.weight"][k, k] = -10 * sign
        weights[f"{last['affinities']}.bias"][k] = 8 * sign
    if boundary:
        weights[f"{last['boundary']}.weight"][0, 7] = 10
        weights[f"{last['boundary']}.bias"][0] = -5
    path = save(folder, made.state_dict(), "model.pytorch", config=False)
    about = {"architecture": block, "normalisation": {"name": "fixed", "scale": 255}}
    path.with_suffix(".yaml").write_text(yaml.safe_dump(about))
    return path


def lively(folder, **block):
    """A saved network of random weights that is neither sure nor indifferent, and uses its deep levels."""
    made = network(**block)
    weights = {name: values.data for name, values in made.named_parameters()}
    for name, values in weights.items():
        if name.endswith("conv.weight"):
            values.mul_(3)
    torch.manual_seed(1)
    shown_ = torch.randn(1, 1, *[32] * made.architecture.dims)
    with torch.inference_mode():
        bare = torch.logit(made(shown_)["boundary"].double().clamp(1e-12, 1 - 1e-12))
    weights["final_conv.weight"] *= 2 / float(bare.std())
    weights["final_conv.bias"] -= float(bare.mean())
    weights["final_conv.bias"] *= 2 / float(bare.std())
    about = {"out_channels": 1, "f_maps": 4, "num_levels": 2, "layer_order": "bcr", **block}
    return save(folder, {"model_state_dict": made.state_dict()}, config={"model": about})
