"""Encoder artifacts for tests: the exported default model, and tiny models with random weights."""

import json
import tempfile
from pathlib import Path
from random import Random

from ingest.encoder.artifact import Artifact, read_artifact
from ingest.errors import ArtifactError

BUILD_FOLDER = Path(__file__).parents[1] / "build" / "encoder"
TINY_FOLDER = BUILD_FOLDER.with_name("tiny-encoder")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "!", "?", "。", "，", "one", "two", "three", "red",
         "blue", "green", "river", "stone", "bird", "sings", "##s", "##ing", "a", "b", "c", "d", "书", "山", "水", "人",
         "狗", "猫"]  # fmt: skip


def default_artifact(recipe: str = "int8") -> Path:
    """The folder of the exported default model; exports it once (about half a minute) where no sound one is there."""
    folder = BUILD_FOLDER if recipe == "int8" else BUILD_FOLDER.with_name(recipe)
    try:
        read_artifact(folder)
    except ArtifactError:
        from ingest.encoder.export import export_model

        export_model(None, folder, recipe=recipe)
    return folder


def write_tiny_bert(
    folder: Path, *, pooling: str = "mean", hidden: int = 32, max_tokens: int = 16, fast: bool = True
) -> Path:
    """A BERT with random weights and a vocabulary of a few words, in the layout of a published model."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=hidden, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=2 * hidden, max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder, safe_serialization=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    tokenizer_config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    if fast:
        BertTokenizerFast(str(folder / "vocab.txt")).backend_tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": max_tokens}))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modes = {"pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_cls_token": pooling == "cls"}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": hidden, **modes}))
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# Tiny\n")
    return folder


def export_tiny(source: Path, out: Path, recipe: str = "fp32") -> Artifact:
    """An artifact of a tiny model; its random weights are held to no fidelity."""
    from ingest.encoder.export import export_model

    export_model(str(source), out, recipe=recipe, force=True)
    return read_artifact(out)


def tiny_artifact() -> Path:
    """The folder of a tiny model with random weights, made once: for tests that embed much and look at no meaning."""
    try:
        read_artifact(TINY_FOLDER)
    except ArtifactError:
        with tempfile.TemporaryDirectory() as source:
            export_tiny(write_tiny_bert(Path(source)), TINY_FOLDER)
    return TINY_FOLDER


def tiny_text(random: Random) -> str:
    """A text of words that the tiny model knows; two are hardly ever equal."""
    return " ".join(random.choices([word for word in WORDS if word.isalpha()], k=12))
