"""Random SAM 2 models of transformers with the memory for videos, and the loop of transformers itself."""

import torch
from transformers import Sam2VideoConfig, Sam2VideoInferenceSession, Sam2VideoModel

SIDE = 64


def video_config(*, side=SIDE, width=128, num_maskmem=3, pointers=4, **other):
    """Return a small configuration. The memory of transformers needs 64 channels, and features of a multiple of these."""
    widths = [8, 16, 32, 64]
    grids = [[side // stride] * 2 for stride in (4, 8, 16)]
    sizes = {
        "image_size": side,
        "num_maskmem": num_maskmem,
        "max_object_pointers_in_encoder": pointers,
        "memory_attention_hidden_size": width,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 32,
        "memory_attention_rope_feat_sizes": grids[-1],
        "memory_encoder_hidden_size": width,
        "memory_encoder_output_channels": 64,
        "mask_downsampler_embed_dim": width,
        "memory_fuser_num_layers": 1,
        "memory_fuser_embed_dim": width,
        "memory_fuser_intermediate_dim": 32,
    }
    return Sam2VideoConfig(
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": widths[0],
                "image_size": [side, side],
                "embed_dim_per_stage": widths,
                "blocks_per_stage": [1, 1, 2, 1],
                "num_attention_heads_per_stage": [1, 2, 4, 8],
                "window_size_per_stage": [8, 4, 4, 2],
                "global_attention_blocks": [3],
                "window_positional_embedding_background_size": [4, 4],
            },
            "backbone_channel_list": widths[::-1],
            "backbone_feature_sizes": grids,
            "fpn_hidden_size": width,
        },
        prompt_encoder_config={"hidden_size": width, "image_size": side},
        mask_decoder_config={"hidden_size": width, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
        **(sizes | other),
    )


def random_video_model(seed=0, *, score_bias=10.5, **sizes):
    """Return a Sam2VideoModel with random weights of useful size, in evaluation mode; ``score_bias`` decides what is absent."""
    model = Sam2VideoModel(video_config(**sizes)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=0.1, generator=generator)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
        # A published file has the random frequencies twice; a new model draws them twice.
        frequencies = torch.randn(model.shared_image_embedding.positional_embedding.shape, generator=generator)
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(frequencies)
        model.shared_image_embedding.positional_embedding.copy_(frequencies)
        scores = model.mask_decoder.pred_obj_score_head.proj_out
        scores.weight.mul_(20)
        scores.bias.fill_(score_bias)
    return model


def by_hand(model, pixels, date, *, points=None, labels=None, mask=None):
    """Return logits and object scores of each date by the loop of transformers, forwards and then backwards.

    ``pixels`` has shape (T, 3, S, S) and is normalised; points are in the convention of transformers.
    """
    session = Sam2VideoInferenceSession(video=pixels, dtype=torch.float32)
    number = session.obj_id_to_idx(7)
    if mask is not None:
        session.add_mask_inputs(number, date, mask[None, None].float())
    else:
        session.add_point_inputs(number, date, {"point_coords": points[None, None], "point_labels": labels[None, None]})
    session.obj_with_new_inputs = [7]
    found = {}
    for backwards in (False, True):
        for one in model.propagate_in_video_iterator(session, start_frame_idx=date, reverse=backwards):
            found.setdefault(one.frame_idx, (one.pred_masks[0, 0].clone(), float(one.object_score_logits)))
    return found
