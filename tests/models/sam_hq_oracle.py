"""Random SAM-HQ models of transformers."""

import torch
from transformers import SamHQConfig, SamHQModel


def random_sam_hq(*, image_size=64, hidden=32, heads=2, layers=3, window=3, global_blocks=(1,), width=32, seed=0):
    """Return a transformers SamHQModel with random weights of useful size, in evaluation mode."""
    shared = {"image_size": image_size, "patch_size": 16, "hidden_size": width}
    config = SamHQConfig(
        vision_config={
            **shared,
            "hidden_size": hidden,
            "output_channels": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "window_size": window,
            "global_attn_indexes": list(global_blocks),
            "num_pos_feats": width // 2,
        },
        prompt_encoder_config=shared,
        mask_decoder_config={
            "hidden_size": width,
            "mlp_dim": 48,
            "iou_head_hidden_dim": 24,
            "vit_dim": hidden,
            # The published code has torch's default here; transformers has 1e-6 in the blocks, and 1e-5 after them.
            "layer_norm_eps": 1e-5,
        },
    )
    model = SamHQModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=0.2, generator=generator)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
    model.mask_decoder.transformer.register_forward_hook(use_attended_image, with_kwargs=True)
    return model


def use_attended_image(module, args, given, made):
    """Write the image after attention to the place of the image before it.

    The published code, and transformers' SamModel, upscale the image that the transformer returns. SamHQModel of transformers
    5.23 upscales the image that the transformer was given, with its rows and columns exchanged.
    """
    image = given["image_embeddings"]
    attended = made[1].squeeze(1).transpose(1, 2).unflatten(2, image.shape[2:])
    image.copy_(attended.transpose(2, 3))
