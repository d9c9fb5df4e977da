"""The device that was asked for, or one line."""

import pytest
import torch

from cellflow.core.errors import BadInput
from cellflow.networks.device import device_of, slow

GPU = torch.cuda.is_available()


def test_a_cpu_is_always_there():
    assert device_of("cpu") == torch.device("cpu")
    assert device_of("auto").type == ("cuda" if GPU else "cpu")


@pytest.mark.skipif(GPU, reason="a GPU is visible")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:1"])
def test_a_gpu_that_is_not_there_stops_the_run(name):
    with pytest.raises(
        BadInput, match=f"device: found {name}, expected a GPU that is visible here"
    ) as caught:
        device_of(name)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not GPU, reason="no GPU is visible")
def test_a_gpu_that_is_there_is_taken():
    assert device_of("cuda") == torch.device("cuda", 0)
    with pytest.raises(BadInput):
        device_of("cuda:99")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "", "mps"])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(BadInput, match="expected auto, cpu, cuda or cuda:NUMBER"):
        device_of(name)


@pytest.mark.parametrize(("precision", "asked"), [("bfloat16", "bf16"), ("float16", "fp16")])
def test_a_precision_that_a_cpu_does_not_have_is_warned_of(precision, asked, monkeypatch):
    known = f"_is_mkldnn_{asked}_supported"
    monkeypatch.setattr(torch.ops.mkldnn, known, lambda: False)
    (line,) = slow("cpu", precision)
    assert f"precision {precision} is many times slower than float32" in line
    monkeypatch.setattr(torch.ops.mkldnn, known, lambda: True)
    assert slow("cpu", precision) == []


def test_a_precision_that_every_processor_has_is_not_warned_of():
    assert slow("cpu", "float32") == []
