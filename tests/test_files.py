"""Files that are whole or not there, and hashes of what is in them."""

import contextlib
import re

import pytest
import torch

from unidd.files import atomic, check_writable, json_hash, seal, tensors_hash, unseal


def test_atomic_shows_nothing_until_the_block_succeeds(tmp_path):
    with contextlib.suppress(KeyboardInterrupt), atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_a_place_to_write_is_checked_without_a_trace(tmp_path):
    check_writable(tmp_path / "new" / "deep")
    check_writable(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=re.escape(f"cannot write to {folder}")):
            check_writable(folder)


def test_a_relative_place_to_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_writable("new")
    check_writable("")
    assert not list(tmp_path.iterdir())


def test_what_is_sealed_comes_back_and_replaces_what_stood_there(tmp_path):
    content = {"x": torch.arange(6.0).view(2, 3), "n": 3, "nested": [{"a": None}, "text"]}
    seal({"old": 1}, tmp_path / "deep" / "state.pt")
    seal(content, tmp_path / "deep" / "state.pt")
    found = unseal(tmp_path / "deep" / "state.pt")
    assert torch.equal(found.pop("x"), content.pop("x"))
    assert found == content
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["state.pt"]


@pytest.mark.parametrize("where", [0, 31, 32, 200, -1])
def test_one_flipped_bit_of_a_sealed_file_is_found_out(tmp_path, where):
    path = tmp_path / "state.pt"
    seal({"x": torch.ones(3)}, path)
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    for damaged in (content, content[:where], b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{path} is damaged"):
            unseal(path)


def test_the_hash_of_a_json_value_does_not_depend_on_the_order_of_keys():
    assert re.fullmatch("[0-9a-f]{16}", json_hash({"a": 1}))
    assert json_hash({"a": 1, "b": [1, 2]}) == json_hash({"b": [1, 2], "a": 1})
    assert len({json_hash(v) for v in ({"a": 1}, {"a": 2}, {"b": 1}, {"a": [1]}, {"a": "1"})}) == 5


def test_the_hash_of_tensors_sees_names_and_every_bit():
    x = torch.arange(6.0).view(2, 3)
    assert tensors_hash({"x": x}) == tensors_hash({"x": x.t().contiguous().t()}), "whatever the memory layout"
    others = {"x": x + 1e-6}, {"y": x}, {"x": x.double()}, {"x": x.clone().index_fill_(0, torch.tensor([0]), -0.0)}
    assert tensors_hash({"x": x}) not in {tensors_hash(other) for other in others}


def test_a_part_of_a_larger_tensor_is_sealed_without_the_rest(tmp_path):
    whole = torch.arange(100_000.0).view(100, 1000)
    content = {"images": whole[3:4], "inside": [whole[5], (whole[:, 0],)], "whole": torch.ones(3)}
    seal(content, tmp_path / "part.pt")
    assert (tmp_path / "part.pt").stat().st_size < 20_000
    found = unseal(tmp_path / "part.pt")
    assert torch.equal(found["images"], whole[3:4])
    assert torch.equal(found["inside"][0], whole[5])
    assert torch.equal(found["inside"][1][0], whole[:, 0])
