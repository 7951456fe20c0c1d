"""Random SAM 2 models of transformers, and their weights under the names of the official checkpoints."""

import re

import torch
from transformers import Sam2Config, Sam2Model

HEAD = r"(iou_prediction_head|pred_obj_score_head|output_hypernetworks_mlps\.\d)"

# How the official code names what transformers names otherwise, as both published codes have it: the first that fits is used.
OFFICIAL = (
    (r"vision_encoder\.backbone\.patch_embed\.projection\.(.+)", r"image_encoder.trunk.patch_embed.proj.\1"),
    (r"vision_encoder\.backbone\.blocks\.(\d+)\.layer_norm(\d)\.(.+)", r"image_encoder.trunk.blocks.\1.norm\2.\3"),
    (r"vision_encoder\.backbone\.blocks\.(\d+)\.mlp\.proj_in\.(.+)", r"image_encoder.trunk.blocks.\1.mlp.layers.0.\2"),
    (r"vision_encoder\.backbone\.blocks\.(\d+)\.mlp\.proj_out\.(.+)", r"image_encoder.trunk.blocks.\1.mlp.layers.1.\2"),
    (r"vision_encoder\.backbone\.(.+)", r"image_encoder.trunk.\1"),
    (r"vision_encoder\.neck\.convs\.(\d)\.(.+)", r"image_encoder.neck.convs.\1.conv.\2"),
    (r"shared_image_embedding\.positional_embedding", "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    (r"prompt_encoder\.mask_embed\.conv1\.(.+)", r"sam_prompt_encoder.mask_downscaling.0.\1"),
    (r"prompt_encoder\.mask_embed\.layer_norm1\.(.+)", r"sam_prompt_encoder.mask_downscaling.1.\1"),
    (r"prompt_encoder\.mask_embed\.conv2\.(.+)", r"sam_prompt_encoder.mask_downscaling.3.\1"),
    (r"prompt_encoder\.mask_embed\.layer_norm2\.(.+)", r"sam_prompt_encoder.mask_downscaling.4.\1"),
    (r"prompt_encoder\.mask_embed\.conv3\.(.+)", r"sam_prompt_encoder.mask_downscaling.6.\1"),
    (r"prompt_encoder\.(.+)", r"sam_prompt_encoder.\1"),
    (r"mask_decoder\.transformer\.layers\.(\d)\.mlp\.proj_in\.(.+)", r"sam_mask_decoder.transformer.layers.\1.mlp.layers.0.\2"),
    (
        r"mask_decoder\.transformer\.layers\.(\d)\.mlp\.proj_out\.(.+)",
        r"sam_mask_decoder.transformer.layers.\1.mlp.layers.1.\2",
    ),
    (r"mask_decoder\.transformer\.layers\.(\d)\.layer_norm(\d)\.(.+)", r"sam_mask_decoder.transformer.layers.\1.norm\2.\3"),
    (r"mask_decoder\.transformer\.layer_norm_final_attn\.(.+)", r"sam_mask_decoder.transformer.norm_final_attn.\1"),
    (r"mask_decoder\.transformer\.(.+)\.o_proj\.(.+)", r"sam_mask_decoder.transformer.\1.out_proj.\2"),
    (r"mask_decoder\.upscale_conv1\.(.+)", r"sam_mask_decoder.output_upscaling.0.\1"),
    (r"mask_decoder\.upscale_layer_norm\.(.+)", r"sam_mask_decoder.output_upscaling.1.\1"),
    (r"mask_decoder\.upscale_conv2\.(.+)", r"sam_mask_decoder.output_upscaling.3.\1"),
    # The heads have three layers.
    (rf"mask_decoder\.{HEAD}\.proj_in\.(.+)", r"sam_mask_decoder.\1.layers.0.\2"),
    (rf"mask_decoder\.{HEAD}\.layers\.0\.(.+)", r"sam_mask_decoder.\1.layers.1.\2"),
    (rf"mask_decoder\.{HEAD}\.proj_out\.(.+)", r"sam_mask_decoder.\1.layers.2.\2"),
    (r"mask_decoder\.(.+)", r"sam_mask_decoder.\1"),
    (r"no_memory_embedding", "no_mem_embed"),
)

# Some of the tensors of the memory in an official checkpoint of SAM 2.1, which images do not need.
MEMORY = {
    "maskmem_tpos_enc": (7, 1, 1, 8),
    "no_mem_pos_enc": (1, 1, 32),
    "no_obj_ptr": (1, 32),
    "no_obj_embed_spatial": (1, 8),
    "mask_downsample.weight": (1, 1, 4, 4),
    "obj_ptr_proj.layers.0.weight": (32, 32),
    "obj_ptr_tpos_proj.weight": (8, 32),
    "memory_attention.norm.weight": (32,),
    "memory_encoder.out_proj.weight": (8, 32, 1, 1),
}


def sam2_config(
    *,
    image_size=256,
    widths=(16, 32, 64, 128),
    heads=(1, 2, 4, 8),
    blocks=(1, 2, 3, 1),
    windows=(8, 4, 6, 3),
    global_blocks=(4,),
    position_grid=(7, 7),
    width=32,
    mlp_dim=48,
    iou_width=24,
):
    return Sam2Config(
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": widths[0],
                "num_attention_heads": heads[0],
                "image_size": [image_size, image_size],
                "window_positional_embedding_background_size": list(position_grid),
                "blocks_per_stage": list(blocks),
                "embed_dim_per_stage": list(widths),
                "num_attention_heads_per_stage": list(heads),
                "window_size_per_stage": list(windows),
                "global_attention_blocks": list(global_blocks),
            },
            "backbone_channel_list": list(reversed(widths)),
            "backbone_feature_sizes": [[image_size // stride] * 2 for stride in (4, 8, 16)],
            "fpn_hidden_size": width,
        },
        prompt_encoder_config={"hidden_size": width, "image_size": image_size},
        mask_decoder_config={"hidden_size": width, "mlp_dim": mlp_dim, "iou_head_hidden_dim": iou_width},
    )


def random_sam2(seed=0, config=None, std=0.2, **sizes):
    """Return a Sam2Model of transformers with random weights of useful size, in evaluation mode."""
    model = Sam2Model(config or sam2_config(**sizes)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=std, generator=generator)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
        # A published file has the random frequencies twice; a new model draws them twice.
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(model.shared_image_embedding.positional_embedding)
    return model


def official_state(model):
    """Return the weights of a Sam2Model as an official checkpoint of SAM 2.1 names them, with some tensors of the memory."""
    state = {}
    for name, tensor in model.state_dict().items():
        if name == "prompt_encoder.shared_embedding.positional_embedding":
            continue
        if name == "prompt_encoder.point_embed.weight":
            state |= {f"sam_prompt_encoder.point_embeddings.{i}.weight": tensor[i : i + 1].clone() for i in range(4)}
            continue
        pattern, replacement = next(rule for rule in OFFICIAL if re.fullmatch(rule[0], name))
        state[re.sub(pattern, replacement, name)] = tensor.clone()
    return state | {name: torch.ones(shape) for name, shape in MEMORY.items()}
