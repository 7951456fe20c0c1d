"""Text models of random weights, so small that a test makes them in a second."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch

WORDS = ("solar", "panel", "swimming", "pool", "red", "roof")
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def save_bert_tokenizer(folder: Path) -> None:
    """Write a tokenizer that knows a few words, and has the special tokens of BERT at their places."""
    from transformers import BertTokenizerFast

    names = [f"[unused{number}]" for number in range(1040)]
    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    for number, name in special.items() | dict(enumerate(WORDS, 200)).items():
        names[number] = name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(names) + "\n")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)


def save_clip_tokenizer(folder: Path) -> dict[str, int]:
    """Write a tokenizer whose tokens are letters; return the numbers of its special tokens and the size of its vocabulary."""
    from transformers import CLIPTokenizer

    letters = list(string.ascii_lowercase)
    names = ["!", *letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), pad_token="!").save_pretrained(folder)  # noqa: S106
    count = len(names)
    return {"vocab_size": count, "bos_token_id": count - 2, "eos_token_id": count - 1, "pad_token_id": 0}


def save_grounding_dino(folder: Path, *, mm: bool = False) -> Path:
    """Write a Grounding DINO, or an MM-Grounding-DINO, that looks at 128 x 128 pixels and has 20 queries."""
    import transformers
    from transformers import BertConfig, SwinConfig

    save_bert_tokenizer(folder)
    torch.manual_seed(0)
    prefix = "MMGroundingDino" if mm else "GroundingDino"
    config = getattr(transformers, f"{prefix}Config")(
        backbone_config=SwinConfig(
            image_size=128, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4, out_indices=[2, 3, 4]
        ),
        text_config=BertConfig(
            vocab_size=1040, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        ),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=20,
    )
    getattr(transformers, f"{prefix}ForObjectDetection")(config).save_pretrained(folder)
    told = {"size": {"shortest_edge": 128, "longest_edge": 200}, **IMAGENET}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    return folder


def save_owlv2(folder: Path) -> Path:
    """Write an OWLv2 that looks at 64 x 64 pixels in patches of 8."""
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    tokens = save_clip_tokenizer(folder)
    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Owlv2Config(
        text_config=small | tokens | {"max_position_embeddings": 16},
        vision_config=small | {"image_size": 64, "patch_size": 8},
        projection_dim=32,
    )
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    return folder


def save_sam3(folder: Path, queries: int = 12) -> Path:
    """Write a SAM 3 that looks at 112 x 112 pixels and gives masks of 32 x 32."""
    from transformers import Sam3Config, Sam3Model

    tokens = save_clip_tokenizer(folder)
    torch.manual_seed(0)
    part = {"hidden_size": 32, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    small = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
    config = Sam3Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model",
                **small,
                "num_hidden_layers": 2,
                "image_size": 112,
                "patch_size": 14,
                "window_size": 4,
                "global_attn_indexes": [1],
                "pretrain_image_size": 56,
            },
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        },
        text_config={
            "model_type": "clip_text_model",
            **small,
            **tokens,
            "projection_dim": 16,
            "num_hidden_layers": 1,
            "max_position_embeddings": 32,
        },
        geometry_encoder_config=part,
        detr_encoder_config=part,
        detr_decoder_config=part | {"num_queries": queries},
        mask_decoder_config={"hidden_size": 32, "num_upsampling_stages": 3, "num_attention_heads": 2},
    )
    Sam3Model(config).save_pretrained(folder)
    return folder
