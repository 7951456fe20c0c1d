"""Layers of QGIS as files for samgeo: paths of rasters, and vector layers that are written to a GeoPackage where needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFeatureRequest,
    QgsFeatureSource,
    QgsField,
    QgsFields,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingUtils,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QVariant
from qgis.PyQt.QtGui import QTransform

__all__ = ["Image", "image_of", "vector_file", "write_geometry", "write_source"]

# Formats that samgeo reads as they are; layers in others are written to a GeoPackage.
READ_AS_THEY_ARE = (".gpkg", ".geojson", ".json", ".fgb")
NAMED_LAYERS = (".gpkg",)
FID = "fid"
ROW = "row"


@dataclass(frozen=True)
class Image:
    """A raster layer as samgeo opens it.

    Attributes
    ----------
    path : str
        The file or the URL.
    crs : QgsCoordinateReferenceSystem
        The CRS of the file; not valid if it has none.
    y_up : bool
        Whether the file has no georeference. QGIS draws it below the x axis, and samgeo counts y from its upper edge down.
    """

    path: str
    crs: QgsCoordinateReferenceSystem
    y_up: bool


def image_of(layer: QgsRasterLayer | None, feedback: QgsProcessingFeedback) -> Image:
    """Return a raster layer as samgeo opens it.

    Raises
    ------
    QgsProcessingException
        If the layer is not a file or a URL that GDAL reads.
    """
    if layer is None or not layer.isValid():
        raise QgsProcessingException("The image cannot be opened; choose a raster layer or a raster file.")
    if layer.providerType() != "gdal":
        raise QgsProcessingException(
            f"The layer {layer.name()} comes from the provider {layer.providerType()}, which samgeo cannot read. Save it as a "
            "GeoTIFF (Export > Save As), and use that."
        )
    provider = layer.dataProvider()
    crs = provider.crs()
    if layer.crs() != crs:
        feedback.pushWarning(
            f"The layer {layer.name()} has the CRS {_name_of(layer.crs())} in QGIS, and its file {_name_of(crs)}; samgeo uses "
            "that of the file."
        )
    path = layer.source()
    for prefix in ("/vsicurl/", "/vsicurl_streaming/"):
        path = path[len(prefix) :] if path.startswith(prefix) else path
    bare = QgsRectangle(0, -provider.ySize(), provider.xSize(), 0)
    return Image(path, crs, y_up=not crs.isValid() and provider.extent() == bare)


def _name_of(crs: QgsCoordinateReferenceSystem) -> str:
    return crs.authid() or crs.description() if crs.isValid() else "none"


def vector_file(value: object, layer: QgsVectorLayer | None) -> str | None:
    """Return the file of a vector layer as samgeo reads it, or None if the features must be written to a file first.

    They must be written if the layer is not a file of a format that samgeo reads; if only a selection, a filter or a part of
    the features is used; or if the layer has edits, joined or virtual fields, or a CRS that its file does not have.

    Parameters
    ----------
    value : object
        The value of the parameter: a `QgsProcessingFeatureSourceDefinition` where there are choices beside the layer.
    layer : QgsVectorLayer or None
        The layer.
    """
    if layer is None or not layer.isValid() or layer.providerType() != "ogr":
        return None
    if isinstance(value, QgsProcessingFeatureSourceDefinition) and (
        value.selectedFeaturesOnly or value.featureLimit >= 0 or getattr(value, "filterExpression", "")
    ):
        return None
    provider = layer.dataProvider()
    changed = layer.isModified() or layer.subsetString() or layer.vectorJoins() or layer.fields() != provider.fields()
    if changed or layer.crs() != provider.crs():
        return None
    parts = QgsProviderRegistry.instance().decodeUri("ogr", layer.source())
    path, name = parts.pop("path", ""), parts.pop("layerName", None)
    suffix = Path(path).suffix.lower()
    # Other parts are restrictions, such as a type of geometry.
    if any(parts.values()) or suffix not in READ_AS_THEY_ARE or not Path(path).is_file():
        return None
    if suffix not in NAMED_LAYERS or (not name and provider.subLayerCount() == 1):
        return path
    # Without a name, QGIS opened the first of several layers.
    return f"{path}:{name}" if name else None


def write_source(
    source: QgsFeatureSource, name: str, context: QgsProcessingContext, feedback: QgsProcessingFeedback, *, turn: bool
) -> str:
    """Write features to a temporary GeoPackage, in the order of their ids; return its path.

    Parameters
    ----------
    source : QgsFeatureSource
        The features; curves become straight lines.
    name : str
        Name of the file without its suffix.
    context, feedback
        Those of the algorithm.
    turn : bool
        Whether y changes its sign, as for an image without a georeference.

    Raises
    ------
    QgsProcessingException
        If there are no features, or the file cannot be written.
    """
    # The fid of another file is not unique where layers were joined, and says nothing about an object.
    names = [field.name() for field in source.fields()]
    kept = [index for index, one in enumerate(names) if one.lower() != FID]
    fields = QgsFields()
    for index in kept:
        fields.append(source.fields().at(index))
    kind = QgsWkbTypes.linearType(source.wkbType())
    if QgsWkbTypes.geometryType(kind) != QgsWkbTypes.PointGeometry:
        kind = QgsWkbTypes.multiType(kind)

    # QGIS gives selected features in any order.
    request = QgsFeatureRequest().addOrderBy("$id")

    def features() -> Iterator[QgsFeature]:
        for feature in source.getFeatures(request):
            if feedback.isCanceled():
                return
            values = feature.attributes()
            written = QgsFeature(fields)
            written.setAttributes([values[index] for index in kept])
            if feature.hasGeometry():
                written.setGeometry(_straight(feature.geometry(), turn=turn))
            yield written

    path = _write(features(), (fields, kind, source.sourceCrs()), name, context)
    if path is None:
        raise QgsProcessingException(f"{source.sourceName()} has no features to use; check its selection and its filter.")
    return path


def write_geometry(
    geometry: QgsGeometry, crs: QgsCoordinateReferenceSystem, name: str, context: QgsProcessingContext, *, turn: bool
) -> str:
    """Write one polygon to a temporary GeoPackage; return its path."""
    fields = QgsFields()
    fields.append(QgsField(ROW, QVariant.Int))
    feature = QgsFeature(fields)
    feature.setAttributes([0])
    feature.setGeometry(_straight(geometry, turn=turn))
    path = _write(iter([feature]), (fields, QgsWkbTypes.MultiPolygon, crs), name, context)
    if path is None:
        raise QgsProcessingException(f"{name} could not be written.")
    return path


def _straight(geometry: QgsGeometry, *, turn: bool) -> QgsGeometry:
    abstract = geometry.constGet()
    straight = QgsGeometry(abstract.segmentize() if QgsWkbTypes.isCurvedType(abstract.wkbType()) else abstract.clone())
    if turn:
        straight.transform(QTransform(1, 0, 0, -1, 0, 0))
    if straight.type() != QgsWkbTypes.PointGeometry:
        straight.convertToMultiType()
    return straight


def _write(
    features: Iterator[QgsFeature],
    kind: tuple[QgsFields, QgsWkbTypes.Type, QgsCoordinateReferenceSystem],
    name: str,
    context: QgsProcessingContext,
) -> str | None:
    """Write features to a temporary GeoPackage; return its path, or None if there are none."""
    path = QgsProcessingUtils.generateTempFilename(f"{name}.gpkg")
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = name
    writer = QgsVectorFileWriter.create(path, *kind, context.transformContext(), options)
    count = 0
    for feature in features:
        if not writer.addFeature(feature):
            break
        count += 1
    if writer.hasError() != QgsVectorFileWriter.NoError:
        raise QgsProcessingException(f"{path} cannot be written: {writer.errorMessage()}")
    del writer  # closes the file
    return path if count else None
