"""What the library asks of CuPy: names like ``xp.add.at``, found in its sources."""

import ast
from pathlib import Path

import tinydiff

PACKAGE = Path(tinydiff.__file__).parent


def names_used(source: str | None = None) -> dict[str, str]:
    """{"add.at": a file that says xp.add.at or cupy.add.at, …}, of the library or of a source"""
    sources = [("", source)] if source else [(p, p.read_text()) for p in PACKAGE.rglob("*.py")]
    return {
        chain: str(file)
        for file, text in sources
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and (chain := _chain(node))
    }


def _chain(node: ast.Attribute) -> str:
    """ "a.b" of the longest attribute xp.a.b; "" of one that begins elsewhere"""
    names = []
    while isinstance(node, ast.Attribute) and node.attr != "xp":
        names.append(node.attr)
        node = node.value
    root = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return ".".join(reversed(names)) if root in ("xp", "cupy") else ""


def has(module, chain: str) -> bool:
    """Does the module have a.b?"""
    for name in chain.split("."):
        if not hasattr(module, name):
            return False
        module = getattr(module, name)
    return True
