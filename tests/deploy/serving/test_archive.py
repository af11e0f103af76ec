"""An exported model is opened without a pickle, and nothing in its text is run."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from paceline.deploy.serving.archive import open_archive, rewrite
from paceline.deploy.serving.scorer import Scorer, read_metadata
from paceline.platform.errors import UserError
from paceline.platform.tracking.export import save_exported
from pytorch_lightning import LightningModule
from torch import Tensor, nn

GRAPH, WEIGHTS = "model/models/model.json", "model/data/weights/model_weights_config.json"


class Pair(LightningModule):
    """A line, and the sum of its input."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(3, 2)
        self.example_input_array = torch.ones(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.line(x), x.sum(1, keepdim=True)], 1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pair]:
    folder, module = tmp_path_factory.mktemp("saved") / "model", Pair().eval()
    save_exported(module, folder)
    return folder, module


def changed(saved: Path, to: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy of the archive with some records changed, or left out."""
    with zipfile.ZipFile(saved / "data/model.pt2") as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return to


def in_json(record: str, edit: Callable[[Any], None]) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        if name != record:
            return content
        found = json.loads(content)
        edit(found)
        return json.dumps(found).encode()

    return change


def nodes(content: Any) -> list[Any]:
    return content["graph_module"]["graph"]["nodes"]


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_what_the_archive_computes_is_what_the_module_does(saved: tuple[Path, Pair], batch: int):
    folder, module = saved
    x = torch.randn(batch, 3)
    found = open_archive(folder / "data/model.pt2")(x)
    torch.testing.assert_close(found, module(x), rtol=0, atol=1e-6)


def test_nothing_is_unpickled(saved: tuple[Path, Pair], monkeypatch: pytest.MonkeyPatch):
    def never(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("something was unpickled")

    monkeypatch.setattr(torch, "load", never)
    monkeypatch.setattr(pickle, "load", never)
    monkeypatch.setattr(pickle, "loads", never)
    monkeypatch.setattr(pickle, "Unpickler", never)
    Scorer(saved[0]).predict(np.ones((2, 3)))


def test_the_copy_has_no_sample_inputs_no_guards_and_no_notes(
    saved: tuple[Path, Pair], tmp_path: Path
):
    rewrite(saved[0] / "data/model.pt2", tmp_path / "copy.pt2")
    with zipfile.ZipFile(tmp_path / "copy.pt2") as copy:
        assert copy.read("model/data/sample_inputs/model.pt") == b""
        graph = json.loads(copy.read(GRAPH))
    assert graph["guards_code"] == []
    assert all(node["metadata"] == {} for node in nodes(graph))


def call(target: str) -> Callable[[Any], None]:
    return lambda graph: nodes(graph)[0].update(target=target)


def shape(text: str) -> Callable[[Any], None]:
    def edit(graph: Any) -> None:
        values = graph["graph_module"]["graph"]["tensor_values"]
        sizes = next(iter(values.values()))["sizes"]
        sizes[0] = {"as_expr": {"expr_str": text, "hint": {"as_int": 2}}}

    return edit


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (call("torch.os.system"), "calls 'torch.os.system'"),
        (call("torch.load"), "calls 'torch.load'"),
        (call("torch.ops.aten.from_file.default"), "from_file"),
        (call("torch.ops.aten.add.Tensor.__class__.mro"), "__class__"),
        (call("_operator.methodcaller"), "methodcaller"),
        (call("#extension:anything"), "#extension"),
        (shape("__import__('os').system('true')"), "shape of"),
        (shape("Symbol('s0').func.__globals__"), "shape of"),
        (shape("open('/etc/passwd')"), "shape of"),
        (
            lambda g: g["graph_module"]["module_call_graph"][0]["signature"].update(
                in_spec='[1, {"type": "os.system", "context": "null", "children_spec": []}]'
            ),
            "in_spec",
        ),
    ],
)
def test_a_graph_that_could_do_more_than_compute_is_refused(
    saved: tuple[Path, Pair], tmp_path: Path, edit: Callable[[Any], None], told: str
):
    path = changed(saved[0], tmp_path / "model.pt2", in_json(GRAPH, edit))
    with pytest.raises(UserError) as caught:
        open_archive(path)
    assert told in caught.value.what


def test_guards_are_not_run(saved: tuple[Path, Pair], tmp_path: Path):
    mark = tmp_path / "mark"
    guard = f"__import__('pathlib').Path({str(mark)!r}).touch() is None"
    edit = in_json(GRAPH, lambda graph: graph.update(guards_code=[guard]))
    open_archive(changed(saved[0], tmp_path / "model.pt2", edit))(torch.ones(2, 3))
    assert not mark.exists()


class Hostile:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_pickles_are_refused_or_left_out(saved: tuple[Path, Pair], tmp_path: Path):
    mark = tmp_path / "mark"
    evil = pickle.dumps(Hostile(mark))

    def sample(name: str, content: bytes) -> bytes:
        return evil if "sample_inputs" in name else content

    open_archive(changed(saved[0], tmp_path / "a.pt2", sample))(torch.ones(2, 3))

    def weight(config: Any) -> None:
        next(iter(config["config"].values()))["use_pickle"] = True

    with pytest.raises(UserError, match="is a pickle"):
        open_archive(changed(saved[0], tmp_path / "b.pt2", in_json(WEIGHTS, weight)))
    path = changed(saved[0], tmp_path / "c.pt2", lambda _, content: content)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/data/constants/opaque_obj_0", evil)
    with pytest.raises(UserError, match="opaque_obj_0"):
        open_archive(path)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\x80\x04}."])
def test_what_is_no_archive_is_one_message(tmp_path: Path, content: bytes):
    (tmp_path / "model.pt2").write_bytes(content)
    with pytest.raises(UserError, match="must hold raw tensors"):
        open_archive(tmp_path / "model.pt2")


def test_a_model_that_is_a_pickle_or_brings_code_is_refused(
    saved: tuple[Path, Pair], tmp_path: Path
):
    import mlflow.pytorch
    from mlflow.models import Model, infer_signature

    module = nn.Linear(1, 1)
    example = np.ones((2, 1), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pytorch.save_model(
            module,
            tmp_path / "pickled",
            signature=infer_signature(example, example),
            serialization_format="pickle",
            pip_requirements=["torch"],
        )
    with pytest.raises(UserError, match="is a pickle"):
        read_metadata(tmp_path / "pickled")

    for change, told in (
        (lambda m: m.flavors["python_function"].update(loader_module="evil"), "loaded by evil"),
        (lambda m: m.flavors["python_function"].update(code="code"), "brings code"),
        (lambda m: m.flavors["pytorch"].update(code="code"), "brings code"),
        (lambda m: m.flavors.pop("pytorch"), "loaded by"),
        (lambda m: setattr(m, "signature", None), "no signature"),
        (lambda m: m.flavors["pytorch"].update(model_data="../elsewhere"), ""),
    ):
        model = Model.load(str(saved[0]))
        change(model)
        folder = tmp_path / "changed"
        folder.mkdir(exist_ok=True)
        (folder / "data").mkdir(exist_ok=True)
        (folder / "data/model.pt2").write_bytes((saved[0] / "data/model.pt2").read_bytes())
        model.save(str(folder / "MLmodel"))
        if told:
            with pytest.raises(UserError, match=told):
                read_metadata(folder)
        else:
            Scorer(folder)  # the data of this folder is taken, whatever the path says
    with pytest.raises(UserError, match="a saved MLflow model"):
        read_metadata(tmp_path)
