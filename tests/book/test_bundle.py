"""The joiner of the explorers' modules: order, scope, exports, and everything it refuses."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unidd.book import bundle as joiner
from unidd.book import widgets
from unidd.book.bundle import BundleError, bundle

EXPLORERS = Path(joiner.__file__).with_name("explorers")
SHIPPED = sorted(EXPLORERS.glob("*.js"))
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js here")


def write(folder: Path, **files: str) -> Path:
    """Modules by name, without the suffix; gives the path of main."""
    for name, text in files.items():
        (folder / f"{name}.js").write_text(text)
    return folder / "main.js"


def node(*arguments, **options) -> str:
    """What Node.js prints; an error of its own fails the test with it."""
    done = subprocess.run(["node", *arguments], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- what is shipped


def test_the_explorers_are_joined_whole_with_nothing_left_to_load():
    joined = widgets.module()
    assert joined == bundle(EXPLORERS / "main.js")
    assert not re.search(r"^import|\bfrom \"\./", joined, re.M)
    assert len(re.findall(r"^export default \{", joined, re.M)) == 1
    names = [name for path in SHIPPED for name in joiner.read(path).defined]
    assert len(names) == len(set(names)) > 50
    assert all(
        len(re.findall(rf"^(?:async )?(?:function|class|const|let) {name}\b", joined, re.M)) == 1 for name in names
    )


def test_every_module_of_the_folder_is_needed():
    joined = widgets.module()
    assert [path.name for path in SHIPPED if joiner.read(path).body.strip() not in joined] == []


def test_a_page_gets_a_classic_script():
    """A browser loads no module from the disk."""
    page = widgets.page_script()
    assert not re.search(r"^(import|export)\b|\bimport\(", page, re.M)
    assert page.startswith("globalThis.unidd = ")


@needs_node
@pytest.mark.parametrize("path", [*SHIPPED, None], ids=lambda path: path.name if path else "joined")
def test_it_is_javascript(path, tmp_path):
    source = tmp_path / "source.mjs"
    source.write_text(path.read_text() if path else widgets.module())
    node("--check", source)


@needs_node
def test_the_modules_as_they_are_export_what_the_joined_one_does(tmp_path):
    """Node.js links them, and so finds every import of a name that is not exported."""
    shutil.copytree(EXPLORERS, tmp_path / "explorers")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "joined.js").write_text(widgets.module())
    (tmp_path / "page.cjs").write_text(widgets.page_script())
    script = """
        await import("./page.cjs");
        const found = [globalThis.unidd, await import("./joined.js"), await import("./explorers/main.js")];
        const kinds = (m) => Object.entries(m).map(([name, value]) => [name, typeof value, String(value)]).sort();
        console.log(JSON.stringify([...found.map(kinds), typeof globalThis.unidd.default.render]));
    """
    (tmp_path / "compare.js").write_text(script)
    page, one, many, render = json.loads(node("compare.js", cwd=tmp_path))
    assert page == one == many
    assert render == "function"
    assert {name for name, *_ in one} >= {"default", "responses", "bandPicture", "decompose"}


def used(module: joiner.Module) -> set[str]:
    """Names in a module's code: none in comments or strings, but for `${…}`; no keys, and not what follows a dot."""
    text = re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", module.body, flags=re.S)
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    text = re.sub(r"`[^`]*`", lambda m: " ".join(re.findall(r"\$\{([^}]*)", m[0])), text)
    return set(re.findall(r"(?<![\w$.])([A-Za-z_$][\w$]*)(?![\w$]*:)", text.replace("...", " ")))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_name_of_another_module_is_imported(path):
    """Joined, a forgotten import would go unnoticed. So that this can be told, no local name is one of those either."""
    module = joiner.read(path)
    elsewhere = {name for other in SHIPPED for name in joiner.read(other).defined} - set(module.defined)
    imported = {name for _, name in module.imports}
    assert used(module) & elsewhere == imported - set(module.exports)


# ---- any modules


@st.composite
def graphs(draw):
    """Modules m0 … mn: constants of each, all exported, and which constants of earlier modules each adds to them."""
    modules = []
    for i in range(draw(st.integers(1, 6))):
        known = [name for module in modules for name in module["names"]]
        names = [f"c{i}_{k}" for k in range(draw(st.integers(1, 3)))]
        used = draw(st.lists(st.sampled_from(known), unique=True)) if known else []
        values = draw(st.lists(st.integers(0, 9), min_size=len(names), max_size=len(names)))
        modules.append({"names": names, "used": used, "values": values})
    return modules


def sources(modules: list[dict]) -> dict[str, str]:
    """The modules' text, and a main that imports of them all and exports every constant again."""
    owner = {name: i for i, module in enumerate(modules) for name in module["names"]}
    files = {}
    for i, module in enumerate(modules):
        of = {owner[name]: [n for n in module["used"] if owner[n] == owner[name]] for name in module["used"]}
        lines = [f'import {{ {", ".join(names)} }} from "./m{k}.js";' for k, names in of.items()]
        for name, value in zip(module["names"], module["values"], strict=True):
            lines.append(f"export const {name} = {' + '.join([str(value), *module['used']])};")
        files[f"m{i}"] = "\n".join(lines) + "\n"
    again = [f'export {{ {", ".join(module["names"])} }} from "./m{i}.js";' for i, module in enumerate(modules)]
    return files | {"main": "\n".join([*reversed(again), "export default 1;"]) + "\n"}


@pytest.mark.slow
@given(graphs())
def test_names_stand_once_and_after_what_they_are_made_of(modules):
    """The joined file runs line by line, and so in Python too: a name used too early, or missing, is an error."""
    with tempfile.TemporaryDirectory() as folder:
        joined = bundle(write(Path(folder), **sources(modules)))
    expected = {}
    for module in modules:
        for name, value in zip(module["names"], module["values"], strict=True):
            expected[name] = value + sum(expected[used] for used in module["used"])
    found = {}
    lines = [line for line in joined.splitlines() if line.startswith("const ")]
    for line in lines:
        exec(line.removeprefix("const "), found)
    assert {name: found[name] for name in expected} == expected
    assert len(lines) == len(expected)
    (again,) = re.findall(r"^export \{ (.*) \};$", joined, re.M)
    assert sorted(again.split(", ")) == sorted(expected)


@given(graphs(), st.randoms(use_true_random=False))
def test_every_damage_is_found(modules, random):
    """A file taken away, an export taken back, a name used twice, an import that leads back."""
    files, victim = sources(modules), random.randrange(len(modules))
    name, first = f"m{victim}", modules[victim]["names"][0]
    damaged = {
        f"{name}.js is missing|imports {name}.js": {key: text for key, text in files.items() if key != name},
        f"imports {first} of {name}.js, which does not export it": files
        | {name: files[name].replace(f"export const {first} ", f"const {first} ")},
        f"both define {first}": files | {"main": f"const {first} = 1;\n{files['main']}"},
        "in a circle: .*main.js": files | {name: f'import {{ x }} from "./main.js";\n{files[name]}'},
    }
    for message, broken in damaged.items():
        with tempfile.TemporaryDirectory() as folder, pytest.raises(BundleError, match=message):
            bundle(write(Path(folder), **broken))


def test_a_diamond_is_joined_once_in_order(tmp_path):
    main = write(
        tmp_path,
        base="export const unit = 1;\nlet hidden = 2;\nexport function two() { return hidden; }\n",
        left='import { unit } from "./base.js";\nexport const left = unit;\n',
        right='import {\n  two,\n  unit,\n} from "./base.js";\n'
        "export class Right {}\nexport async function f() { two(unit); }",
        main='import { Right } from "./right.js";\nimport { left } from "./left.js";\nconst all = [left, Right];\n'
        "export { all };\nexport default { all };\n",
    )
    assert bundle(main).split("\n\n") == [
        "const unit = 1;\nlet hidden = 2;\nfunction two() { return hidden; }",
        "class Right {}\nasync function f() { two(unit); }",
        "const left = unit;",
        "const all = [left, Right];\nexport default { all };",
        "export { all };\n",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('import { a as b } from "./a.js";', "“a as b” must be imported or exported under its own name"),
        ('import a from "./a.js";', "import a from"),
        ('import * as a from "./a.js";', r"import \* as a"),
        ('import "./a.js";', "not understood"),
        ('import { a } from "./a.js"', "not understood"),
        ('import { a } from "react";', "not understood"),
        ('const a = await import("./a.js");', "not understood"),
        ("const here = import.meta.url;", "not understood"),
        ('export * from "./a.js";', r"export \*"),
        ("export const [b, c] = [1, 2];", "not understood"),
        ("const { b } = { b: 1 };", "not understood"),
        ("export default function f() {}", "not understood"),
        ("export { nothing };", "main.js exports nothing, which it neither defines nor imports"),
        ('import { a } from "./a.js";\nconst a = 2;', "a.js and main.js both define a"),
        ('import { b } from "./a.js";', "main.js imports b of a.js, which does not export it"),
        ('import { a } from "./b.js";', "main.js imports b.js, which is missing from"),
        ('import { a } from "./main.js";', "in a circle: main.js → main.js"),
        ('import { c } from "./second.js";', "second.js has a default export, which nothing can import"),
        ("const b = 1;\nfunction b() {}", "main.js and main.js both define b"),
    ],
)
def test_what_is_not_understood_is_refused(text, message, tmp_path):
    files = {"a": "export const a = 1;\n", "second": "export const c = 1;\nexport default c;\n", "main": f"{text}\n"}
    with pytest.raises(BundleError, match=message):
        bundle(write(tmp_path, **files))


def test_an_entry_that_is_not_there_says_so(tmp_path):
    with pytest.raises(BundleError, match=r"main.js is missing from"):
        bundle(tmp_path / "main.js")
