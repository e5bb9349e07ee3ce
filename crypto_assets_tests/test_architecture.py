"""The shape of the house: who may import whom, what a module is called, how long it is, what an import costs."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "crypto_assets"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 300

# What each part may import of ours, beside itself. `exchange.markets` is the one module of `exchange` open to `frames`.
ALLOWED = {
    "domain": set(),
    "settings": {"domain", "variables"},
    "variables": {"domain"},
    "exchange": {"domain"},
    "sandbox": {"domain"},
    "frames": {"domain", "exchange.markets"},
    "database": {"domain", "settings"},
    "quality": {"domain", "database"},
    "report": {"domain", "database", "quality"},
    "alerts": {"domain", "exchange.proxies"},
    "collect": {"domain", "exchange", "frames", "database", "quality"},
    "orchestration": {"domain", "exchange", "frames", "database", "quality", "collect", "alerts", "report"},
    "composition": {"domain", "settings", "exchange", "database", "quality", "orchestration"},
    "definitions": {"domain", "settings", "alerts", "orchestration", "composition"},
    "cli": {
        *("domain", "settings", "variables", "exchange", "database", "quality", "report", "sandbox"),
        *("collect", "orchestration", "composition", "definitions"),
    },
}
DAGSTER = {"orchestration", "definitions", "cli"}
STANDARD_LIBRARY_ONLY = {"domain"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Every module imported anywhere in a file, inside functions and for types only included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it points"
            found.add(node.module or "")
            if node.module == "crypto_assets":
                found |= {f"crypto_assets.{alias.name}" for alias in node.names}
    return found


def part_of(module: str) -> str:
    """`domain` of `crypto_assets.domain.spans`, empty for the package itself."""
    return [*module.split("."), ""][1]


def is_allowed(part: str, imported: str) -> bool:
    target = imported.removeprefix("crypto_assets").removeprefix(".")
    if not target or part_of(imported) == part:
        return True
    return any(target == allowed or target.startswith(f"{allowed}.") for allowed in ALLOWED[part])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path):
    part = part_of(name_of(path))
    ours = {module for module in imports_of(path) if module.split(".")[0] == "crypto_assets"}
    if not part:
        assert ours == set()
    else:
        assert part in ALLOWED, f"{part} is a new part of the house: say here what it may import"
        assert sorted(module for module in ours if not is_allowed(part, module)) == []


@pytest.mark.parametrize("path", [path for path in MODULES if part_of(name_of(path)) == "orchestration"], ids=name_of)
def test_what_needs_no_dagster_is_not_in_dagsters_room(path):
    is_only_a_docstring = len(ast.parse(path.read_text(encoding="utf-8")).body) == 1
    imported = {module.split(".")[0] for module in imports_of(path)}
    assert is_only_a_docstring or "dagster" in imported


def test_the_rule_itself_refuses_what_it_should():
    assert not is_allowed("domain", "crypto_assets.settings")
    assert not is_allowed("frames", "crypto_assets.exchange.binance.client")
    assert is_allowed("frames", "crypto_assets.exchange.markets")
    assert not is_allowed("orchestration", "crypto_assets.cli.demo")
    assert not is_allowed("quality", "crypto_assets.frames.candles")


VENUES = sorted(path.parent.name for path in (PACKAGE / "exchange").glob("*/venue.py"))
# Beside a venue's own package and the sandbox, which plays one on the wire: the registry, and the default provider.
NAMES_A_VENUE = {"exchange.venues", "domain.entities"}


def words_of(path: Path) -> set[str]:
    """Every name and every text in a module's code; what docstrings and comments say is not among them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    words = imports_of(path)
    docstrings = set()
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant() as text):
                docstrings.add(text)
            case ast.Constant(value=str() as word) if node not in docstrings:
                words.add(word)
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.arg(arg=word):
                words.add(word)
            case ast.FunctionDef(name=word) | ast.ClassDef(name=word) | ast.alias(name=word):
                words.add(word)
            case ast.keyword(arg=str() as word):
                words.add(word)
    return words


def may_name_a_venue(module: str) -> bool:
    house, _, rest = module.partition(".")
    assert house == "crypto_assets"
    own = any(rest == f"exchange.{venue}" or rest.startswith(f"exchange.{venue}.") for venue in VENUES)
    return own or rest in NAMES_A_VENUE or part_of(module) == "sandbox"


def test_the_venues_are_known():
    assert VENUES == ["binance"]


@pytest.mark.parametrize("path", [path for path in MODULES if not may_name_a_venue(name_of(path))], ids=name_of)
def test_nothing_but_its_own_package_names_a_venue(path):
    naming = sorted(word for word in words_of(path) if any(venue in word.lower() for venue in VENUES))
    assert naming == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_dagster_and_the_rest_stay_in_their_rooms(path):
    part = part_of(name_of(path))
    imported = {module.split(".")[0] for module in imports_of(path)}
    if part not in DAGSTER:
        assert imported.isdisjoint({"dagster", "dagster_webserver", "dagster_graphql"})
    if part in STANDARD_LIBRARY_ONLY:
        assert imported - {"crypto_assets"} <= sys.stdlib_module_names
    if part != "exchange":
        assert "ccxt" not in imported


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is_for_and_stays_short(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= MAX_LINES
    assert path.stem not in {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}


def python(code: str, cwd: Path) -> str:
    """What a fresh interpreter prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_ASSETS_")}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("crypto_assets.domain", ["dagster", "ccxt", "pandera", "sqlalchemy", "pandas", "numpy", "aiohttp"]),
        ("crypto_assets.cli", ["dagster", "ccxt", "pandera", "sqlalchemy", "alembic", "pandas", "aiohttp"]),
        ("crypto_assets.database.queries", ["dagster", "ccxt", "pandera", "alembic", "aiohttp"]),
        ("crypto_assets.definitions", ["ccxt", "pandera", "alembic", "aiohttp", "crypto_assets.exchange.binance"]),
    ],
)
def test_an_import_loads_only_what_it_needs(module, unwanted, tmp_path):
    modules = "entities", "intervals", "spans"
    also = "".join(f"; import {module}.{each}" for each in modules if module.endswith("domain"))
    loaded = python(f"import sys; import {module}{also}; print([n for n in {unwanted} if n in sys.modules])", tmp_path)
    assert loaded == "[]"


WATCHED_IMPORT = """
import sys
import {dependencies}
seen = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "sqlite3.connect", "subprocess.Popen"):
        seen.append((event, str(arguments)))
    if event == "open" and (str(arguments[1]) not in ("r", "rb", "None") or arguments[2] & 3):
        if not str(arguments[0]).endswith((".pyc", "/dev/null")) and "__pycache__" not in str(arguments[0]):
            seen.append((event, str(arguments)))
    if event == "open" and str(arguments[0]).endswith((".db", ".yaml", ".yml", ".env", ".toml")):
        seen.append((event, str(arguments)))
sys.addaudithook(watch)
import crypto_assets.definitions, crypto_assets.cli, crypto_assets.sandbox.server
print(seen)
"""


def test_an_import_neither_writes_a_file_nor_opens_a_connection(tmp_path):
    # The dependencies are loaded first: what they do at import is not ours.
    dependencies = "dagster, pandas, sqlalchemy, aiohttp.web, click, rich.console, pydantic_settings, orjson"
    assert python(WATCHED_IMPORT.format(dependencies=dependencies), tmp_path) == "[]"
    assert list(tmp_path.iterdir()) == []


def project_files() -> list[Path]:
    """What git tracks or would track."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing says which files belong to the project")
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_registry_host():
    hosts = [b"pypi" + b".org", b"python" + b"hosted.org"]
    naming = [str(path) for path in project_files() if any(host in path.read_bytes() for host in hosts)]
    assert naming == []


def test_recorded_data_and_databases_are_not_part_of_the_project():
    suffixes = {".db", ".parquet", ".gz", ".zip", ".sqlite"}
    assert [str(path) for path in project_files() if path.suffix in suffixes] == []


PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def leads_to(arrows: dict[str, set[str]], room: str) -> set[str]:
    """Every room that the arrows of `room` lead to, over any number of others."""
    return {far for near in arrows[room] for far in {near} | leads_to(arrows, near)}


def shortest_arrows(allowed: dict[str, set[str]]) -> set[tuple[str, str]]:
    """The imports that do not follow from two others; `exchange.markets` is an arrow to `exchange`."""
    arrows = {room: {target.split(".")[0] for target in targets} for room, targets in allowed.items()}
    return {
        (room, target)
        for room, targets in arrows.items()
        for target in targets
        if not any(target in leads_to(arrows, other) for other in targets - {target})
    }


def test_the_picture_of_the_rooms_is_what_the_rule_says_and_what_exists():
    (picture,) = re.findall(r"```mermaid\n(.*?)```", PAGE, re.DOTALL)
    drawn = re.findall(r'^ +(\w+)(?:\["[^"]*"\])? -->(?:\|(\w+)\|)? (\w+)', picture, re.MULTILINE)
    assert len(drawn) == picture.count("-->")
    assert {(room, target) for room, _, target in drawn} == shortest_arrows(ALLOWED), "redraw docs/architecture.md"
    labels = {(room, f"{target}.{label}") for room, label, target in drawn if label}
    assert labels == {(room, target) for room, targets in ALLOWED.items() for target in targets if "." in target}
    rooms = {part_of(name_of(path)) for path in MODULES} - {""}
    assert set(re.findall(r'(\w+)\["', picture)) == rooms == set(ALLOWED)


def test_every_path_that_the_page_names_exists():
    *_, recipes = PAGE.split("\n## ")
    named = [re.findall(r"`([\w./-]+(?:/|\.\w+))`", part) for part in (PAGE, *recipes.split("\n### ")[1:])]
    assert len(named) == 6  # the page and its five recipes
    assert all(named)
    assert [path for path in named[0] if not (PACKAGE / path).exists() and not (ROOT / path).exists()] == []
