"""The commands `unidd export` and `unidd import`: sets go out and come in, and every mistake is one clear line."""

import hashlib
import json
import os
import pickle
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import foreign
import numpy as np
import pytest
import torch
from options import declared
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.datasets import ImageFolder

from unidd import cli
from unidd.data.datasets import load
from unidd.data.exchange import from_imagefolder, to_ddranking, to_huggingface, to_imagefolder
from unidd.data.synthetic import SyntheticSet


@pytest.fixture(scope="module")
def data():
    return load("digits")


@pytest.fixture
def real(data, tmp_path) -> SyntheticSet:
    made = SyntheticSet.from_real(data, 2, config={"cell": {"dataset": "digits", "budget": "smoke"}})
    made.save(tmp_path / "set")
    return made


def test_out_as_pictures_and_in_again(unidd, real):
    assert unidd("export", "set", "--to", "imagefolder", "--out", "png")[:2] == (0, "20 images in png\n")
    assert [label for _, label in ImageFolder("png").samples] == sorted(real.labels.tolist())
    code, out, err = unidd("import", "png", "--dataset", "digits", "--out", "back")
    assert (code, err) == (0, "")
    assert "20 images in back; next: unidd evaluate back" in out
    assert torch.equal(SyntheticSet.load("back").labels, real.labels)
    assert "changed" not in out
    next(path for path, _ in ImageFolder("png").samples if os.remove(path) is None)
    code, out, _ = unidd("import", "png", "--dataset", "digits", "--out", "back", "--overwrite")
    assert code == 0
    assert "changed: 1 removed" in out
    assert len(SyntheticSet.load("back")) == 19


@pytest.mark.parametrize("to", ["vico", "ddranking"])
def test_out_as_tensors_and_in_again(unidd, real, to):
    assert unidd("export", "set", "--to", to, "--out", "out")[0] == 0
    code, out, err = unidd("import", "out", "--dataset", "digits", "--out", "back")
    assert (code, err) == (0, "")
    order = real.labels.argsort(stable=True)
    back = SyntheticSet.load("back")
    assert torch.equal(back.labels, real.labels[order])
    assert torch.allclose(back.images, real.images[order], atol=1e-6)
    assert "space: value normalised, from its card" in out
    assert "changed" not in out
    assert back.config["cell"]["dataset"] == "digits"


def test_a_set_of_mtt_is_imported_and_evaluated(unidd, data):
    split = data.train.take(torch.cat([(data.train.labels == k).nonzero()[:1, 0] for k in range(10)]))
    torch.save(data.normalise(split.images).flip(0), "images_best.pt")
    torch.save(torch.arange(10), "labels_best.pt")
    options = ("--space", "normalised", "--order", *"9876543210")
    assert unidd("import", "images_best.pt", "--dataset", "digits", *options, "--out", "mtt")[0] == 0
    back = SyntheticSet.load("mtt")
    assert back.labels.tolist() == list(range(9, -1, -1))
    assert torch.allclose(back.images.flip(0) * 255, split.images.float(), atol=1e-3)
    command = ("evaluate", "mtt", "--labels", "hard", "--seeds", 0, "--budget", "smoke", "--no-baseline")
    code, out, _ = unidd(*command)
    assert code == 0
    assert "MTT/TESLA, hard labels" in out


@pytest.mark.parametrize("name", foreign.WRITERS)
def test_a_set_of_each_method_is_imported_and_evaluated(unidd, tmp_path, data, name):
    """Written as the released code writes it; pixels and labels are equal, to 8 bits or a JPEG where files are so."""
    if name in foreign.NEEDS:
        pytest.importorskip(foreign.NEEDS[name])
    chosen = torch.cat([(data.train.labels == k).nonzero()[:2, 0] for k in range(10)])
    images, labels = data.train.images[chosen] / 255, data.train.labels[chosen]
    (tmp_path / "theirs").mkdir()
    options = foreign.WRITERS[name](tmp_path / "theirs", images, labels, data)
    code, out, err = unidd("import", "theirs", "--dataset", "digits", *options, "--out", "ours")
    assert (code, err) == (0, "")
    found = SyntheticSet.load("ours")
    decoded = 4 if name == "NCFM" else 1
    assert torch.equal(found.labels, labels.repeat_interleave(decoded))
    if name != "NCFM":
        near = 0.05 if list((tmp_path / "theirs").rglob("*.jpg")) else 1e-4  # 8×8 pixels are one block of a JPEG
        assert (found.images - images).square().mean().sqrt() < near
    said = found.config["import"]
    assert "space" in said
    assert "classes" in said
    assert found.config["data"] == {"name": "digits", "fingerprint": data.fingerprint}
    assert all(f"{what}: " in out for what in said)
    code, out, _ = unidd("evaluate", "ours", "--labels", "hard", "--seeds", 0, "--budget", "smoke", "--no-baseline")
    assert code == 0
    assert re.search(r"hard labels: \d+\.\d %  \(n = 1", out)


def test_pictures_with_our_card_are_evaluated_as_they_are(unidd, real):
    unidd("export", "set", "--to", "imagefolder", "--out", "png")
    code, out, _ = unidd("evaluate", "png", "--labels", "hard", "--seeds", 0, "--no-baseline")
    assert code == 0
    assert "n = 1" in out


@pytest.mark.parametrize(("factor", "shift"), [(0.8, 0), (1, 0.1), (1.5, -0.2)])
def test_a_set_with_other_constants_is_evaluated_if_the_data_set_is_named(unidd, real, factor, shift):
    moments = (real.mean[0] + shift,), (factor * real.std[0],)
    replace(real, mean=moments[0], std=moments[1]).save("theirs")
    command = ("--labels", "hard", "--seeds", 0, "--budget", "smoke", "--no-baseline")
    assert unidd("evaluate", "theirs", *command)[2].endswith(
        "another normalisation than digits's: check the data set\n"
    )
    code, out, err = unidd("evaluate", "theirs", "--dataset", "digits", *command)
    assert code == 0
    assert "note: pixels are normalised as those of digits" in err
    ours = unidd("evaluate", "set", "--dataset", "digits", *command)
    assert ours[1].split("labels:")[1] == out.split("labels:")[1]
    assert "normalised" not in ours[2]


def test_a_folder_of_pictures_by_number(unidd, data):
    for k in range(10):
        os.makedirs(f"syn/new{k:03d}")
        Image.fromarray(np.full((8, 8), 20 * k, "uint8")).save(f"syn/new{k:03d}/class{k:03d}_id000.jpg")
    assert unidd("import", "syn", "--dataset", "digits", "--out", "sre2l")[0] == 0
    back = SyntheticSet.load("sre2l")
    assert torch.equal((back.images[:, 0, 0, 0] * 255 / 20).round().long(), back.labels)


def test_the_data_set_is_found_again_from_another_folder(unidd, tmp_path, monkeypatch):
    for split in ("train", "test"):
        for k, name in enumerate(("cat", "dog")):
            os.makedirs(f"pets/{split}/{name}")
            for i in range(3):
                Image.new("RGB", (8, 8), (80 * k + i,) * 3).save(f"pets/{split}/{name}/{i}.png")
    os.makedirs("theirs/1")
    os.makedirs("theirs/0")
    for k in (0, 1):
        Image.new("RGB", (8, 8), (80 * k,) * 3).save(f"theirs/{k}/0.png")
    assert unidd("import", "theirs", "--dataset", "pets", "--out", "made")[0] == 0
    assert SyntheticSet.load("made").config["cell"]["dataset"] == str((tmp_path / "pets").resolve())


def bad(name, *arguments, message):
    return pytest.param(arguments, message, id=name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        bad("format", "export", "set", "--to", "zip", "--out", "x", message="unknown format 'zip'"),
        bad("no set", "export", "nowhere", "--to", "vico", "--out", "x", message="nowhere is not a synthetic set"),
        bad("not empty", "export", "set", "--to", "imagefolder", "--out", "set", message="set is not empty"),
        bad("not empty 2", "export", "set", "--to", "ddranking", "--out", "set", message="set is not empty"),
        bad("there", "export", "set", "--to", "vico", "--out", "a.txt", message="a.txt is there already"),
        bad("below a file", "export", "set", "--to", "vico", "--out", "a.txt/x", message="a.txt"),
        bad("nothing", "import", "nowhere", "--dataset", "digits", "--out", "x", message="there is no nowhere"),
        bad("text", "import", "a.txt", "--dataset", "digits", "--out", "x", message="a.txt is no file of tensors"),
        bad("data set", "import", "set", "--dataset", "moons", "--out", "x", message="unknown data set 'moons'"),
        bad("other data", "import", "set", "--dataset", "photos", "--out", "x", message="are not those of photos"),
        bad("options", "import", "set", "--dataset", "digits", "--space", "zca", "--out", "x", message="leave the opt"),
        bad("taken", "import", "a.pt", "--dataset", "digits", "--out", "set", message="--overwrite"),
        bad("space", "import", "a.pt", "--dataset", "digits", "--space", "raw", "--out", "x", message="unknown space"),
        bad("mean", "import", "a.pt", "--dataset", "digits", "--mean", "1", "--out", "x", message="belong together"),
        bad("order", "import", "a.pt", "--dataset", "digits", "--order", "1", "2", "--out", "x", message="each class"),
        bad("ipc", "import", "a.pt", "--dataset", "digits", "--ipc", "3", "--out", "x", message="not 3 images"),
        bad("number", "import", "a.pt", "--dataset", "digits", "--number", "7", "--out", "x", message="no number 7"),
        bad("size", "import", "b.pt", "--dataset", "digits", "--out", "x", message="those of digits (1, 8, 8)"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(unidd, real, tmp_path, arguments, message):
    (tmp_path / "a.txt").write_text("no set")
    torch.save({"data": [[torch.randn(10, 1, 8, 8), torch.arange(10)]]}, "a.pt")
    torch.save({"data": [[torch.randn(10, 1, 4, 4), torch.arange(10)]]}, "b.pt")
    before = {path: path.is_file() and path.read_bytes() for path in sorted(tmp_path.rglob("*"))}
    code, out, err = unidd(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("unidd: error: ")
    assert message in err
    assert {path: path.is_file() and path.read_bytes() for path in sorted(tmp_path.rglob("*"))} == before


class Attack:
    def __reduce__(self):
        return os.system, ("echo executed > executed",)


def write(path, content):
    """Bytes as they are, anything else as torch saves it; folders on the way."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)


def pair(images=None, labels=None):
    return [torch.randn(10, 1, 8, 8) if images is None else images, torch.arange(10) if labels is None else labels]


def mtt(images=None, labels=None):
    for name, content in zip(("images_best.pt", "labels_best.pt"), pair(images, labels), strict=True):
        write(f"x/{name}", content)


def spoilt(**changes):
    """A set as `save` writes it, with other tensors than it would take."""
    SyntheticSet.load("set").save("x")
    tensors = load_file("x/images.safetensors") | changes
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, "x/images.safetensors")
    card = json.loads(Path("x/card.json").read_text())
    card["sha256"] = hashlib.sha256(Path("x/images.safetensors").read_bytes()).hexdigest()
    Path("x/card.json").write_text(json.dumps(card))


def truncated(path, keep=0.5):
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(keep * len(content))])


def exported(to):
    made = SyntheticSet.load("set")
    EXPORTED[to](made, Path("x"))


EXPORTED = {"imagefolder": to_imagefolder, "ddranking": to_ddranking, "huggingface": to_huggingface}
IMPORT = ("import", "x", "--dataset", "digits", "--out", "y")
EXPORT = ("export", "x", "--to", "imagefolder", "--out", "y")
START = ("distill", "cfm", "--dataset", "digits", "--budget", "smoke", "--out", "y", "--start")
ZEROS = torch.zeros(10, 1, 8, 8)


def picture(path, size=8, mode="L"):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (size, size)).save(path)


REFUSED = {
    # what is brought is no set
    "a program": (lambda: write("x", b"MZ\x90\x00\x03" + bytes(999)), IMPORT, "x is no file of tensors, or is damaged"),
    "a pickle with code": (lambda: write("x", pickle.dumps(Attack())), IMPORT, "x is no file of tensors, or is dam"),
    "code beside tensors": (lambda: write("x", {"data": [pair()], "x": Attack()}), IMPORT, "would execute code"),
    "code in a list": (lambda: write("x", [*pair(), Attack()]), IMPORT, "would execute code"),
    "no bytes": (lambda: write("x", b""), IMPORT, "x is no file of tensors, or is damaged"),
    "a zip of text": (lambda: shutil.make_archive("x", "zip", "set"), ("import", "x.zip", *IMPORT[2:]), "x.zip is no"),
    "one picture": (lambda: picture("x.png"), ("import", "x.png", *IMPORT[2:]), "name the folder that holds all"),
    "a part of a set": (lambda: None, ("import", "set/images.safetensors", *IMPORT[2:]), "name the folder that holds"),
    "pictures without classes": (lambda: picture("x/a.png"), IMPORT, "neither tensors nor folders of images"),
    "an empty folder": (lambda: Path("x").mkdir(), IMPORT, "x holds no set"),
    "a folder named as a file": (lambda: Path("x/images_best.pt").mkdir(parents=True), IMPORT, "images_best.pt"),
    "weights of a network": (lambda: write("x", {"conv.weight": ZEROS}), IMPORT, "a dictionary of conv.weight"),
    "a damaged checkpoint": (
        lambda: write("x", b"\x82\xa6params\x81\xa7x_proto"),
        IMPORT,
        "no flax checkpoint|msgpack",
    ),
    # a part is missing or damaged
    "labels of MTT missing": (lambda: write("x/images_best.pt", ZEROS), IMPORT, "labels_best.pt, the labels of"),
    "half a file": (lambda: (mtt(), truncated("x/images_best.pt")), IMPORT, "images_best.pt is no file of tensors"),
    "half an archive": (
        lambda: (np.savez("x.npz", images=np.zeros((10, 8, 8, 1)), labels=np.eye(10)), truncated("x.npz")),
        ("import", "x.npz", *IMPORT[2:]),
        "x.npz is no file of tensors, or is damaged",
    ),
    "half a picture": (lambda: (exported("imagefolder"), truncated(SOME)), IMPORT, "00000.png cannot be read"),
    "an empty picture": (lambda: (exported("imagefolder"), truncated(SOME, 0)), IMPORT, "00000.png: the file is empty"),
    "half the tensors": (
        lambda: (spoilt(), truncated("x/images.safetensors")),
        EXPORT,
        "images.safetensors is damaged",
    ),
    "another card": (lambda: (spoilt(), shutil.copy("larger/card.json", "x")), EXPORT, "checksum differs"),
    "no card": (lambda: (spoilt(), os.remove("x/card.json")), EXPORT, "card.json is missing"),
    "no JSON": (lambda: (spoilt(), write("x/card.json", b"{")), EXPORT, "card.json is damaged"),
    "half the export": (lambda: (exported("ddranking"), truncated("x/labels.pt")), IMPORT, "labels.pt is no file of"),
    # the numbers are wrong
    "NaN": (lambda: mtt(ZEROS * float("nan")), (*IMPORT, "--space", "normalised"), "NaN"),
    "infinite": (lambda: mtt(ZEROS + float("inf")), (*IMPORT, "--space", "normalised"), "NaN or infinite"),
    "NaN in a set of ours": (lambda: spoilt(images=torch.full((20, 1, 8, 8), float("nan"))), EXPORT, "NaN"),
    "labels in between": (lambda: mtt(labels=torch.arange(10) + 0.5), IMPORT, "a label must be a whole number"),
    "one label less": (lambda: mtt(labels=torch.arange(9)), IMPORT, "10 images and labels (9,) do not belong"),
    "soft labels of others": (lambda: mtt(labels=torch.rand(10, 7)), (*IMPORT, "--space", "zca"), "of 7 classes"),
    "soft NaN": (lambda: mtt(ZEROS, torch.full((10, 10), float("nan"))), IMPORT, "soft labels contain NaN"),
    "a label above": (lambda: mtt(labels=torch.arange(10) + 3), IMPORT, "of 13 classes, the data set has 10"),
    "raw pixels as DC": (lambda: write("x", {"data": [pair(ZEROS + 0.5)]}), IMPORT, "lie in [0, 1] as pixels do"),
    "0 to 255 as floats": (lambda: mtt(ZEROS + 255), IMPORT, "are no pixels"),
    "whole numbers": (lambda: mtt(ZEROS.long() + 9), IMPORT, "are no pixels"),
    # it belongs to other data
    "larger images": (lambda: mtt(torch.rand(10, 1, 9, 9)), IMPORT, "are (1, 9, 9), those of digits (1, 8, 8)"),
    "colour": (lambda: mtt(torch.rand(10, 3, 8, 8)), IMPORT, "are (3, 8, 8), those of digits (1, 8, 8)"),
    "whitened images of others": (
        lambda: mtt(torch.randn(10, 1, 9, 9)),
        (*IMPORT, "--space", "zca"),
        "are (1, 9, 9), those of digits",
    ),
    "folders of others": (lambda: (picture("x/cat/a.png"), picture("x/dog/a.png")), IMPORT, "say the order"),
    "two sizes": (lambda: (picture("x/0/a.png"), picture("x/1/a.png", 9)), IMPORT, "images differ in size"),
    "32 bits": (lambda: picture("x/0/a.tif", mode="F"), IMPORT, "32 bits, which have no agreed range"),
    # options that do not fit
    "a rate of 0": (mtt, (*IMPORT, "--rate", "0", "--space", "normalised"), "learning rate must be a number above 0"),
    "another rate": (
        lambda: (mtt(), torch.save(0.5, "x/lr_best.pt")),
        (*IMPORT, "--rate", "0.1", "--space", "normalised"),
        "the learning rate beside the images is 0.5, not 0.1",
    ),
    "a std of 0": (mtt, (*IMPORT, "--space", "normalised", "--mean", "0", "--std", "0"), "stds above 0"),
    "no data set": (mtt, ("import", "x", "--dataset", "set", "--out", "y"), "set is not an image folder"),
    "over the source": (mtt, (*IMPORT[:-1], "x"), "x holds what is to be read"),
    "over a file's folder": (mtt, ("import", "x/images_best.pt", *IMPORT[2:-1], "x"), "x holds what is to be read"),
    # places
    "below a file": (mtt, (*IMPORT[:-1], "a.txt/y"), "a.txt"),
    "a read-only place": (mtt, (*IMPORT[:-1], "/proc/y"), "cannot write to /proc/y"),
    "a read-only place for export": (
        lambda: None,
        ("export", "set", *EXPORT[2:-1], "/proc/y"),
        "cannot write to /proc",
    ),
    "a name too long": (lambda: None, ("export", "set", *EXPORT[2:-1], "y" * 300), "too long"),
    "a file in the way": (
        lambda: None,
        ("export", "set", "--to", "huggingface", "--out", "a.txt"),
        "a.txt is not empty",
    ),
    "no picture of a class": (lambda: spoilt(labels=torch.ones(20).long()), EXPORT, "'0' has no image"),
    # a start
    "a start that is not there": (lambda: None, (*START, "nowhere"), "nowhere is not a synthetic set"),
    "a start of others": (mtt, (*START, "x"), "unidd import reads what other code made"),
    "a start that is a file": (lambda: None, (*START, "a.txt"), "a.txt is not a synthetic set"),
    "a damaged start": (lambda: (spoilt(), truncated("x/images.safetensors")), (*START, "x"), "is damaged"),
    "a start of other images": (lambda: None, (*START, "larger"), "are (1, 9, 9), those of digits (1, 8, 8)"),
    "a start of other classes": (lambda: None, (*START, "other"), "has no 9 and also has nine"),
    "a start with too few": (lambda: None, (*START, "set", "--ipc", "3"), "has 2 images of '0', not 3: ask for ipc 2"),
    "a start for random images": (lambda: None, ("distill", "random", *START[2:], "set"), "leave out the set to start"),
    "a start for all images": (lambda: None, ("distill", "full", *START[2:], "set"), "leave out the set to start from"),
    "a plan of a wrong start": (lambda: None, ("plan", *START[1:], "other"), "has no 9 and also has nine"),
    # data that are gone
    "data that moved": (
        lambda: None,
        ("evaluate", "moved"),
        "/gone/pets, from which moved was made, is not there: say",
    ),
    "data nobody named": (lambda: None, ("evaluate", "nameless"), "names no data set: say --dataset"),
}
SOME = "x/0/00000.png"


@pytest.fixture
def around(real, tmp_path):
    """Sets beside `set`: of other classes and sizes, and of data that nobody finds."""
    (tmp_path / "a.txt").write_text("no set")
    replace(real, class_names=(*"012345678", "nine")).save("other")
    replace(real, images=torch.zeros(20, 1, 9, 9)).save("larger")
    replace(real, config={"cell": {"dataset": "/gone/pets"}}).save("moved")
    replace(real, config={"data": {"name": "pets"}}).save("nameless")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(("make", "arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_one_line_at_once_and_nothing_is_written(
    unidd, around, tmp_path, make, arguments, message
):
    make()
    before = {path: path.is_file() and path.read_bytes() for path in sorted(tmp_path.rglob("*"))}
    began = time.process_time()
    code, out, err = unidd(*arguments)
    assert time.process_time() - began < 3
    assert (code, out) == (2, "")
    assert err.startswith("unidd: error: ")
    assert err.count("\n") == 1
    assert any(part in err for part in message.split("|"))
    assert {path: path.is_file() and path.read_bytes() for path in sorted(tmp_path.rglob("*"))} == before


def test_soft_labels_that_stay_behind_are_said(unidd, real):
    SyntheticSet(real.images, real.labels, real.class_names, real.mean, real.std, soft=torch.rand(20, 10)).save("soft")
    code, _, err = unidd("export", "soft", "--to", "vico", "--out", "x.pt")
    assert code == 0
    assert "soft labels stay behind" in err
    assert unidd("export", "soft", "--to", "imagefolder", "--out", "y") == (0, "20 images in y\n", "")
    assert from_imagefolder("y").soft is not None


def test_what_must_be_said(unidd):
    for arguments in (("export", "set"), ("import", "x"), ("import", "x", "--out", "y")):
        code, out, err = unidd(*arguments)
        assert code == 2
        assert "required" in (out + err).lower()


@pytest.mark.parametrize(("command", "work"), [("export", cli.send), ("import", cli.receive)])
def test_help_names_every_option_and_says_what_it_does(unidd, command, work):
    code, out, _ = unidd(command, "--help")
    assert code == 0
    told = " ".join(re.sub("[│|]", " ", out).split())
    defaults, described = declared(work)
    for name in defaults:
        assert name in ("folder", "path") or "--" + name.replace("_", "-") in out
        assert " ".join(described[name].split()) in told
    assert command in unidd("--help")[1]
