//! `[boundary.calendar]`: boundaries by the time of the events.

use super::detectors::one_of;
use lightcl_boundary::{Alternate, CalendarConfig, CalendarPeriod, DayOfWeek};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// Settings of the detector calendar: the event time enters another hour, day, week or month.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CalendarDetector {
    /// How long a period is.
    #[schemars(schema_with = "periods")]
    pub period: CalendarPeriod,
    /// Where days begin, in minutes after midnight UTC; -120 two hours east of Greenwich. Hours, weeks and months move
    /// along.
    #[schemars(range(min = -1439, max = 1439))]
    pub offset_minutes: i32,
    /// The day on which weeks begin.
    #[schemars(schema_with = "days_of_the_week")]
    pub week_starts: DayOfWeek,
    /// Days such as "2026-12-24", each a period by itself: a boundary at its start and one at its end.
    #[schemars(length(max = 10_000))]
    pub holidays: Vec<String>,
    /// Which new periods are boundaries: each, or only where working days and days off meet.
    #[schemars(schema_with = "alternations")]
    pub alternate: Alternate,
}

impl Default for CalendarDetector {
    fn default() -> Self {
        let CalendarConfig { period, offset_minutes, week_starts, holidays, alternate } = CalendarConfig::default();
        CalendarDetector { period, offset_minutes, week_starts, holidays, alternate }
    }
}

impl From<CalendarDetector> for CalendarConfig {
    fn from(section: CalendarDetector) -> Self {
        let CalendarDetector { period, offset_minutes, week_starts, holidays, alternate } = section;
        CalendarConfig { period, offset_minutes, week_starts, holidays, alternate }
    }
}

fn periods(_: &mut SchemaGenerator) -> Schema {
    one_of(&[("hourly", "an hour"), ("daily", "a day"), ("weekly", "a week"), ("monthly", "a month")])
}

fn days_of_the_week(_: &mut SchemaGenerator) -> Schema {
    let names = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    one_of(&names.map(|name| (name, "weeks begin on it")))
}

fn alternations(_: &mut SchemaGenerator) -> Schema {
    one_of(&[
        ("each", "every new period"),
        ("weekend", "a working day after a weekend or holiday, and the other way round; for the period daily"),
    ])
}
