"""Random SAM models of transformers, and their weights under the names of the official checkpoints."""

import re

import torch
from transformers import SamConfig, SamModel

# What the official class is called at each place, as the published segment_anything code has it.
OFFICIAL = {
    "vision_encoder.patch_embed.projection": "image_encoder.patch_embed.proj",
    "vision_encoder.neck.conv1": "image_encoder.neck.0",
    "vision_encoder.neck.layer_norm1": "image_encoder.neck.1",
    "vision_encoder.neck.conv2": "image_encoder.neck.2",
    "vision_encoder.neck.layer_norm2": "image_encoder.neck.3",
    "vision_encoder.layers": "image_encoder.blocks",
    "vision_encoder": "image_encoder",
    "shared_image_embedding.positional_embedding": "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    "prompt_encoder.point_embed": "prompt_encoder.point_embeddings",
    "prompt_encoder.mask_embed.conv1": "prompt_encoder.mask_downscaling.0",
    "prompt_encoder.mask_embed.layer_norm1": "prompt_encoder.mask_downscaling.1",
    "prompt_encoder.mask_embed.conv2": "prompt_encoder.mask_downscaling.3",
    "prompt_encoder.mask_embed.layer_norm2": "prompt_encoder.mask_downscaling.4",
    "prompt_encoder.mask_embed.conv3": "prompt_encoder.mask_downscaling.6",
    "mask_decoder.upscale_conv1": "mask_decoder.output_upscaling.0",
    "mask_decoder.upscale_layer_norm": "mask_decoder.output_upscaling.1",
    "mask_decoder.upscale_conv2": "mask_decoder.output_upscaling.3",
    "mask_decoder.transformer.layer_norm_final_attn": "mask_decoder.transformer.norm_final_attn",
}


def random_sam(
    *, image_size=64, hidden=32, heads=2, layers=3, window=3, global_blocks=(1,), width=32, relative=True, iou_depth=3, seed=0
):
    """Return a transformers SamModel with random weights of useful size, in evaluation mode."""
    shared = {"image_size": image_size, "patch_size": 16, "hidden_size": width}
    config = SamConfig(
        vision_config={
            **shared,
            "hidden_size": hidden,
            "output_channels": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "window_size": window,
            "global_attn_indexes": list(global_blocks),
            "num_pos_feats": width // 2,
            "use_rel_pos": relative,
        },
        prompt_encoder_config=shared,
        mask_decoder_config={
            "hidden_size": width,
            "mlp_dim": 48,
            "iou_head_hidden_dim": 24,
            "iou_head_depth": iou_depth,
            # The published code has torch's default here; transformers has 1e-6 in the blocks, and 1e-5 after them.
            "layer_norm_eps": 1e-5,
        },
    )
    model = SamModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=0.2, generator=generator)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
    return model


def official_state(model):
    """Return the weights of a transformers SamModel as an official checkpoint names them."""
    state = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("prompt_encoder.shared_embedding"):
            continue
        prefix = max((old for old in OFFICIAL if name == old or name.startswith(old + ".")), key=len, default="")
        new = OFFICIAL.get(prefix, "") + name[len(prefix) :]
        new = re.sub(r"\.layer_norm(\d)\.", r".norm\1.", new)
        state[_heads(new, name, model.state_dict())] = tensor.clone()
    return state


def _heads(new, name, state):
    head, _, tail = new.rpartition(".proj_in.")
    if head and "mask_decoder" in new:
        return f"{head}.layers.0.{tail}"
    head, _, tail = new.rpartition(".proj_out.")
    if head:
        between = {
            key for key in state if key.startswith(name.rpartition(".proj_out.")[0] + ".layers.") and key.endswith("bias")
        }
        return f"{head}.layers.{len(between) + 1}.{tail}"
    match = re.match(r"(.*(?:iou_prediction_head|hypernetworks_mlps\.\d+)\.layers)\.(\d+)\.(.*)", new)
    return f"{match[1]}.{int(match[2]) + 1}.{match[3]}" if match else new
