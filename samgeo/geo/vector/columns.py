"""Conversion of columns to the types and names that a vector format can hold.

Columns come from files of any origin: tags of OpenStreetMap are mappings, identifiers mix numbers with text, and values are
missing. A value for which a format has no type is converted without loss, or refused with the name of the column.
"""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd

from samgeo.errors import SamgeoWarning, VectorError, warn

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["GIVEN", "RenamedColumnsWarning", "attributes_to_arrow", "fitted", "keep_given"]

GIVEN = "_given"
"""Suffix that is added to the name of a user's column if a column of the result has the same name."""

_GDAL_FORMATS = ("GPKG", "FlatGeobuf")
_PLAIN = (str, bool, int, float)
_NESTED = (dict, list, tuple, set, frozenset, np.ndarray)


class RenamedColumnsWarning(SamgeoWarning):
    """Columns of the user's features had names of columns of the result, and were renamed."""


def keep_given(table: pd.DataFrame, names: Iterable[str], what: str) -> pd.DataFrame:
    """Rename those columns of a user's table that have the name of a column of the result.

    Upper and lower case are not distinguished, as in GeoPackage. ``area_m2`` becomes ``area_m2_given``, or ``area_m2_given_2``
    where that exists.

    Parameters
    ----------
    table : DataFrame or GeoDataFrame
        The user's table.
    names : iterable of str
        Columns that the result gets.
    what : str
        The table, for the warning: "the prompts".

    Returns
    -------
    DataFrame
        The same values.

    Warns
    -----
    RenamedColumnsWarning
        If a column was renamed.
    """
    wanted = {name.lower() for name in names}
    geometry = getattr(table, "_geometry_column_name", None)
    taken = {str(column).lower() for column in table.columns} | wanted
    renamed: dict[Any, str] = {}
    for column in table.columns:
        if str(column).lower() not in wanted or column == geometry:
            continue
        name, number = f"{column}{GIVEN}", 1
        while name.lower() in taken:
            number += 1
            name = f"{column}{GIVEN}_{number}"
        taken.add(name.lower())
        renamed[column] = name
    if not renamed:
        return table
    told = ", ".join(f"{old} is now {new}" for old, new in renamed.items())
    warn(f"{what} have columns with the names of columns of the result, which were renamed: {told}.", RenamedColumnsWarning)
    result = table.rename(columns=renamed)
    result.attrs = table.attrs
    return result


def fitted(frame: gpd.GeoDataFrame, written_as: str) -> gpd.GeoDataFrame:
    """Return features with columns that a format can hold.

    - Names become text.
    - Mappings and lists become JSON text. GeoJSON holds them unchanged; GeoParquet too, where all rows have the same keys or
      are lists of one type.
    - Booleans with missing values become nullable booleans. So do the texts "True" and "False", as which GeoPandas writes them.
    - Whole numbers with missing values become nullable whole numbers.
    - Values of several types in one column become text, and so do time spans, and whole numbers beyond 64 bits.
    - Geometries other than the active ones become WKT.

    Parameters
    ----------
    frame : GeoDataFrame
        It is not changed.
    written_as : str
        A value of `samgeo.geo.vector.formats.SUFFIXES`.

    Returns
    -------
    GeoDataFrame
        With the same rows, and the index 0, 1, and so on.

    Raises
    ------
    VectorError
        If two columns would have the same name, or the format cannot hold a value. The message names the columns.
    """
    geometry = str(frame.geometry.name)
    names = [str(column) for column in frame.columns]
    _check_names(names, geometry, written_as)
    columns: dict[str, Any] = {}
    for position, name in enumerate(names):
        if name != geometry:
            columns[name] = _fitted_column(frame.iloc[:, position].reset_index(drop=True), name, written_as)
    result = pd.DataFrame(columns, index=pd.RangeIndex(len(frame)))
    active = gpd.GeoSeries(frame.geometry.array, index=result.index, name=geometry)
    return gpd.GeoDataFrame(result, geometry=active)


def attributes_to_arrow(frame: gpd.GeoDataFrame, written_as: str) -> pa.Table:
    """Return the columns of `fitted` features, without the geometry, as an Arrow table.

    Raises
    ------
    VectorError
        If a column cannot be converted. The message names it.
    """
    import pyarrow as pa

    attributes = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    try:
        table = pa.Table.from_pandas(attributes, preserve_index=False)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise VectorError(f"a column cannot be written ({error}); remove it, or change its type.") from None
    if written_as in _GDAL_FORMATS:
        table = table.replace_schema_metadata()
        for number, field in enumerate(table.schema):
            wanted = _gdal_type(field.type)
            if wanted != field.type:
                table = table.set_column(number, field.name, table.column(number).cast(wanted))
    return table


def _gdal_type(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _gdal_type(kind.value_type)
    if pa.types.is_null(kind):
        return pa.string()
    return pa.float32() if pa.types.is_float16(kind) else kind


def _check_names(names: list[str], geometry: str, written_as: str) -> None:
    exact = written_as not in _GDAL_FORMATS
    seen: dict[str, str] = {}
    for name in names:
        key = name if exact else name.lower()
        if key in seen:
            why = "" if seen[key] == name else f", which {written_as} does not distinguish"
            raise VectorError(
                f"two columns are named {seen[key]!r} and {name!r}{why}; give one of them another name"
                f"{'' if exact else ', or write .parquet or .geojson'}."
            )
        seen[key] = name
    if geometry != "geometry" and "geometry" in names and written_as != "GeoParquet":
        raise VectorError(
            f"a column has the name geometry, but the geometries are in the column {geometry}, and readers cannot distinguish "
            "the two; rename the column."
        )


def _fitted_column(column: pd.Series, name: str, written_as: str) -> pd.Series:
    if isinstance(column.dtype, gpd.array.GeometryDtype):
        return _checked_text(gpd.GeoSeries(column).to_wkt().astype(object).where(column.notna(), None), name)
    if isinstance(column.dtype, pd.CategoricalDtype) and written_as != "GeoParquet":
        column = column.astype(object if column.isna().any() else column.cat.categories.dtype)
    if _has_no_type(column, written_as):
        return _as_text(column)
    if isinstance(column.dtype, pd.StringDtype):
        return _as_booleans(column)
    if column.dtype.kind == "O" and not isinstance(column.dtype, pd.CategoricalDtype):
        return _fitted_objects(column, name, written_as)
    if column.dtype.kind == "f" and written_as == "GeoJSON":
        _refuse_infinite(column.to_numpy(dtype=float, na_value=np.nan), name)
    return column


def _has_no_type(column: pd.Series, written_as: str) -> bool:
    """Return whether no format has the type of a column, or the column has whole numbers that GDAL cannot hold."""
    if isinstance(column.dtype, pd.PeriodDtype | pd.IntervalDtype) or column.dtype.kind in "mc":
        return True
    if column.dtype.kind != "u" or written_as not in _GDAL_FORMATS:
        return False
    known = column.dropna()
    return bool(len(known)) and int(known.max()) > np.iinfo(np.int64).max


def _as_booleans(column: pd.Series) -> pd.Series:
    """Return a column of the texts "True" and "False" with missing values as booleans.

    GeoPandas writes booleans with missing values as these texts.
    """
    known = column.dropna()
    if not len(known) or len(known) == len(column) or not known.isin(["True", "False"]).all():
        return column
    return column.map({"True": True, "False": False}).astype("boolean")


def _refuse_infinite(values: NDArray[Any], name: str) -> None:
    if np.isinf(values).any():
        raise VectorError(f"the column {name} has infinite numbers, which GeoJSON cannot hold; write .parquet.")


def _fitted_objects(column: pd.Series, name: str, written_as: str) -> pd.Series:
    """Return a column of Python objects converted to one type."""
    column = column.map(lambda value: value.tolist() if isinstance(value, np.generic) else value)
    missing = column.isna().to_numpy(dtype=bool)
    values = column[~missing].tolist()
    kinds = {type(value) for value in values}
    with_none = column.where(~missing, None)
    if any(isinstance(value, _NESTED) for value in values):
        return _fitted_nested(with_none, name, written_as)
    if kinds == {str}:
        return _as_booleans(_checked_text(with_none, name))
    if not kinds:
        return pd.Series([None] * len(column), dtype="str")
    plain = _plain_type(kinds, values)
    if plain is None:
        return _fitted_other(with_none, name, written_as)
    if plain == "float64" and written_as == "GeoJSON":
        _refuse_infinite(np.array(values, dtype=np.float64), name)
    return pd.Series(column.array, dtype=plain)


def _plain_type(kinds: set[type], values: list[Any]) -> str | None:
    """Return the type that holds all values exactly, or None if there is none."""
    if kinds == {bool}:
        return "boolean"
    if kinds == {int} and all(abs(value) <= np.iinfo(np.int64).max for value in values):
        return "Int64"
    if float in kinds and kinds <= {int, float} and all(abs(value) <= 2**53 for value in values if type(value) is int):
        return "float64"
    return None


def _fitted_nested(column: pd.Series, name: str, written_as: str) -> pd.Series:
    import pyarrow as pa

    plain = column.map(_plain_nested)
    try:
        texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in plain]
    except (TypeError, ValueError, RecursionError) as error:
        raise VectorError(f"the column {name} has values that JSON cannot hold ({error}); remove it.") from None
    if written_as == "GeoJSON":
        return plain
    if written_as == "GeoParquet":
        try:
            if pa.array(plain.tolist()).to_pylist() == plain.tolist():
                return plain
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            pass
    as_text = [value if isinstance(value, str) else text for value, text in zip(plain.tolist(), texts, strict=True)]
    return _checked_text(column.__class__(as_text, dtype=object), name)


def _plain_nested(value: object) -> object:
    """Return a nested value that consists of lists and mappings only; sets are sorted by their text."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain_nested(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_nested(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain_nested(inner) for inner in value), key=str)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _fitted_other(column: pd.Series, name: str, written_as: str) -> pd.Series:
    """Return a column of dates, times, bytes, numbers or identifiers of other libraries."""
    values = [value for value in column if value is not None]
    kinds = {type(value) for value in values}
    if len(kinds) == 1 and issubclass(next(iter(kinds)), datetime.date | datetime.time | bytes | decimal.Decimal):
        if written_as == "GeoJSON" and bytes in kinds:
            raise VectorError(f"the column {name} has bytes, which GeoJSON cannot hold; remove it, or write .parquet.")
        if not (written_as == "GeoJSON" and decimal.Decimal in kinds):
            return column
    known = (*_PLAIN, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID, PurePath)
    unknown = next((value for value in values if not isinstance(value, known)), None)
    if unknown is not None:
        raise VectorError(f"the column {name} has a {type(unknown).__name__}, which cannot be written; remove the column.")
    return _checked_text(_as_text(column), name)


def _as_text(column: pd.Series) -> pd.Series:
    """Return each value as text; dates and time spans as in ISO 8601."""

    def text(value: object) -> str:
        return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)

    missing = column.isna().to_numpy(dtype=bool)
    return pd.Series([None if gap else text(value) for gap, value in zip(missing, column, strict=True)], dtype="str")


def _checked_text(column: pd.Series, name: str) -> pd.Series:
    try:
        return pd.Series(column.tolist(), dtype="str")
    except (ValueError, TypeError) as error:
        raise VectorError(
            f"the column {name} has text that cannot be written ({error}); remove the column, or correct the text."
        ) from None
