import psutil
import pytest
import torch

from lightning_reid import resources
from lightning_reid.errors import InputError

CPU = torch.device("cpu")


def test_free_memory_is_at_most_that_of_the_machine(monkeypatch):
    monkeypatch.setattr(resources, "_CONTROL_GROUPS", ())
    assert 0 < resources.available_memory(CPU) <= psutil.virtual_memory().total


def test_a_container_may_have_less(tmp_path, monkeypatch):
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(resources, "_CONTROL_GROUPS", ((str(limit), str(used)),))
    limit.write_text("3000\n")
    used.write_text("2500\n")
    assert resources.available_memory(CPU) == 500
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 300\nactive_file 40\n")
    assert resources.available_memory(CPU) == 840
    limit.write_text("max\n")
    assert resources.available_memory(CPU) > 10**6


def test_what_does_not_fit_is_refused_and_says_what_to_do():
    resources.require_memory("this", 1000, CPU, "nothing")
    with pytest.raises(InputError, match=r"^this needs about 1000000000\.0 GB"):
        resources.require_memory("this", 10**18, CPU, "take less")


def test_what_torch_has_cached_on_a_gpu_is_free_for_torch_alone(monkeypatch):
    gpu = torch.device("cuda", 1)
    numbers = {"mem_get_info": (10**9, 10**10), "memory_reserved": 7 * 10**9}
    for name, number in {**numbers, "memory_allocated": 3 * 10**9}.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, n=number: n if device == gpu else None)
    assert resources.available_memory(gpu) == 5 * 10**9
    resources.require_memory("this", 4 * 10**9, gpu, "take less")
    with pytest.raises(InputError, match=r"needs about 4\.0 GB .* 1\.0 GB are free on cuda"):
        resources.require_memory("this", 4 * 10**9, gpu, "take less", outside_torch=True)
    resources.require_memory("this", 1000, CPU, "take less", outside_torch=True)


def test_only_long_steps_are_announced(monkeypatch):
    said = []
    monkeypatch.setattr("lightning_reid.lightning.rank_zero_info", said.append)
    resources.announce("short", 2, 10**9)
    resources.announce("long", 150, 2 * 10**9)
    assert said == ["long: about 2 min and 2.0 GB of memory"]
