//! Lines of comma-separated values.

use crate::support::{Record, block, check, config, faults, outcome, read, shown, type_of};
use lightcl_kafka::format::{self, FormatConfig, FormatKind};
use proptest::prelude::*;

fn csv(columns: &[&str], header: &[&str]) -> FormatConfig {
    let mut config = config(FormatKind::Csv, columns);
    config.exact = vec!["label".to_owned()];
    config.csv.columns = header.iter().map(|name| (*name).to_owned()).collect();
    config
}

#[test]
fn lines_are_rows() {
    let rows = read(
        &csv(&["x", "label", "note", "gone"], &["note", "x", "label"]),
        &["a,1,7\n", "\"b,\"\"c\"\"\",2.5,8\r\n\r\n\"d\ne\",,9", "f,x,1.5\ng,3,1\n", "1,2\nh,4,2"],
    );
    assert_eq!(rows.records, [0, 1, 1, 2, 2, 3, 3]);
    assert_eq!(shown(&rows, "x"), ["1.0", "2.5", "-", "-", "3.0", "-", "4.0"]);
    assert_eq!(shown(&rows, "label"), ["7", "8", "9", "-", "1", "-", "2"]);
    assert_eq!(shown(&rows, "note"), ["a", "b,\"c\"", "d\ne", "-", "g", "-", "h"]);
    assert_eq!(type_of(&rows, "gone"), "Null");
    assert_eq!(faults(&rows)[1], (5, "found 2 cells, expected 3"));
    assert!(rows.faults[0].message.contains("found the text '1.5', expected a whole number"), "{:?}", rows.faults);
}

#[test]
fn without_columns_each_value_begins_with_their_names() {
    let rows = read(&csv(&["x", "label"], &[]), &["x,label\n1,2", "label,x\n3,4\n5,6", "x\n", "", "y\n1"]);
    assert_eq!(shown(&rows, "x"), ["1.0", "4.0", "6.0", "-", "-", "-"]);
    assert_eq!(shown(&rows, "label"), ["2", "3", "5", "-", "-", "-"]);
    assert_eq!(
        faults(&rows),
        [(3, "the value has no line of cells"), (4, "the value has no line with the names of columns")]
    );
}

#[test]
fn long_lines_and_other_signs_are_read() {
    let mut config = csv(&["x", "v"], &["v", "x"]);
    (config.csv.delimiter, config.csv.quote) = (b';', b'\'');
    config.types.insert("v".into(), "list<float32>".into());
    let list = format!("'[{}]';1", vec!["1"; 3_000].join(", "));
    let rows = read(&config, &[&list, "'[1'';2", "'[1, x]';2", "'[1, \"x\"]';3"]);
    assert_eq!(shown(&rows, "v")[0].matches("1.0").count(), 3_000);
    assert_eq!(rows.faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), [1, 2, 3]);
    config.csv.quote = b';';
    assert!(format::open(&config).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn how_records_are_cut_into_blocks_does_not_matter(
        values in prop::collection::vec("((a|1|2\\.5|true|\"|NaN|\n|),){2}(x|0|1|\n)\n{0,2}", 0..16),
        cuts in prop::collection::vec((0_usize..16, any::<bool>()), 0..4),
        named in any::<bool>(),
    ) {
        let config = csv(&["p", "q", "label"], if named { &["p", "q", "label"] } else { &[] });
        let records: Vec<Record> = values
            .iter()
            .map(|value| Record::new(if named { value.clone() } else { format!("p,q,label\n{value}") }))
            .collect();
        let mut cuts: Vec<(usize, bool)> = cuts.into_iter().map(|(at, restore)| (at.min(records.len()), restore)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(outcome(&config, &records, &[]), outcome(&config, &records, &cuts));
    }

    #[test]
    fn any_bytes_give_rows_or_faults(
        values in prop::collection::vec(prop::collection::vec(prop_oneof![any::<u8>(), Just(b','), Just(b'\n'), Just(b'"')], 0..40), 0..8),
        named in any::<bool>(),
    ) {
        let records: Vec<Record> = values.iter().map(Record::new).collect();
        let block = block(&records);
        let config = csv(&["x"], if named { &["x", "y"] } else { &[] });
        check(&format::open(&config).unwrap().read(&block).unwrap(), &block);
    }
}
