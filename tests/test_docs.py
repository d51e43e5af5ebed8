"""What the documents say holds: code on the page runs, links lead somewhere, names exist."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import tinydiff

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tinydiff"
PAGES = [p for p in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if p.exists()]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = "<!-- not run -->"
# Where names begin that a page may use without "tinydiff."
SHORT = ("ops", "nn", "optim", "data", "models", "diffusion", "training", "backend", "images")


def code_blocks(page: Path) -> list[tuple[int, str]]:
    """(line, source) of every Python block of a page that is to be run."""
    text = page.read_text()
    return [
        (text.count("\n", 0, block.start()) + 1, block[2])
        for block in FENCED.finditer(text)
        if block[1] == "python" and not text[: block.start()].rstrip().endswith(NOT_RUN)
    ]


@every_page
def test_code_runs(page, tmp_path, monkeypatch):
    """The blocks of a page one after the other, as a reader would type them, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = {"__name__": page.stem}
    for line, source in code_blocks(page):
        # Empty lines in front: a traceback shows the line of the page.
        exec(compile("\n" * line + source, str(page), "exec"), names)


def test_there_is_code_to_run():
    assert len(code_blocks(ROOT / "docs" / "architecture.md")) >= 4


@every_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith(("https://", "http://", "#")):
            path = (page.parent / target.partition("#")[0]).resolve()
            assert path.exists(), f"{page.name} links to {target}"
            assert ROOT in path.parents, f"{page.name} links out of the repository: {target}"


def exists(name: str) -> bool:
    """Is there a module, or something in one, of this dotted name?"""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:n]))
        except ImportError:
            continue
        for part in parts[n:]:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


def dotted_names(text: str) -> set[str]:
    """Every tinydiff.x.y in a text, and td.x or ops.x for it, between backquotes."""
    prose = FENCED.sub("", text)
    names = set()
    for span in re.findall(r"`([^`\n]+)`", prose):
        for name in re.findall(r"(?<![\w./])[a-z_]+(?:\.\w+)+(?![\w/])", span):
            first, _, rest = name.partition(".")
            if first in ("tinydiff", "td") and rest != "py":
                names.add(f"tinydiff.{rest}")
            elif first in SHORT and rest != "py":
                names.add(f"tinydiff.{name}")
    return names


@every_page
def test_names_exist(page):
    missing = [name for name in sorted(dotted_names(page.read_text())) if not exists(name)]
    assert missing == []


def test_names_are_found_where_they_stand():
    found = dotted_names("`tinydiff.ops.conv2d`, `td.seed(1)`, `ops/conv.py` and `nn.checks`; x.y")
    assert found == {"tinydiff.ops.conv2d", "tinydiff.seed", "tinydiff.nn.checks"}
    assert exists("tinydiff.diffusion.GaussianDiffusion.q_sample")
    assert not exists("tinydiff.ops.conv3d")
    assert not exists("tinydiff.nothing.at_all")


@every_page
def test_files_named_exist(page):
    """`tests/ops/cases.py` and its like, from the root; `ops/norm.py`, from the package."""
    prose = FENCED.sub("", page.read_text())
    named = re.findall(r"`((?:\w+/)+\w*(?:\.py)?)(?: [^`]*)?`", prose)
    for path in named:
        if path.startswith("runs/"):
            continue
        assert (ROOT / path).exists() or (PACKAGE / path).exists(), f"{page.name} names {path}"


def test_lecture_links_a_name_to_the_file_it_is_in():
    text = (ROOT / "docs" / "lecture.md").read_text()
    rows = re.findall(r"\[`(tinydiff\.[\w.]+)`\]\(\.\./([^)]+)\)", text)
    assert len(rows) > 40
    for name, file in rows:
        thing, path = tinydiff, "tinydiff"
        for part in name.split(".")[1:]:
            path += f".{part}"
            thing = getattr(thing, part, None) or importlib.import_module(path)
        assert Path(inspect.getsourcefile(inspect.unwrap(thing))) == ROOT / file, name


# The floors


def floors() -> list[str]:
    """The tree on the page, from top to bottom: names of packages and modules in tinydiff/."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    tree = text.partition("tinydiff/\n")[2].partition("```")[0]
    return [line.split()[0].removesuffix("/").removesuffix(".py") for line in tree.splitlines()]


def imports(file: Path):
    """(name, is it outside of functions?) for everything of tinydiff that a file imports."""
    tree = ast.parse(file.read_text())
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.Lambda))]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinydiff"):
            module = node.module.split(".")[1:]
            for name in [module[0]] if module else [alias.name for alias in node.names]:
                yield name, id(node) not in inside
        elif isinstance(node, ast.Import):
            for alias in node.names:
                assert not alias.name.startswith("tinydiff"), f"{file}: write from tinydiff import"


def test_every_room_is_on_the_page():
    rooms = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert set(floors()) == rooms - {"__init__"}


def test_floors_import_only_from_below():
    order = floors()
    for file in sorted(PACKAGE.rglob("*.py")):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for name, outside in imports(file):
            assert outside, f"{file} imports {name} inside a function"
            assert name == room or order.index(name) > order.index(room), f"{file} imports {name}"


def test_cupy_and_matplotlib_stay_in_their_rooms():
    allowed = {"cupy": ("backend.py", "gpu.py", "kernels/cuda/"), "matplotlib": ("plots.py",)}
    for file in sorted(PACKAGE.rglob("*.py")):
        place = file.relative_to(PACKAGE).as_posix()
        for module, rooms in allowed.items():
            uses = re.search(rf"^\s*(import|from) {module}\b", file.read_text(), re.MULTILINE)
            assert not uses or place.startswith(rooms), f"{place} imports {module}"
