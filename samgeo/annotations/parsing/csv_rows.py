"""Reading of CSV files, with or without gzip compression, into records with their line numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from samgeo.annotations.parsing.rows import Gathered
from samgeo.annotations.parsing.text_files import Where, fail, stream_lines

__all__ = ["header_of", "read_records"]


def header_of(head: bytes) -> list[str]:
    """Return the names of the columns from the first bytes of a CSV file; an empty list if the first line cannot be read."""
    first, _, rest = head.partition(b"\n")
    if not rest or len(first) > 4096:
        return []
    try:
        return [name.strip() for name in next(csv.reader([first.decode("utf-8").strip()]), [])]
    except (UnicodeDecodeError, csv.Error):
        return []


def read_records(gathered: Gathered, path: Path) -> Iterator[tuple[Where, dict[str, str]]]:
    """Give the place and the fields, by the names of their columns, of each record of a CSV file.

    A record with more or fewer fields than the first line is noted as a fault and not given.

    Raises
    ------
    FileFaultError
        If the file cannot be read, or has a field of more than 131,072 characters.
    """
    reader = csv.reader(text for _, text in stream_lines(path))
    try:
        header = [name.strip() for name in next(reader, [])]
        for fields in reader:
            if not fields:
                continue
            where = Where(path, f"line {reader.line_num}")
            if len(fields) == len(header):
                yield where, dict(zip(header, fields, strict=True))
                continue
            with gathered.faults:
                fail(where, f"it has {len(fields)} fields, but the first line has {len(header)} names of columns")
    except csv.Error as error:
        fail(
            Where(path, f"line {reader.line_num}"),
            f"it is not valid CSV ({error})",
            "check that the file is complete",
            whole=True,
        )
