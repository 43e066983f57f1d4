"""Elec2: the New South Wales electricity market, half-hourly, in order of time.

    make_elec2.py SOURCE OUT

SOURCE is a Parquet file of the normalised Elec2 with the columns event_time, day, period, nswprice, nswdemand,
vicprice, vicdemand, transfer and class_name. Writes elec2.parquet into the folder OUT. The column date is left out: it
grows with time and would name the row.
"""

import pyarrow as pa
import pyarrow.compute as pc

from common import arguments, read_table, write_parquet

FEATURES = ["period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"]


def main():
    source, out = arguments(__doc__)
    table = read_table(source)
    columns = {"event_time": table["event_time"], "day": pc.cast(table["day"], pa.int8())}
    columns |= {name: table[name] for name in FEATURES}
    columns["label"] = table["class_name"]
    write_parquet(pa.table(columns), out / "elec2.parquet")


if __name__ == "__main__":
    main()
