"""NOAA weather at Offutt Air Force Base, Bellevue, Nebraska, 1949 to 1999: will it rain, day by day.

    make_weather.py SOURCE OUT

SOURCE is a Parquet file with eight float32 measurements and the column class_name. Writes weather.parquet into the
folder OUT.
"""

import pyarrow as pa

from common import arguments, read_table, write_parquet


def main():
    source, out = arguments(__doc__)
    table = read_table(source)
    features = [field.name for field in table.schema if pa.types.is_float32(field.type)]
    columns = {name: table[name] for name in features}
    columns["label"] = table["class_name"]
    write_parquet(pa.table(columns), out / "weather.parquet")


if __name__ == "__main__":
    main()
