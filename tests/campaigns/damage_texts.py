"""Damage by seed, to settings, lists and checkpoints."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from .damage_scans import INF, NAN, Damage, damage_bytes

ODD_VALUES: Sequence[Any] = (
    *(None, True, False, -1, 0, 1, 3, 2**70, -(2**70), 1e38, 1e-320, 0.5, NAN, INF, "", " ", "x", "x" * 5000, "nan"),
    *(
        "$__import__('os').abort()",
        "@train",
        "%train",
        "#1",
        "a#b",
        "::",
        "None",
        "null",
        "off",
        "2024-01-01",
        "~",
        "/",
    ),
    *(
        "/dev/null",
        "\x00",
        "\ud800",
        "ü",
        "a\nb",
        [],
        [1],
        [1, 2, 3],
        [[1]],
        {},
        {"a": 1},
        {1: 2},
        {"_target_": "os.abort"},
    ),
)


def damage_yaml(rng: random.Random, path: Path) -> Damage:
    """Damage a YAML file: its bytes, a value or a key, or a text that YAML unfolds."""
    kind = rng.choice(("bytes", "value", "value", "value", "value", "key", "bomb"))
    if kind == "bytes":
        return Damage(f"bytes {damage_bytes(rng, path, checked=False).name}", noticeable=False)
    if kind == "bomb":
        bombs = (
            "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*{'a' if not n else f'b{n - 1}'}, *a]\n" for n in range(40)),
            "a: " + "[" * 5000,
            "a: " + "{b: " * 2000,
            "train: &t\n  lr: *t\n",
            "? [1, 2]\n: 3\n",
            "&a [*a]\n",
            "train: !!python/object/apply:os.abort []\n",
        )
        path.write_text(rng.choice(bombs) + (path.read_text() if rng.random() < 0.5 else ""))
        return Damage("a bomb", noticeable=False)
    content = yaml.safe_load(path.read_text()) or {}
    sections = [value for value in content.values() if isinstance(value, dict) and value] or [content]
    section = rng.choice([content, *sections])
    key = rng.choice(list(section))
    if kind == "key":
        odd = rng.choice(("nothing", "trian", 1, None, True, "a::b", "", "train#lr", "_target_"))
        section[odd] = section.pop(key)
        name = f"key {key} is {odd!r}"
    else:
        section[key] = rng.choice(ODD_VALUES)
        name = f"{key} is {section[key]!r:.40}"
    path.write_bytes(yaml.safe_dump(content, allow_unicode=True).encode("utf-8", "surrogatepass"))
    return Damage(name, noticeable=False)


def damage_list(rng: random.Random, path: Path) -> Damage:
    """Damage a case list in JSON: its bytes, an entry, a path, or its nesting."""
    kind = rng.choice(("bytes", "value", "value", "value", "no key", "twice", "nested"))
    if kind == "bytes":
        return Damage(f"bytes {damage_bytes(rng, path, checked=False).name}", noticeable=False)
    content = json.loads(path.read_text())
    split = rng.choice([name for name, entries in content.items() if isinstance(entries, list) and entries])
    number = rng.randrange(len(content[split]))
    key = rng.choice(sorted(content[split][number]))
    name = f"{split}[{number}].{key}"
    if kind == "twice":
        content[split].append(dict(content[split][number]))
    elif kind == "no key":
        del content[split][number][key]
    elif kind == "nested":
        path.write_text(rng.choice(("[" * 100_000, '{"training": ' * 50_000, "[]", "null", '"x"', "1e999", "NaN")))
        return Damage("odd nesting", noticeable=False)
    elif rng.random() < 0.7:
        content[split][number][key] = rng.choice(ODD_VALUES)
        name += f" is {content[split][number][key]!r:.40}"
    else:
        holder = rng.choice((content[split], content))
        holder[number if holder is content[split] else split] = rng.choice(ODD_VALUES)
        name = f"{split} or an entry of it is odd"
    path.write_text(json.dumps(content))
    return Damage(f"{name} {kind}", noticeable=False)


def damage_csv(rng: random.Random, path: Path) -> Damage:
    """Damage a list of pairs: its bytes, a cell, a line."""
    kind = rng.choice(("bytes", "cell", "cell", "line"))
    if kind == "bytes":
        return Damage(f"bytes {damage_bytes(rng, path, checked=False).name}", noticeable=False)
    lines = [line.split(",") for line in path.read_text().splitlines()]
    line = rng.choice(lines)
    odd = str(rng.choice(ODD_VALUES))
    if kind == "cell":
        line[rng.randrange(len(line))] = odd
    else:
        line[:] = rng.choice(([], line * 3, line[:1], [odd]))
    path.write_bytes("\n".join(map(",".join, lines)).encode("utf-8", "surrogatepass"))
    return Damage(f"{kind} {odd!r:.40}", noticeable=False)


def damage_checkpoint(rng: random.Random, path: Path) -> Damage:
    """Damage a checkpoint: its bytes, its weights, or another entry."""
    kind = rng.choice(("bytes", "bytes", "weight", "weight", "entry", "setting", "setting"))
    if kind == "bytes":
        return Damage(f"bytes {damage_bytes(rng, path, checked=True).name}")
    content = torch.load(path, weights_only=True)
    name, noticeable = kind, True
    if kind == "weight":
        weights = content[rng.choice([key for key in ("network", "ema") if key in content])]
        key = rng.choice(sorted(weights))
        name, weights[key] = rng.choice(
            [
                ("a nan weight", weights[key] * NAN),
                ("an inf weight", weights[key] + INF),
                ("a weight of another shape", torch.zeros(3, 3)),
                ("a weight that is a text", "x"),
                ("a complex weight", weights[key] * 1j),
            ]
        )
        if rng.random() < 0.2:
            del weights[key]
            name = "a missing weight"
        if "network" in content and weights is content["network"]:
            noticeable = "ema" not in content  # inference uses the averaged ones
    elif kind == "entry":
        key = rng.choice(sorted(content))
        name, content[key] = f"entry {key} is odd", rng.choice((None, 1, "x", [], {}, {"a": 1}, torch.zeros(2), 2**70))
        noticeable = False
    else:
        section = rng.choice(sorted(content["settings"]))
        key = rng.choice(sorted(content["settings"][section]))
        odd = rng.choice(ODD_VALUES)
        content["settings"][section][key] = odd
        name, noticeable = f"{section}.{key} is {odd!r:.40}", False
    torch.save(content, path)
    return Damage(name, noticeable)
