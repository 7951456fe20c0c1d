"""Random SAM 3 models of transformers, for points and boxes."""

import torch
from transformers import Sam3TrackerConfig, Sam3TrackerModel


def sam3_config(*, grid=8, width=32, scale_factors=(4.0, 2.0, 1.0, 0.5)):
    """Return a small configuration; the published model has four scale factors, of which points use three."""
    side = 14 * grid
    return Sam3TrackerConfig(
        vision_config={
            "model_type": "sam3_vision_model",
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": side,
                "window_size": grid // 2,
                "global_attn_indexes": [1],
                "pretrain_image_size": side // 2,
            },
            "fpn_hidden_size": width,
            "backbone_feature_sizes": [[times * grid] * 2 for times in (4, 2, 1)],
            "scale_factors": list(scale_factors),
        },
        prompt_encoder_config={"hidden_size": width, "image_size": side},
        mask_decoder_config={"hidden_size": width, "mlp_dim": 48, "num_attention_heads": 2, "iou_head_hidden_dim": 24},
    )


def random_sam3(seed=0, **sizes):
    """Return a Sam3TrackerModel of transformers with random weights of useful size, in evaluation mode."""
    model = Sam3TrackerModel(sam3_config(**sizes)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=0.2, generator=generator)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
        # A published file has the random frequencies twice; a new model draws them twice.
        frequencies = torch.randn(model.shared_image_embedding.positional_embedding.shape, generator=generator)
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(frequencies)
        model.shared_image_embedding.positional_embedding.copy_(frequencies)
    return model
