"""Sentence vectors from a model directory: the semantic extra, off unless a model is named.

Two kinds of model are read: the BERT family as `model.safetensors` (sentence-transformers'
MiniLM, E5 and BGE among them, English or multilingual), computed here with NumPy so that nothing
heavy is needed; and any other as `model.onnx`, by ONNX Runtime. No hub is ever asked.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from kb.errors import NoModel
from kb.vectors import Floats

_LONGEST = 128  # tokens; a question is seldom longer than 40
_BATCH = 64
Tokens = NDArray[np.int64]


class _Network(Protocol):
    def states(self, tokens: Tokens) -> Floats:
        """The last layer's states: texts x tokens x figures. All texts are equally long."""


class SentenceModel:
    """Turns texts into vectors of length one, texts of equal length together."""

    def __init__(self, directory: Path) -> None:
        """Raises NoModel where the directory holds none, or the extra is not installed."""
        self.name = f"{directory.name}-{_checksum(directory):08x}"
        self._tokenizer = _tokenizer(directory)
        self._network = _network(directory)
        self._is_first_token = _pools_first_token(directory)

    @cached_property
    def width(self) -> int:
        """How many figures a vector has."""
        return int(self.encode(["width"]).shape[1])

    def encode(self, texts: Sequence[str]) -> Floats:
        """A row for each text."""
        tokens = [found.ids for found in self._tokenizer.encode_batch(list(texts))]
        by_length: dict[int, list[int]] = {}
        for at, ids in enumerate(tokens):
            by_length.setdefault(len(ids), []).append(at)
        rows: list[Floats] = [np.zeros(0, np.float32)] * len(tokens)
        for places in by_length.values():
            for begin in range(0, len(places), _BATCH):
                batch = places[begin : begin + _BATCH]
                states = self._network.states(np.array([tokens[at] for at in batch], np.int64))
                pooled = states[:, 0] if self._is_first_token else states.mean(axis=1)
                pooled = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
                for at, row in zip(batch, pooled, strict=True):
                    rows[at] = np.asarray(row, np.float32)
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32)


def model_directory(name: str) -> Path:
    """Where the model is: a directory, or a package that carries one. Raises NoModel."""
    directory = Path(name).expanduser()
    if directory.is_dir():
        return directory
    spec = find_spec(name.replace("-", "_")) if name.replace("-", "_").isidentifier() else None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for candidate in (Path(place), Path(place) / "model"):
            if (candidate / "tokenizer.json").is_file():
                return candidate
    raise NoModel(f"{name!r} is neither a directory nor an installed package with a model")


def _tokenizer(directory: Path) -> Any:
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415  (only in the semantic extra)
    except ImportError as error:
        raise NoModel("sentence models need the extra: pip install 'refdesk[semantic]'") from error
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise NoModel(f"{directory} holds no tokenizer.json")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(_LONGEST)
    return tokenizer


def _network(directory: Path) -> _Network:
    if (directory / "model.safetensors").is_file():
        return Bert(directory)
    for path in (directory / "model.onnx", directory / "onnx" / "model.onnx"):
        if path.is_file():
            return Onnx(path)
    raise NoModel(f"{directory} holds neither model.safetensors nor model.onnx")


def _pools_first_token(directory: Path) -> bool:
    path = directory / "1_Pooling" / "config.json"
    if not path.is_file():
        return False
    return bool(json.loads(path.read_text(encoding="utf-8")).get("pooling_mode_cls_token"))


def _checksum(directory: Path) -> int:
    """Tells models of the same name apart: their configuration, and the size of their files."""
    sizes = sorted(
        (path.name, path.stat().st_size)
        for pattern in ("*.json", "*.safetensors", "*.onnx", "onnx/*.onnx")
        for path in directory.glob(pattern)
    )
    return crc32(str(sizes).encode())


class Onnx:
    """A network as ONNX Runtime computes it."""

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime  # noqa: PLC0415  (only in the semantic extra)
        except ImportError as error:
            raise NoModel("model.onnx needs: pip install 'refdesk[semantic]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [one.name for one in self._session.get_inputs()]

    def states(self, tokens: Tokens) -> Floats:
        """The last layer's states."""
        given = {
            "input_ids": tokens,
            "attention_mask": np.ones_like(tokens),
            "token_type_ids": np.zeros_like(tokens),
        }
        found = self._session.run(None, {name: given[name] for name in self._inputs})[0]
        return np.asarray(found, np.float32)


class Bert:
    """The encoder of Devlin et al. 2018, forwards only."""

    def __init__(self, directory: Path) -> None:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        if config.get("model_type") not in ("bert", "roberta", "xlm-roberta"):
            raise NoModel(f"{config.get('model_type')!r} models are read as model.onnx only")
        # These count positions from behind the padding token.
        self._first = 0 if config["model_type"] == "bert" else int(config["pad_token_id"]) + 1
        self._layers = int(config["num_hidden_layers"])
        self._heads = int(config["num_attention_heads"])
        self._epsilon = float(config["layer_norm_eps"])
        self._weights = read_safetensors(directory / "model.safetensors")

    def states(self, tokens: Tokens) -> Floats:
        """The last layer's states."""
        weights, length = self._weights, tokens.shape[1]
        state = (
            weights["embeddings.word_embeddings.weight"][tokens]
            + weights["embeddings.position_embeddings.weight"][self._first :][:length]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        state = self._normal(state, "embeddings.LayerNorm")
        for layer in range(self._layers):
            state = self._layer(state, f"encoder.layer.{layer}.")
        return state

    def _layer(self, state: Floats, layer: str) -> Floats:
        from scipy.special import erf  # noqa: PLC0415

        seen = self._linear(self._attended(state, layer), layer + "attention.output.dense")
        state = self._normal(state + seen, layer + "attention.output.LayerNorm")
        wide = self._linear(state, layer + "intermediate.dense")
        wide = np.asarray(0.5 * wide * (1.0 + erf(wide * np.float32(0.5**0.5))), np.float32)
        return self._normal(
            state + self._linear(wide, layer + "output.dense"), layer + "output.LayerNorm"
        )

    def _attended(self, state: Floats, layer: str) -> Floats:
        texts, length, figures = state.shape
        shape = (texts, length, self._heads, figures // self._heads)
        query, key, value = (
            self._linear(state, f"{layer}attention.self.{part}")
            .reshape(shape)
            .transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        odds = query @ key.transpose(0, 1, 3, 2) / np.float32(shape[-1] ** 0.5)
        odds = np.exp(odds - odds.max(axis=-1, keepdims=True))
        odds /= odds.sum(axis=-1, keepdims=True)
        return np.asarray((odds @ value).transpose(0, 2, 1, 3).reshape(state.shape), np.float32)

    def _linear(self, state: Floats, name: str) -> Floats:
        weights = self._weights
        return np.asarray(state @ weights[name + ".weight"].T + weights[name + ".bias"])

    def _normal(self, state: Floats, name: str) -> Floats:
        centred = state - state.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self._epsilon)
        scaled = centred / spread * self._weights[name + ".weight"]
        return np.asarray(scaled + self._weights[name + ".bias"], np.float32)


def read_safetensors(path: Path) -> dict[str, Floats]:
    """The arrays of a safetensors file, memory-mapped. Raises NoModel for other than floats."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        head = json.loads(file.read(size))
    data = np.memmap(path, np.uint8, "r", 8 + size)
    kinds = {"F32": np.float32, "F16": np.float16}
    arrays: dict[str, Floats] = {}
    for name, about in head.items():
        if name == "__metadata__" or about["dtype"].startswith("I"):
            continue
        if about["dtype"] not in kinds:
            raise NoModel(f"{path} holds {about['dtype']} figures, which are not read")
        begin, end = about["data_offsets"]
        array = data[begin:end].view(kinds[about["dtype"]]).reshape(about["shape"])
        arrays[name.removeprefix("bert.").removeprefix("roberta.")] = np.asarray(array, np.float32)
    return arrays
