//! Where river departs from the paper, `follow = "paper"` (or a setting) does as the paper.
#![allow(clippy::unwrap_used, reason = "a test")]

use lightcl_boundary::scalar::{
    Adwin, AdwinConfig, Ddm, DdmConfig, Eddm, EddmConfig, Follow, HddmA, HddmAConfig, HddmW, HddmWConfig, Kswin,
    KswinConfig, ScalarDetector,
};
use lightcl_testkit::{normal, seeded};
use rand::RngExt;

const BOTH: [Follow; 2] = [Follow::River, Follow::Paper];

fn hits(detector: &mut dyn ScalarDetector, values: &[f64]) -> Vec<usize> {
    (0..values.len()).filter(|&index| detector.update(values[index]).is_detected()).collect()
}

fn errors(length: usize, seed: u64, rate: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut random = seeded(seed);
    (0..length).map(|index| f64::from(u8::from(random.random_bool(rate(index))))).collect()
}

#[test]
fn adwin_in_the_paper_goes_on_with_the_newer_part_of_its_window_and_river_with_none() {
    let found = BOTH.map(|follow| {
        let mut adwin = Adwin::new(AdwinConfig { follow, ..AdwinConfig::default() }).unwrap();
        let hits = hits(&mut adwin, &[vec![0.0; 1000], vec![1.0; 24]].concat());
        let at_the_change = adwin.width();
        adwin.update(1.0);
        (hits, at_the_change, adwin.width())
    });
    assert_eq!(found[0].0, found[1].0);
    assert_eq!((found[0].1, found[0].2), (found[1].1, 1));
    assert_eq!(found[1].2, found[1].1 + 1);
    let every_value = AdwinConfig {
        follow: Follow::Paper,
        clock: 1,
        min_window_length: 1,
        grace_period: 0,
        delta: 0.002,
        max_buckets: 5,
    };
    let values = errors(2000, 1, |index| if index < 1000 { 0.1 } else { 0.6 });
    let first = hits(&mut Adwin::new(every_value).unwrap(), &values)[0];
    assert!((1000..1055).contains(&first), "a test at every value is sooner than one at every 32nd: {first}");
}

#[test]
fn ddm_fires_when_a_threshold_is_reached_in_the_paper_and_exceeded_in_river() {
    let found = BOTH.map(|follow| {
        let config = DdmConfig { warm_start: 4, warning_threshold: 1.0, drift_threshold: 1.0, follow };
        // The first level that is looked at is the lowest, and one standard deviation above the lowest rate.
        hits(&mut Ddm::new(config).unwrap(), &[1.0, 0.0, 0.0, 0.0, 0.0])
    });
    assert_eq!(found, [vec![], vec![4]]);
}

#[test]
fn eddm_as_in_the_paper_leaves_regular_errors_alone_where_river_counts_the_way_to_the_first_as_a_distance() {
    let every_tenth: Vec<f64> = (0..5000).map(|index| f64::from(u8::from(index % 10 == 0))).collect();
    let found =
        BOTH.map(|follow| hits(&mut Eddm::new(EddmConfig { follow, ..EddmConfig::default() }).unwrap(), &every_tenth));
    assert_eq!(found[0].first(), Some(&300));
    assert_eq!(found[1], Vec::<usize>::new());
}

#[test]
fn hddm_a_in_the_paper_notices_earlier_with_its_one_sided_bound() {
    let (mut earlier, mut later) = (0, 0);
    for seed in 0..50 {
        let values = errors(2000, seed, |index| if index < 1000 { 0.1 } else { 0.4 });
        let first = BOTH.map(|follow| {
            let mut detector = HddmA::new(HddmAConfig { follow, ..HddmAConfig::default() }).unwrap();
            hits(&mut detector, &values).into_iter().find(|&hit| hit >= 1000).unwrap()
        });
        earlier += usize::from(first[1] < first[0]);
        later += usize::from(first[1] > first[0]);
    }
    assert!(earlier >= 25 && later <= 5, "earlier {earlier}, later {later}");
    let two_sided = BOTH.map(|follow| {
        let config = HddmAConfig { follow, two_sided_test: true, ..HddmAConfig::default() };
        hits(&mut HddmA::new(config).unwrap(), &errors(2000, 1, |index| if index < 1000 { 0.1 } else { 0.4 }))
    });
    assert_eq!(two_sided[0], two_sided[1], "the two-sided test has the same bound in both");
}

#[test]
fn hddm_w_in_the_paper_needs_a_value_or_two_more_after_a_cut() {
    let zeros_then_ones = |follow| {
        let mut detector = HddmW::new(HddmWConfig { follow, ..HddmWConfig::default() }).unwrap();
        // The weighted mean of the ones alone is 1 from the first; only the bound keeps it from being a rise.
        let values: Vec<f64> = (0..60).map(|index| if index < 30 { 0.0 } else { 1.0 }).collect();
        hits(&mut detector, &values)[0]
    };
    let [river, paper] = BOTH.map(zeros_then_ones);
    assert!(river >= 30);
    assert!(
        (river + 1..=river + 2).contains(&paper),
        "river's sums of squared weights are a step ahead: {river}, {paper}"
    );
}

#[test]
fn kswin_in_the_paper_goes_on_with_the_newest_values_and_river_with_none() {
    let mut random = seeded(1);
    // A step every 80 values: too fast for a window of 100 that begins empty after each.
    let steps: Vec<f64> = (0..4000).map(|index| (index / 80) as f64 * 10.0 + normal(&mut random)).collect();
    let found = BOTH.map(|follow| {
        let mut kswin = Kswin::new(KswinConfig { follow, ..KswinConfig::default() }).unwrap();
        let found = hits(&mut kswin, &steps);
        found.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap()
    });
    assert!(found[0] >= 100, "a river's window has to fill again: {found:?}");
    assert!((70..100).contains(&found[1]), "the paper's has stat_size values: {found:?}");
}
