"""The table that `Module.summary` returns."""

from __future__ import annotations

from tinydiff.nn.frozen import frozen
from tinydiff.nn.watch import watching
from tinydiff.recording import no_grad

HEADINGS = ("layer", "type", "output", "parameters")


def table(model, inputs: tuple, settings: dict) -> str:
    """One line for each module that has no others inside, or has parameters of its own."""
    shapes = _output_shapes(model, inputs, settings)
    own = dict.fromkeys(model.modules(), 0)
    owners = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        own[owners[name.rpartition(".")[0]]] += parameter.size
    inner = {path.rpartition(".")[0] for path in owners if path}
    rows = [
        (path or "(itself)", type(module).__name__, shapes.get(module, "-"), f"{own[module]:,}")
        for path, module in owners.items()
        if path not in inner or own[module]
    ]
    total = model.num_parameters()
    frozen = sum(p.size for p in model.parameters() if not p.requires_grad)
    footer = f"{total:,} parameters" + (f", {frozen:,} of them frozen" if frozen else "")
    return "\n".join([*_aligned([HEADINGS, *rows]), footer])


def _output_shapes(model, inputs: tuple, settings: dict) -> dict:
    """module → the shapes of its (last) answer, as text."""
    shapes = {}

    def note(module, output) -> None:
        outputs = output if isinstance(output, (tuple, list)) else (output,)
        shapes[module] = ", ".join(str(o.shape) for o in outputs if hasattr(o, "shape"))

    with watching(note), frozen(model), no_grad():
        model(*inputs, **settings)
    return shapes


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns of equal width, numbers to the right, with a rule under the headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(w) for cell, w in zip(row[:-1], widths[:-1], strict=True)]
        lines.append("  ".join([*cells, row[-1].rjust(widths[-1])]))
    rule = "-" * len(lines[0])
    return [lines[0], rule, *lines[1:], rule]
