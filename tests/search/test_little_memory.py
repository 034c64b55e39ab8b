"""A search in a process that may take little memory."""

import pytest
from forked_commands import run_python

LIMITED = """
import resource, sys
from pathlib import Path
import lightning_reid.search.command
from lightning_reid.cli import main
pages = int(Path("/proc/self/statm").read_text().split()[0])
most = pages * resource.getpagesize() + int(sys.argv.pop(1)) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (most, most))
main()
"""


# too little for the product of a query and the gallery, and for the network
@pytest.mark.parametrize(("room", "size"), [(40, [32, 16]), (40, [512, 256])])
def test_it_says_that_there_is_too_little(model, crops, query, room, size):
    given = [f"--ckpt_path={model}", f"--gallery={crops}", f"--query={query}", "--num_workers=0"]
    ended = run_python("-c", LIMITED, room, "search", *given, f"--size={size}")
    assert ended.status == 1
    told = [line for line in ended.errors.splitlines() if line.startswith("lightning-reid: ")]
    assert len(told) == 1
    assert told[0].startswith("lightning-reid: out of memory")
    assert "Traceback" not in ended.errors
    assert "OpenBLAS" not in ended.output + ended.errors
