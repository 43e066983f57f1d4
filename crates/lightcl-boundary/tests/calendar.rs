//! The detector `calendar` on event times whose periods are known.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use chrono::NaiveDateTime;
use lightcl_boundary::{Alternate, CalendarConfig, CalendarDetector, CalendarPeriod, DayOfWeek};
use lightcl_core::{BoundaryDetector, ErrorKind, Observation, Stateful, Verdict};
use lightcl_testkit::conformance;

fn micros(text: &str) -> i64 {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap().and_utc().timestamp_micros()
}

fn observe(detector: &mut CalendarDetector, index: u64, event_time: Option<i64>) -> Option<String> {
    let observation = Observation {
        index,
        label: 0,
        predicted: Some(0),
        loss: 0.1,
        margin: 0.9,
        entropy: 0.2,
        task_key: None,
        event_time,
        features: &[],
        activations: &[],
        pattern_loss: None,
    };
    match detector.observe(&observation) {
        Verdict::Boundary { at, evidence } => {
            assert_eq!(at, index);
            detector.reset();
            Some(evidence[0].message.clone())
        }
        _ => None,
    }
}

/// At which of the times, minutes of UTC, the detector fires; an empty text is a row without one.
fn fires(config: CalendarConfig, times: &[&str]) -> Vec<String> {
    let mut detector = CalendarDetector::new(&config).unwrap();
    let mut found = Vec::new();
    for (index, time) in times.iter().enumerate() {
        let event_time = (!time.is_empty()).then(|| micros(time));
        if observe(&mut detector, index as u64, event_time).is_some() {
            found.push((*time).to_owned());
        }
    }
    found
}

/// Every half hour from one day's midnight to another's, and where the detector fires.
fn sweep(config: CalendarConfig, from: &str, to: &str) -> Vec<String> {
    let (from, to) = (micros(&format!("{from} 00:00")), micros(&format!("{to} 00:00")));
    let mut detector = CalendarDetector::new(&config).unwrap();
    let mut found = Vec::new();
    for (index, time) in (from..to).step_by(30 * 60_000_000).enumerate() {
        if observe(&mut detector, index as u64, Some(time)).is_some() {
            found.push(chrono::DateTime::from_timestamp_micros(time).unwrap().format("%m-%d %H:%M").to_string());
        }
    }
    found
}

fn every(period: CalendarPeriod) -> CalendarConfig {
    CalendarConfig { period, ..CalendarConfig::default() }
}

fn holidays(days: &[&str]) -> Vec<String> {
    days.iter().map(|&day| day.to_owned()).collect()
}

#[test]
fn each_period_begins_where_the_calendar_says() {
    assert_eq!(
        fires(every(CalendarPeriod::Hourly), &["2026-03-01 10:00", "2026-03-01 10:59", "2026-03-01 11:00"]),
        ["2026-03-01 11:00"]
    );
    assert_eq!(sweep(every(CalendarPeriod::Daily), "2024-02-28", "2024-03-02"), ["02-29 00:00", "03-01 00:00"]);
    // 2026-01-01 is a Thursday: the week reaches over the end of the year.
    assert_eq!(sweep(every(CalendarPeriod::Weekly), "2025-12-29", "2026-01-13"), ["01-05 00:00", "01-12 00:00"]);
    let from_sunday = CalendarConfig { week_starts: DayOfWeek::Sunday, ..every(CalendarPeriod::Weekly) };
    assert_eq!(sweep(from_sunday, "2025-12-29", "2026-01-13"), ["01-04 00:00", "01-11 00:00"]);
    assert_eq!(
        sweep(every(CalendarPeriod::Monthly), "2026-01-15", "2026-04-15"),
        ["02-01 00:00", "03-01 00:00", "04-01 00:00"]
    );
    // The same hour of the next day is another, and so is the same month of the next year.
    assert_eq!(fires(every(CalendarPeriod::Hourly), &["2026-03-01 10:00", "2026-03-02 10:00"]).len(), 1);
    assert_eq!(fires(every(CalendarPeriod::Monthly), &["2026-03-01 10:00", "2027-03-01 10:00"]).len(), 1);
}

#[test]
fn times_before_1970_have_periods_too() {
    assert_eq!(sweep(every(CalendarPeriod::Daily), "1969-12-30", "1970-01-02"), ["12-31 00:00", "01-01 00:00"]);
}

#[test]
fn weekends_alternate_with_working_days() {
    let weekend = CalendarConfig { alternate: Alternate::Weekend, ..CalendarConfig::default() };
    // 2026-07-25 is a Saturday.
    assert_eq!(sweep(weekend.clone(), "2026-07-22", "2026-08-02"), ["07-25 00:00", "07-27 00:00", "08-01 00:00"]);
    // A Wednesday off counts as a weekend; a holiday on a Sunday or next to one changes nothing there.
    let with_holidays =
        CalendarConfig { holidays: holidays(&["2026-07-22", "2026-07-26", "2026-07-27"]), ..weekend.clone() };
    assert_eq!(
        sweep(with_holidays, "2026-07-21", "2026-07-30"),
        ["07-22 00:00", "07-23 00:00", "07-25 00:00", "07-28 00:00"]
    );
    assert!(fires(weekend, &["2026-07-24 12:00", "2026-07-27 12:00"]).is_empty(), "no row came on the weekend");
}

#[test]
fn a_holiday_is_a_period_by_itself() {
    let weekly = CalendarConfig {
        holidays: holidays(&["2026-12-24", "2026-12-25", "2026-12-28"]),
        ..every(CalendarPeriod::Weekly)
    };
    assert_eq!(
        sweep(weekly.clone(), "2026-12-22", "2026-12-31"),
        ["12-24 00:00", "12-25 00:00", "12-26 00:00", "12-28 00:00", "12-29 00:00"]
    );
    assert!(fires(weekly, &["2026-12-23 12:00", "2026-12-26 12:00"]).is_empty(), "no row came on the holidays");
    let hourly = CalendarConfig { holidays: holidays(&["2026-12-24"]), ..every(CalendarPeriod::Hourly) };
    assert_eq!(sweep(hourly, "2026-12-24", "2026-12-25"), Vec::<String>::new());
}

#[test]
fn the_offset_moves_all_beginnings() {
    let shifted = |period, offset_minutes| CalendarConfig { offset_minutes, ..every(period) };
    assert_eq!(sweep(shifted(CalendarPeriod::Daily, -120), "2026-03-01", "2026-03-03"), ["03-01 22:00", "03-02 22:00"]);
    assert_eq!(sweep(shifted(CalendarPeriod::Daily, 300), "2026-03-01", "2026-03-02"), ["03-01 05:00"]);
    assert_eq!(sweep(shifted(CalendarPeriod::Monthly, -60), "2026-02-25", "2026-03-03"), ["02-28 23:00"]);
    assert_eq!(sweep(shifted(CalendarPeriod::Weekly, 360), "2026-07-26", "2026-07-29"), ["07-27 06:00"]);
    let half =
        fires(shifted(CalendarPeriod::Hourly, 30), &["2026-03-01 10:00", "2026-03-01 10:29", "2026-03-01 10:30"]);
    assert_eq!(half, ["2026-03-01 10:30"]);
    let holiday = CalendarConfig { holidays: holidays(&["2026-12-24"]), ..shifted(CalendarPeriod::Monthly, -60) };
    assert_eq!(sweep(holiday, "2026-12-22", "2026-12-26"), ["12-23 23:00", "12-24 23:00"]);
}

#[test]
fn late_rows_never_fire_and_do_not_move_the_period() {
    let times = [
        "2026-03-01 10:00",
        "2026-03-02 00:00",
        "2026-03-01 23:59", // late, of the day before
        "2026-03-02 01:00",
        "2026-02-01 00:00", // very late
        "2026-03-02 02:00",
        "2026-03-03 00:00",
    ];
    assert_eq!(fires(CalendarConfig::default(), &times), ["2026-03-02 00:00", "2026-03-03 00:00"]);
}

#[test]
fn rows_without_a_time_or_with_one_of_no_calendar_say_nothing() {
    let times = ["", "2026-03-01 10:00", "", "2026-03-02 10:00", ""];
    assert_eq!(fires(CalendarConfig::default(), &times), ["2026-03-02 10:00"]);
    for period in [CalendarPeriod::Hourly, CalendarPeriod::Daily, CalendarPeriod::Weekly, CalendarPeriod::Monthly] {
        for offset_minutes in [-1439, 0, 1439] {
            let config = CalendarConfig { offset_minutes, ..every(period) };
            let mut detector = CalendarDetector::new(&config).unwrap();
            for extreme in [i64::MIN, i64::MAX] {
                assert_eq!(observe(&mut detector, 0, Some(extreme)), None);
            }
            assert_eq!(observe(&mut detector, 1, Some(0)), None);
            assert!(observe(&mut detector, 2, Some(40 * 86_400_000_000)).is_some(), "{period}");
        }
    }
}

#[test]
fn the_evidence_names_both_periods() {
    for (config, times, said) in [
        (
            every(CalendarPeriod::Hourly),
            ["2026-07-24 09:10", "2026-07-24 13:20"],
            "the event time went from the hour 2026-07-24 09:00 to the hour 2026-07-24 13:00",
        ),
        (
            every(CalendarPeriod::Daily),
            ["2026-07-24 09:10", "2026-07-25 13:20"],
            "the event time went from Fri 2026-07-24 to Sat 2026-07-25",
        ),
        (
            CalendarConfig { holidays: holidays(&["2026-07-29"]), ..every(CalendarPeriod::Weekly) },
            ["2026-07-24 09:10", "2026-07-29 13:20"],
            "the event time went from the week of Mon 2026-07-20 to the holiday 2026-07-29",
        ),
        (
            every(CalendarPeriod::Monthly),
            ["2026-07-24 09:10", "2027-02-02 13:20"],
            "the event time went from the month 2026-07 to the month 2027-02",
        ),
    ] {
        let mut detector = CalendarDetector::new(&config).unwrap();
        assert_eq!(observe(&mut detector, 0, Some(micros(times[0]))), None);
        assert_eq!(observe(&mut detector, 1, Some(micros(times[1]))).as_deref(), Some(said));
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let weekly_weekend = CalendarConfig { alternate: Alternate::Weekend, ..every(CalendarPeriod::Weekly) };
    for (config, said) in [
        (CalendarConfig { offset_minutes: 1440, ..CalendarConfig::default() }, "between -1439 and 1439"),
        (weekly_weekend, "set calendar.period to \"daily\""),
        (
            CalendarConfig { holidays: holidays(&["2026-02-30"]), ..CalendarConfig::default() },
            "such as 2026-12-24 (holidays: 2026-02-30)",
        ),
        (CalendarConfig { holidays: holidays(&["2026-1-2"]), ..CalendarConfig::default() }, "holidays: 2026-1-2"),
    ] {
        let error = CalendarDetector::new(&config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::User);
        assert!(error.to_string().contains(said), "{error}");
    }
    assert!(serde_json::from_str::<CalendarConfig>(r#"{"period": "yearly"}"#).is_err());
}

#[test]
fn a_time_of_no_calendar_is_refused_as_state() {
    let mut detector = CalendarDetector::new(&CalendarConfig::default()).unwrap();
    let damaged = lightcl_core::state::encode("boundary.calendar", 1, &Some(i64::MAX)).unwrap();
    assert!(detector.restore(&damaged).is_err());
}

#[test]
fn all_kinds_of_settings_conform() {
    let weekend = CalendarConfig {
        alternate: Alternate::Weekend,
        holidays: holidays(&["1970-01-01"]),
        offset_minutes: 200,
        ..CalendarConfig::default()
    };
    for config in [every(CalendarPeriod::Hourly), weekend] {
        conformance::detector(|| Box::new(CalendarDetector::new(&config).unwrap()));
    }
}
