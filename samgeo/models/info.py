"""What is recorded of a model: its files, its licence, its costs, and its defaults for automatic masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from samgeo.models.download import find
from samgeo.models.hf.hub import find_on_hub

__all__ = ["MASK_NMS", "PROMPTS", "TEXT", "Gates", "ModelInfo"]

MASK_NMS = 0.8
# The kinds of models: those that answer points, boxes and masks, and those that find boxes for words.
PROMPTS, TEXT = "prompts", "text"

BUNDLED = Path(__file__).parent / "weights"
BYTES_A_PARAMETER = 4


@dataclass(frozen=True, slots=True)
class Gates:
    """Thresholds and options of automatic masks; the defaults are those of SAM's automatic mask generator.

    Attributes
    ----------
    points_per_side : int
        Number of points along a side of a window.
    pred_iou : float
        A mask is kept if its predicted IoU is above this value.
    stability : float
        A mask is kept if the IoU between the masks at ``+stability_offset`` and ``-stability_offset`` reaches this value.
    stability_offset : float
        Offset in logits.
    box_nms : float
        IoU of boxes above which the mask with the lower score is dropped.
    min_region_px : int
        Holes smaller than this number of pixels are filled, and smaller islands are dropped; 0 keeps all.
    mask_nms : float or None
        IoU of masks above which the mask with the lower score is dropped, after the boxes. None keeps both, as SAM's own
        procedure does. The option ``mask_nms`` of `samgeo.segment` replaces it.
    screen_points : bool
        Whether points are left out that are unlikely to give a mask above ``pred_iou``. Only the bundled model can tell; with
        other models every point is decoded.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from samgeo.models import Gates
    >>> replace(Gates(), points_per_side=16).pred_iou
    0.88
    """

    points_per_side: int = 32
    pred_iou: float = 0.88
    stability: float = 0.95
    stability_offset: float = 1.0
    box_nms: float = 0.7
    min_region_px: int = 0
    mask_nms: float | None = MASK_NMS
    screen_points: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """Properties of a model that samgeo knows by name.

    Attributes
    ----------
    name, architecture : str
        The name, and what the network is.
    kind : str
        "prompts" for a model that segments what points, boxes or masks show; "text" for a model that finds boxes for words.
    family : str
        Name of the architecture's family, which decides how the file is read.
    parameters : int
        Number of parameters of the published network, without the parts that only videos or words need. A file may have more.
    size_bytes : int or None
        Size of the file; None if it is not recorded.
    license : str
        Licence of the weights, as an SPDX identifier, or "SAM License" for Meta's own licence.
    file : str
        Name of the file.
    input_size : int
        Side of the square input in pixels.
    sha256, md5 : str
        Digests of the file; empty if they are not recorded. The md5 is used where no sha256 is recorded.
    urls : tuple of str
        Addresses of the file; none for a file that is part of the package or that only the Hugging Face hub has.
    hf_repo : str
        Repository on the Hugging Face hub with the same model, for ``load_model("hf://...")``; empty if there is none.
    gated : bool
        Whether the publisher decides who may download the weights from the hub.
    gates : Gates
        Defaults for automatic masks.
    citation : str
        The publication, in one line.
    use : str
        What the model is good for, in a few words.
    encode_gflop, point_gflop : float or None
        Arithmetic of the reference network in GFLOP, for a window and for a point; None if it was not counted.
    embedding_numbers : int or None
        Numbers in the embedding of a window; samgeo stores each in two bytes. None for models that have no embedding.

    Examples
    --------
    >>> import samgeo
    >>> tiny = samgeo.list_models()[0]
    >>> tiny.bundled, tiny.input_size, tiny.gates.points_per_side
    (True, 512, 24)
    """

    name: str
    architecture: str
    parameters: int
    size_bytes: int | None
    license: str
    file: str
    input_size: int
    family: str
    kind: str = PROMPTS
    sha256: str = ""
    md5: str = ""
    urls: tuple[str, ...] = ()
    hf_repo: str = ""
    gated: bool = False
    gates: Gates = field(default_factory=Gates)
    citation: str = ""
    use: str = ""
    encode_gflop: float | None = None
    point_gflop: float | None = None
    embedding_numbers: int | None = None

    @property
    def bundled(self) -> bool:
        """Whether the weights are part of the package."""
        return not self.urls and not self.hf_repo

    @property
    def from_hub(self) -> bool:
        """Whether only the Hugging Face hub has the weights."""
        return not self.urls and bool(self.hf_repo)

    @property
    def verifiable(self) -> bool:
        """Whether a digest of the file is recorded. A file of the package is trusted as the package is."""
        return bool(self.sha256 or self.md5) or self.bundled

    def local_path(self) -> Path | None:
        """Return the path of the weights on this machine, or None if they are not here.

        The files of a model that only the hub has are searched in a folder with the name of the model in ``SAMGEO_MODELS``,
        and in the cache of ``huggingface_hub``.
        """
        if self.bundled:
            path = BUNDLED / self.file
            return path if path.is_file() else None
        if self.from_hub:
            return find(f"{self.name}/{self.file}") or find_on_hub(self.hf_repo, self.file)
        return find(self.file)

    def describe(self) -> str:
        """Return one line of text: name, architecture, sizes, licence, and where the weights are on this machine."""
        here = "bundled" if self.bundled else self.local_path() or "not downloaded"
        size = f"{self.parameters / 1e6:.1f} M parameters, {self.size_text()}"
        return f"{self.name}: {self.architecture}, {self.input_size} px, {size}, {self.license_text()}, {here}"

    def license_text(self) -> str:
        """Return the licence, and whether the weights are gated."""
        return f"{self.license} (gated)" if self.gated else self.license

    def size_text(self) -> str:
        """Return the size of the file in MB or GB; where it is not recorded, the size of the parameters in float32."""
        size = self.parameters * BYTES_A_PARAMETER if self.size_bytes is None else self.size_bytes
        text = f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
        return f"about {text}" if self.size_bytes is None else text

    def details(self) -> str:
        """Return what is recorded, a line for each property, as ``samgeo models info`` prints it."""
        gates = self.gates
        lines = {
            "name": self.name,
            "model": self.architecture,
            "use": self.use,
            "takes": "points, boxes and masks" if self.kind == PROMPTS else "words",
            "input": f"{self.input_size} x {self.input_size} pixels",
            "parameters": f"{self.parameters:,}",
            "cost": self._cost(),
            "licence": self.license,
            "gated": f"yes: the publisher decides at https://huggingface.co/{self.hf_repo} who may download it"
            if self.gated
            else "no",
            "citation": self.citation,
            "automatic masks": f"predicted IoU > {gates.pred_iou}, stability >= {gates.stability} at offset "
            f"{gates.stability_offset}, {gates.points_per_side} x {gates.points_per_side} points a window"
            if self.kind == PROMPTS
            else "",
            "file": f"{self.file}, {self.size_text()}",
            "digest": self._digest(),
            "source": ", ".join(self.urls),
            "hub": f"hf://{self.hf_repo}" if self.hf_repo else "",
            "here": str(self.local_path() or "not downloaded"),
        }
        width = max(map(len, lines)) + 2
        return "\n".join(f"{name + ':':{width}}{text}" for name, text in lines.items() if text)

    def _cost(self) -> str:
        parts = []
        if self.encode_gflop is not None:
            parts.append(f"{self.encode_gflop:,.{0 if self.encode_gflop >= 100 else 1}f} GFLOP a window")
        if self.point_gflop is not None:
            parts.append(f"{self.point_gflop:.2f} GFLOP a point")
        if self.embedding_numbers is not None:
            parts.append(f"{self.embedding_numbers * 2 / 1e6:.1f} MB an embedding")
        return ", ".join(parts)

    def _digest(self) -> str:
        if self.sha256:
            return f"sha256 {self.sha256}"
        if self.md5:
            return f"md5 {self.md5}"
        return "part of the package" if self.bundled else "not recorded, so that the file cannot be verified"
