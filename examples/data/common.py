"""Helpers shared by the make_*.py scripts of this folder.

Needs Python 3.11 and pyarrow 25 or later. Two runs with the same pyarrow give the same bytes.
"""

import hashlib
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq


def arguments(script_doc):
    """SOURCE and OUT from the command line; OUT is made if it is not there."""
    if len(sys.argv) != 3:
        sys.exit(script_doc)
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    return source, out


def read_table(path):
    """An Arrow IPC file or a Parquet file as a table."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    with pa.OSFile(str(path)) as file:
        return ipc.open_file(file).read_all()


def write_arrow(table, path, batch_rows, level=22):
    """Arrow IPC file format with zstd-compressed buffers."""
    options = ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=level))
    with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, table.schema, options=options) as writer:
        for batch in table.combine_chunks().to_batches(max_chunksize=batch_rows):
            writer.write_batch(batch)
    report(path, table.num_rows)


def write_parquet(table, path):
    """Parquet with zstd, in row groups of 16,384 rows. Times are stored as differences, the rest by dictionary."""
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=22,
        row_group_size=16_384,
        use_dictionary=[name for name in table.column_names if name not in times],
        column_encoding={name: "DELTA_BINARY_PACKED" for name in times},
    )
    report(path, table.num_rows)


def report(path, rows):
    """One line with what README.md says of the file."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path.name} rows={rows} bytes={path.stat().st_size} sha256={digest}")
