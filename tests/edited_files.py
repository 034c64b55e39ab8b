"""Files of a run, edited at random as a fault or somebody who means harm might."""

import csv
import io
import json
import zipfile

import numpy as np
import torch
import yaml

HOSTILE = "\x1b]8;;http://x\x07\u202e\r=1+1<script>'\"\n"
DEPTH = 300  # deeper than files of ours, and what pickle can still write


def edit(file, rng):
    """Change a file at random; return in words how.

    Half of the edits are of bytes; the others are of what a file of that kind holds.
    """
    edits = {
        ".ckpt": _edit_checkpoint,
        ".json": _edit_json,
        ".yaml": _edit_yaml,
        ".csv": _edit_csv,
        ".npz": _edit_arrays,
    }
    content = edits.get(file.suffix)
    if content is None or rng.random() < 0.4:
        return _edit_bytes(file, rng)
    return content(file, rng)


def odd_values(rng):
    """Values that are seldom right where another was."""
    shared = []
    for _ in range(40):
        shared = [shared, shared]  # 2^40 lists, for whoever counts them
    cyclic = {}
    cyclic["itself"] = cyclic
    deep = []
    for _ in range(DEPTH):
        deep = [deep]
    return {
        "None": None,
        "text": "x",
        "hostile text": HOSTILE,
        "long text": "y" * 1_000_000,
        "-1": -1,
        "0": 0,
        "10^12": 10**12,
        "10^5000": 10**5000,
        "2.5": 2.5,
        "nan": float("nan"),
        "-inf": -float("inf"),
        "True": True,
        "[]": [],
        "{}": {},
        "class_path": {"class_path": "os.mkdir", "init_args": {"path": "sign"}},
        "shared lists": shared,
        "cyclic": cyclic,
        "deep": deep,
        "row": torch.arange(3),
        "scalar": torch.tensor(float("nan")),
        "expanded": torch.zeros(1).expand(2**20, 2**20),
        "complex": torch.zeros(2, 2, dtype=torch.complex64),
        "sparse": torch.eye(3).to_sparse(),
        "no numbers": torch.empty(0),
    }


def _edit_checkpoint(file, rng):
    content = torch.load(file, weights_only=True)
    told = _edit_tree(content, rng, odd_values(rng))
    torch.save(content, file)
    return told


def _edit_json(file, rng):
    content = json.loads(file.read_text())
    if rng.random() < 0.1:
        file.write_text("[" * 100_000)
        return "deeply nested"
    told = _edit_tree(content, rng, _plain_values(rng))
    file.write_text(json.dumps(content))
    return told


def _edit_yaml(file, rng):
    content = yaml.safe_load(file.read_text())
    told = _edit_tree(content, rng, _plain_values(rng))
    file.write_text(yaml.safe_dump(content))
    return told


def _plain_values(rng):
    odd = odd_values(rng)
    names = ("None", "text", "hostile text", "-1", "0", "10^12", "2.5", "nan", "-inf", "True")
    return {name: odd[name] for name in (*names, "[]", "{}", "class_path")}


def _edit_tree(content, rng, values):
    """Remove, rename or replace one entry, at any depth."""
    places = list(_places(content))
    # as often near the top as deep inside
    depth = rng.choice(sorted({len(path) for path, _ in places}))
    path, holder = rng.choice([place for place in places if len(place[0]) == depth])
    kind = rng.choice(["remove", "rename", "replace", "replace", "replace"])
    key, told = path[-1], "/".join(map(str, path))
    if kind == "remove":
        del holder[key]
    elif kind == "rename" and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    elif isinstance(holder[key], torch.Tensor) and rng.random() < 0.5:
        changes = {
            "transposed": lambda t: t[None],
            "whole numbers": lambda t: t.to(torch.int64),
            "not a number": lambda t: t.double() * float("nan"),
            "half": lambda t: t[: len(t) // 2] if t.ndim else t,
            "huge numbers": lambda t: t * 10**9 if t.dtype != torch.bool else t,
        }
        name = rng.choice(sorted(changes))
        holder[key] = changes[name](holder[key])
        return f"{told} {name}"
    else:
        name = rng.choice(sorted(values))
        holder[key] = values[name]
        return f"{told} = {name}"
    return f"{kind} {told}"


def _places(content, path=()):
    if isinstance(content, dict):
        pairs = content.items()
    elif isinstance(content, list):
        pairs = enumerate(content)
    else:
        return
    for key, value in pairs:
        yield (*path, key), content
        yield from _places(value, (*path, key))


def _edit_csv(file, rng):
    rows = list(csv.reader(file.read_text().splitlines()))
    row = rng.choice(rows)
    values = ["", "nan", "-1e400", "x", HOSTILE, "z" * 200_000, "0x10", "1_0", "9" * 5000]
    kind = rng.choice(["cell", "cell", "header", "row", "add"])
    if kind == "row":
        rows.remove(row)
    elif kind == "add":
        row.extend(["1", "x"])
    else:
        chosen = rows[0] if kind == "header" else row
        chosen[rng.randrange(len(chosen))] = rng.choice(values)
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    file.write_bytes(text.getvalue().encode())
    return f"{kind} of {file.name}"


def _edit_arrays(file, rng):
    with np.load(file) as stored:
        arrays = dict(stored)
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    kind = rng.choice(["remove", "float", "text", "shorter", "deeper", "negative", "claim"])
    if kind == "claim":  # more rows than there are bytes
        _claim(file, name)
        return f"{name} claims 10^12 rows"
    made = {
        "float": lambda: array.astype(np.float64) if array.dtype.kind in "iu" else array[None],
        "text": lambda: np.array(["\0", HOSTILE]),
        "shorter": lambda: array[: array.size // 2] if array.ndim else array,
        "deeper": lambda: array[None, None],
        "negative": lambda: -1 - array.astype(np.int64) if array.dtype.kind in "iu" else array,
    }
    if kind == "remove":
        del arrays[name]
    else:
        arrays[name] = made[kind]()
    np.savez(file, **arrays)
    return f"{name} {kind}"


def _claim(file, name):
    """Let the header of an array tell of 10^12 rows."""
    with zipfile.ZipFile(file) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    header = io.BytesIO()
    told = {"descr": "<i8", "fortran_order": False, "shape": (10**12, 2)}
    np.lib.format.write_array_header_1_0(header, told)
    members[f"{name}.npy"] = header.getvalue() + bytes(64)
    with zipfile.ZipFile(file, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def _edit_bytes(file, rng):
    content = bytearray(file.read_bytes())
    kind = rng.choice(["flip", "flips", "cut", "zeros", "add", "empty", "noise"])
    if kind in ("flip", "flips"):
        for _ in range(1 if kind == "flip" else 300):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del content[rng.randrange(len(content)) :]
    elif kind == "zeros":
        start = rng.randrange(len(content))
        content[start : start + 64] = bytes(64)
    elif kind == "add":
        content += rng.randbytes(100)
    else:
        content = b"" if kind == "empty" else rng.randbytes(len(content))
    file.write_bytes(content)
    return f"bytes: {kind}"
