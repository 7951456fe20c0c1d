"""The table of the models that samgeo knows by name.

Digests and sizes of files are those that several independent public projects record, where the publisher states none.
"""

from __future__ import annotations

from samgeo.models.info import TEXT, Gates, ModelInfo

__all__ = ["MODELS", "SAM2_GATES"]

# Numbers in the embedding of a window of the published models: 256 channels on a grid of 64 x 64 cells, and more maps at finer
# strides in the later families.
SAM_EMBEDDING = 256 * 64**2
SAM2_EMBEDDING = SAM_EMBEDDING + 64 * 128**2 + 32 * 256**2
SAM_HQ_EMBEDDING = SAM_EMBEDDING + 32 * 256**2
SAM3_EMBEDDING = 256 * 72**2 + 64 * 144**2 + 32 * 288**2

SAM_POINT_GFLOP = 3.62
SAM2_POINT_GFLOP = 3.64
SAM_HQ_POINT_GFLOP = 8.45

# SAM 2's automatic mask generator asks for less predicted IoU than that of SAM 1.
SAM2_GATES = Gates(pred_iou=0.8)

_SAM = "Kirillov et al., Segment Anything, 2023, arXiv:2304.02643"
_SAM2 = "Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024, arXiv:2408.00714"
_SAM3 = "Carion et al., SAM 3: Segment Anything with Concepts, 2025, arXiv:2511.16719"
_SAM_HQ = "Ke et al., Segment Anything in High Quality, 2023, arXiv:2306.01567"
_MOBILE_SAM = "Zhang et al., Faster Segment Anything: Towards Lightweight SAM for Mobile Applications, 2023, arXiv:2306.14289"
_GROUNDING_DINO = (
    "Liu et al., Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set Object Detection, 2023, arXiv:2303.05499"
)
_OWLV2 = "Minderer, Gritsenko, Houlsby, Scaling Open-Vocabulary Object Detection, 2023, arXiv:2306.09683"


def _sam(letter: str, *, parameters: int, size_bytes: int, digits: str, sha256: str, gflop: float, use: str) -> ModelInfo:
    # The hexadecimal part of the official file names is the beginning of an MD5 digest, so it differs from the sha256 here.
    file = f"sam_vit_{letter}_{digits}.pth"
    size = {"b": "base", "l": "large", "h": "huge"}[letter]
    return ModelInfo(
        name=f"sam-vit-{letter}",
        architecture=f"SAM 1, ViT-{letter.upper()}",
        family="sam",
        parameters=parameters,
        size_bytes=size_bytes,
        license="Apache-2.0",
        file=file,
        input_size=1024,
        sha256=sha256,
        urls=(f"https://dl.fbaipublicfiles.com/segment_anything/{file}",),
        hf_repo=f"facebook/sam-vit-{size}",
        citation=_SAM,
        use=use,
        encode_gflop=gflop,
        point_gflop=SAM_POINT_GFLOP,
        embedding_numbers=SAM_EMBEDDING,
    )


# Sizes of SAM 2: the letter of the architecture, the parameters that images use, GFLOP for a window, and the use.
_SAM2_SIZES = {
    "tiny": ("T", 31_440_977, 293.0, "the cheapest of SAM 2"),
    "small": ("S", 38_538_833, 360.0, "a little deeper than tiny"),
    "base-plus": ("B+", 73_328_657, 648.0, "between small and large, cheaper than SAM 1 ViT-B"),
    "large": ("L", 216_925_121, 1825.0, "the largest of SAM 2, cheaper than SAM 1 ViT-L"),
}


def _sam2(version: str, size: str, size_bytes: int, sha256: str) -> ModelInfo:
    letter, parameters, gflop, use = _SAM2_SIZES[size]
    prefix, folder = ("sam2", "072824") if version == "2.0" else ("sam2.1", "092824")
    file = f"{prefix}_hiera_{size.replace('-', '_')}.pt"
    return ModelInfo(
        name=f"{prefix}-hiera-{size}",
        architecture=f"SAM {version}, Hiera-{letter}",
        family="sam2",
        parameters=parameters,
        size_bytes=size_bytes,
        license="Apache-2.0",
        file=file,
        input_size=1024,
        sha256=sha256,
        urls=(f"https://dl.fbaipublicfiles.com/segment_anything_2/{folder}/{file}",),
        hf_repo=f"facebook/{prefix}-hiera-{size}",
        gates=SAM2_GATES,
        citation=_SAM2,
        use=f"{use}; SAM 2.1 succeeds it" if version == "2.0" else use,
        encode_gflop=gflop,
        point_gflop=SAM2_POINT_GFLOP,
        embedding_numbers=SAM2_EMBEDDING,
    )


def _sam_hq(
    size: str,
    parameters: int,
    size_bytes: int | None,
    *,
    sha256: str = "",
    md5: str = "",
    hf_repo: str = "",
    gflop: float,
    use: str,
) -> ModelInfo:
    file = f"sam_hq_vit_{size}.pth"
    return ModelInfo(
        name=f"sam-hq-vit-{size}",
        architecture="SAM-HQ, TinyViT" if size == "tiny" else f"SAM-HQ, ViT-{size.upper()}",
        family="sam-hq",
        parameters=parameters,
        size_bytes=size_bytes,
        license="Apache-2.0",
        file=file,
        input_size=1024,
        sha256=sha256,
        md5=md5,
        urls=(f"https://huggingface.co/lkeab/hq-sam/resolve/main/{file}",),
        hf_repo=hf_repo,
        citation=_SAM_HQ,
        use=use,
        encode_gflop=gflop,
        point_gflop=SAM_HQ_POINT_GFLOP,
        embedding_numbers=SAM_HQ_EMBEDDING,
    )


def _text(
    name: str, *, repository: str, architecture: str, input_size: int, parameters: int, size_bytes: int, sha256: str, use: str
) -> ModelInfo:
    return ModelInfo(
        name=name,
        architecture=architecture,
        family="owlv2" if name.startswith("owlv2") else "grounding-dino",
        kind=TEXT,
        parameters=parameters,
        size_bytes=size_bytes,
        license="Apache-2.0",
        file="model.safetensors",
        input_size=input_size,
        sha256=sha256,
        hf_repo=repository,
        citation=_OWLV2 if name.startswith("owlv2") else _GROUNDING_DINO,
        use=use,
    )


MODELS: tuple[ModelInfo, ...] = (
    ModelInfo(
        name="tiny",
        architecture="samgeo tiny, MobileNetV2",
        family="tiny",
        parameters=4_331_885,
        size_bytes=8_701_402,
        license="Apache-2.0",
        file="tiny.safetensors",
        input_size=512,
        gates=Gates(points_per_side=24, pred_iou=0.55, stability=0.5, min_region_px=64),
        citation="The samgeo developers, samgeo",
        use="buildings and clicks on a laptop's processor",
        encode_gflop=5.8,
        point_gflop=0.36,
        embedding_numbers=128 * 32**2 + 64 * 64**2 + 32 * 128**2 + 32 * 32**2 + 24 * 64**2 + 16 * 128**2,
    ),
    _sam(
        "b",
        parameters=93_735_472,
        size_bytes=375_042_383,
        digits="01ec64",
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        gflop=972.0,
        use="the smallest SAM 1",
    ),
    _sam(
        "l",
        parameters=312_342_832,
        size_bytes=1_249_524_607,
        digits="0b3195",
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        gflop=2986.0,
        use="half the cost of ViT-H, and nearly its quality",
    ),
    _sam(
        "h",
        parameters=641_090_608,
        size_bytes=2_564_550_879,
        digits="4b8939",
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        gflop=5961.0,
        use="the reference of the family, and of SAMRS",
    ),
    _sam2("2.1", "tiny", 156_008_466, "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69"),
    _sam2("2.1", "small", 184_416_285, "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38"),
    _sam2("2.1", "base-plus", 323_606_802, "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5"),
    _sam2("2.1", "large", 898_083_611, "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318"),
    _sam2("2.0", "tiny", 155_906_050, "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125"),
    _sam2("2.0", "small", 184_309_650, "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3"),
    _sam2("2.0", "base-plus", 323_493_298, "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071"),
    _sam2("2.0", "large", 897_952_466, "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b"),
    ModelInfo(
        name="mobile-sam",
        architecture="MobileSAM, TinyViT",
        family="mobile-sam",
        parameters=10_130_092,
        size_bytes=40_728_226,
        license="Apache-2.0",
        file="mobile_sam.pt",
        input_size=1024,
        sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        urls=("https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",),
        citation=_MOBILE_SAM,
        use="SAM 1 with a small encoder, for processors",
        encode_gflop=77.5,
        point_gflop=SAM_POINT_GFLOP,
        embedding_numbers=SAM_EMBEDDING,
    ),
    _sam_hq(
        "b",
        94_806_832,
        None,
        md5="c6b8953247bcfdc8bb8ef91e36a6cacc",
        hf_repo="syscv-community/sam-hq-vit-base",
        gflop=980.0,
        use="SAM 1 ViT-B with sharper edges and thin parts",
    ),
    _sam_hq(
        "l",
        313_676_336,
        None,
        md5="08947267966e4264fb39523eccc33f86",
        hf_repo="syscv-community/sam-hq-vit-large",
        gflop=2996.0,
        use="SAM 1 ViT-L with sharper edges and thin parts",
    ),
    _sam_hq(
        "h",
        642_686_256,
        2_570_940_653,
        sha256="a7ac14a085326d9fa6199c8c698c4f0e7280afdbb974d2c4660ec60877b45e35",
        hf_repo="syscv-community/sam-hq-vit-huge",
        gflop=5974.0,
        use="SAM 1 ViT-H with sharper edges and thin parts",
    ),
    _sam_hq(
        "tiny",
        10_578_860,
        None,
        sha256="0f32c075ccdd870ae54db2f7630e7a0878ede5a2b06d05d6fe02c65a82fb7196",
        gflop=80.8,
        use="MobileSAM with sharper edges and thin parts",
    ),
    ModelInfo(
        name="sam3",
        architecture="SAM 3, points and boxes",
        family="sam3",
        parameters=458_260_369,
        size_bytes=3_439_938_512,
        license="SAM License",
        file="model.safetensors",
        input_size=1008,
        sha256="6d06f0a5f84e435071fe6603e61d0b4cc7b40e0d39d487cfd4d67d8cc11cc14a",
        hf_repo="facebook/sam3",
        gated=True,
        gates=SAM2_GATES,
        citation=_SAM3,
        use="clicks and boxes with Meta's latest encoder; needs the extra hf and a GPU",
        encode_gflop=5616.0,
        point_gflop=4.59,
        embedding_numbers=SAM3_EMBEDDING,
    ),
    _text(
        "grounding-dino-tiny",
        repository="IDEA-Research/grounding-dino-tiny",
        architecture="Grounding DINO, Swin-T",
        input_size=800,
        parameters=172_250_626,
        size_bytes=689_359_096,
        sha256="1a2412ef99bd74bcd3c2a246fa1e48581f8889a1300c9051974741314fc042f3",
        use="boxes of what words name; all words are asked together",
    ),
    _text(
        "grounding-dino-base",
        repository="IDEA-Research/grounding-dino-base",
        architecture="Grounding DINO, Swin-B",
        input_size=800,
        parameters=232_315_264,
        size_bytes=933_400_872,
        sha256="5548f844c928c4b6f411fa8cbcc2bfa8dbbba437cb1d513975519f93c2a9ed21",
        use="as grounding-dino-tiny, with a larger encoder",
    ),
    _text(
        "owlv2-base",
        repository="google/owlv2-base-patch16-ensemble",
        architecture="OWLv2, ViT-B/16",
        input_size=960,
        parameters=154_966_792,
        size_bytes=619_918_824,
        sha256="e1e130b9e404cf91a75ad45644c1da9d7fa5284085eecc864266a6923efb99e7",
        use="boxes of what words name; each phrase has a score of its own",
    ),
)
