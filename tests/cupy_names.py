"""What the library asks of CuPy: names like ``xp.add.at``, found in its sources."""

import ast
from pathlib import Path

import tinydiff

PACKAGE = Path(tinydiff.__file__).parent


# What a name stands for in a module that says "from cupy import cuda".
_SHORT = {"cuda": "cuda.", "cublas": "cuda.cublas.", "runtime": "cuda.runtime."}


def names_used(source: str | None = None) -> dict[str, str]:
    """{"add.at": a file that says xp.add.at or cupy.add.at, …}, of the library or of a source"""
    sources = [("", source)] if source else [(p, p.read_text()) for p in PACKAGE.rglob("*.py")]
    return {
        chain: str(file)
        for file, text in sources
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute)
        if (chain := _chain(node, _SHORT if "from cupy import cuda" in text else {}))
    }


def _chain(node: ast.Attribute, short: dict[str, str]) -> str:
    """ "a.b" of the longest attribute xp.a.b; "" of one that begins elsewhere"""
    names = []
    while isinstance(node, ast.Attribute) and node.attr != "xp":
        names.append(node.attr)
        node = node.value
    root = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    known = {"xp": "", "cupy": ""} | short
    return known[root] + ".".join(reversed(names)) if root in known else ""


def has(module, chain: str) -> bool:
    """Does the module have a.b?"""
    for name in chain.split("."):
        if not hasattr(module, name):
            return False
        module = getattr(module, name)
    return True
