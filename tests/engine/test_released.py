"""Statistics of the real side in the files of UniDD's released code: what each array is, and which are refused."""

import copy
import shutil

import numpy as np
import oracles
import pytest
import torch
import toys
from devices import Elsewhere
from stand_ins import write_statistics

from unidd.engine.parallel import Ranks
from unidd.engine.realside import real_side
from unidd.engine.released import read_statistics

LAYERS = ["0", "4", "7"]


@pytest.fixture
def folder(tmp_path):
    data = toys.data()
    images = data.normalise(data.train.images).double()
    return write_statistics(tmp_path / "statistic", toys.network(), images, data.train.labels, toys.CLASSES)


def read(folder, signal="mean", model=None, **options):
    return read_statistics(folder, signal, toys.data(), model or toys.teacher().model, **options)


@pytest.mark.parametrize("signal", ["mean", "class", "mix"])
def test_files_say_what_the_definition_says(folder, signal):
    data = toys.data()
    images = data.normalise(data.train.images).double()
    expected = oracles.statistics(toys.network(), images, data.train.labels, signal, toys.CLASSES)
    found = read(folder, signal)
    assert list(found) == LAYERS
    for layer, (cov, flc) in expected.items():
        assert torch.allclose(found[layer].ffc, cov, rtol=1e-6, atol=1e-7), "centred, divided by the rows"
        assert torch.allclose(found[layer].flc, flc, rtol=1e-6, atol=1e-7)
        rows = torch.stack(oracles.rows_of(oracles.forward(toys.network(), images)[1][layer]))
        assert torch.allclose(found[layer].mean, rows.mean(0), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("signal", ["mean", "class", "mix"])
def test_they_take_the_place_of_a_pass_over_the_images(folder, signal):
    ours = real_side(signal, toys.data(), toys.teacher().model, Ranks())
    for layer, theirs in read(folder, signal).items():
        assert torch.allclose(ours[layer].ffc, theirs.ffc, rtol=1e-4, atol=1e-6)
        assert torch.allclose(ours[layer].flc, theirs.flc, rtol=1e-4, atol=1e-6)


def test_a_network_is_named_where_a_folder_holds_several(folder):
    first = read(folder)
    for layer in folder.glob("Net.pth=*"):
        shutil.copytree(layer, folder / layer.name.replace("Net", "Other"))
    with pytest.raises(ValueError, match=r"holds statistics of Net\.pth, Other\.pth: add the name of one"):
        read(folder)
    again = read(folder / "Net.pth")
    assert all(torch.equal(again[layer].scatter, first[layer].scatter) for layer in LAYERS)


def test_layers_may_have_the_names_of_the_teacher_s_own_and_be_some_of_them(folder):
    first = read(folder)
    for i, layer in enumerate(LAYERS):
        (folder / f"Net.pth=layers.conv.{i}").rename(folder / f"Net.pth={layer}")
    assert torch.equal(read(folder)["7"].scatter, first["7"].scatter)
    assert list(read(folder, layers=["4"])) == ["4"]


def change(**changes):
    def work(folder):
        path = folder / "Net.pth=layers.conv.1" / "running.npz"
        with np.load(path) as content:
            arrays = dict(content)
        for name, changed in changes.items():
            arrays[name] = changed(arrays[name])
        np.savez(path, **{name: value for name, value in arrays.items() if value is not None})

    return work


def put(value):
    def changed(array):
        array[0, 1] = value
        return array

    return changed


def damage(folder):
    (folder / "Net.pth=layers.conv.1" / "running.npz").write_bytes(b"PK\3\4 cut off")


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "Net.pth=layers.conv.1"), "holds statistics of the layers 0, 7, and"),
        (
            lambda folder: shutil.copytree(folder / "Net.pth=layers.conv.2", folder / "Net.pth=layers.conv.3"),
            r"holds statistics of the layers 0, 4, 7, layers\.conv\.3, and",
        ),
        (damage, "damaged, or not statistics"),
        (change(running_class_mean=lambda _: None), "damaged, or not statistics.*running_class_mean"),
        (change(running_cov=lambda a: a[:-1, :-1]), r"running_cov is \(5, 5\), and of this teacher \(6, 6\)"),
        (change(running_class_mean=lambda a: a[:, :3]), r"running_class_mean is \(6, 3\), and of this .* \(6, 4\)"),
        (change(running_cov=put(np.nan)), "running_cov is not finite"),
        (change(running_class_mean=put(np.inf)), "running_class_mean is not finite"),
        (change(running_cov=put(9.0)), "running_cov is not symmetric"),
        (change(running_cov=lambda a: a / 4), "not of this teacher on toy: of 20 images .* before layer 4 differs by"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(folder, work, message):
    read(folder, "class")
    work(folder)
    with pytest.raises(ValueError, match=message):
        read(folder, "class")


def test_statistics_of_another_teacher_are_refused_by_a_look_at_images(folder):
    model = copy.deepcopy(toys.teacher().model)
    model[4].weight.data *= -3  # the same shapes
    with pytest.raises(ValueError, match=r"not of this teacher on toy: .* before layer 7 differs by \d+ %; is it the"):
        read(folder, model=model)


def test_no_statistics(tmp_path):
    with pytest.raises(FileNotFoundError, match="there are no statistics"):
        read(tmp_path / "nowhere")


def test_a_look_at_images_that_lie_elsewhere(folder):
    expected = read(folder, "class")
    with Elsewhere("meta") as there:
        data, model = toys.data().to(there.device), toys.teacher().model.to(there.device)
        found = read_statistics(folder, "class", data, model)
    assert all(torch.equal(found[layer].scatter, expected[layer].scatter) for layer in LAYERS)
    assert all(found[layer].cross.device.type == "cpu" for layer in LAYERS)
