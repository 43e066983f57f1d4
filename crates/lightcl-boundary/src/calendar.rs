//! Detector `calendar`: the time of the events enters another hour, day, week or month.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike, Weekday};
use lightcl_core::{BoundaryDetector, Error, Observation, Result, Stateful, Verdict, state};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

const NAME: &str = "calendar";
const TAG: &str = "boundary.calendar";
const VERSION: u16 = 1;

/// `offset_minutes` stays within a day: more would only name another day.
const MOST_OFFSET: i32 = 24 * 60 - 1;

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalendarPeriod {
    /// An hour.
    Hourly,
    /// A day.
    Daily,
    /// A week, from `week_starts` on.
    Weekly,
    /// A month.
    Monthly,
}

/// Which new periods are boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alternate {
    /// Each.
    Each,
    /// A working day after a weekend or holiday, and the other way round.
    Weekend,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DayOfWeek {
    /// Monday.
    Monday,
    /// Tuesday.
    Tuesday,
    /// Wednesday.
    Wednesday,
    /// Thursday.
    Thursday,
    /// Friday.
    Friday,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}

impl From<DayOfWeek> for Weekday {
    fn from(day: DayOfWeek) -> Self {
        match day {
            DayOfWeek::Monday => Weekday::Mon,
            DayOfWeek::Tuesday => Weekday::Tue,
            DayOfWeek::Wednesday => Weekday::Wed,
            DayOfWeek::Thursday => Weekday::Thu,
            DayOfWeek::Friday => Weekday::Fri,
            DayOfWeek::Saturday => Weekday::Sat,
            DayOfWeek::Sunday => Weekday::Sun,
        }
    }
}

/// Settings of [`CalendarDetector`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CalendarConfig {
    /// How long a period is.
    pub period: CalendarPeriod,
    /// Where days begin, and with them weeks and months: minutes after midnight UTC, or before it where negative. Two
    /// hours east of Greenwich days begin at -120. Hours begin so many minutes after the full hour UTC. At most a day.
    pub offset_minutes: i32,
    /// The day on which weeks begin.
    pub week_starts: DayOfWeek,
    /// Days such as `2026-12-24`. Each is a period by itself, whatever the others are: the boundaries are at its start
    /// and at its end.
    pub holidays: Vec<String>,
    /// Which new periods are boundaries. `weekend` goes by days and needs the period `daily`.
    pub alternate: Alternate,
}

impl Default for CalendarConfig {
    fn default() -> Self {
        CalendarConfig {
            period: CalendarPeriod::Daily,
            offset_minutes: 0,
            week_starts: DayOfWeek::Monday,
            holidays: Vec::new(),
            alternate: Alternate::Each,
        }
    }
}

impl CalendarConfig {
    fn validate(&self) -> Result<()> {
        if !(-MOST_OFFSET..=MOST_OFFSET).contains(&self.offset_minutes) {
            return Err(Error::user(format!(
                "calendar.offset_minutes must lie between -{MOST_OFFSET} and {MOST_OFFSET}"
            ))
            .with("offset_minutes", self.offset_minutes));
        }
        if self.alternate == Alternate::Weekend && self.period != CalendarPeriod::Daily {
            return Err(Error::user("calendar.alternate = \"weekend\" goes by days: set calendar.period to \"daily\"")
                .with("period", self.period)
                .with("alternate", "weekend"));
        }
        Ok(())
    }

    fn holidays(&self) -> Result<BTreeSet<NaiveDate>> {
        self.holidays
            .iter()
            .map(|text| {
                let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
                // The parser takes 2026-1-2 and blanks too; one way to write a date is enough.
                date.filter(|date| date.to_string() == *text).ok_or_else(|| {
                    Error::user("calendar.holidays must be dates such as 2026-12-24").with("holidays", text)
                })
            })
            .collect()
    }
}

impl fmt::Display for CalendarPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CalendarPeriod::Hourly => "hourly",
            CalendarPeriod::Daily => "daily",
            CalendarPeriod::Weekly => "weekly",
            CalendarPeriod::Monthly => "monthly",
        })
    }
}

/// Fires at the first row whose event time lies in another period than that of the rows before.
///
/// Periods without rows are passed over: two rows with a weekend between them are two working days in a row. A row
/// without an event time, or with one that no calendar has, says nothing. Neither does a late row, with an event time
/// before the latest so far: it belongs to a task that is over, and to fire for it would begin that one again. It
/// follows that one row of the far future silences the detector until then. As with the detector `task_column`, the
/// current period outlives a reset.
///
/// ```
/// use lightcl_boundary::{Alternate, CalendarConfig, CalendarDetector};
///
/// let at_home = CalendarConfig { offset_minutes: -60, alternate: Alternate::Weekend, ..CalendarConfig::default() };
/// assert!(CalendarDetector::new(&at_home).is_ok());
/// let no_date = CalendarConfig { holidays: vec!["24 December".to_owned()], ..CalendarConfig::default() };
/// assert!(CalendarDetector::new(&no_date).is_err());
/// # Ok::<(), lightcl_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CalendarDetector {
    period: CalendarPeriod,
    offset: TimeDelta,
    week_starts: Weekday,
    holidays: BTreeSet<NaiveDate>,
    alternate: Alternate,
    /// The latest event time; the current period is the one that it lies in.
    latest: Option<i64>,
}

/// A stretch of time, by its beginning as a clock at the offset shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    Hour(NaiveDateTime),
    Day(NaiveDate),
    Week(NaiveDate),
    Month(NaiveDate),
    Holiday(NaiveDate),
}

impl Period {
    fn is_working_day(self) -> bool {
        matches!(self, Period::Day(date) if !matches!(date.weekday(), Weekday::Sat | Weekday::Sun))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Period::Hour(start) => write!(f, "the hour {} {:02}:00", start.date(), start.hour()),
            Period::Day(date) => write!(f, "{} {date}", date.weekday()),
            Period::Week(first) => write!(f, "the week of {} {first}", first.weekday()),
            Period::Month(first) => write!(f, "the month {}-{:02}", first.year(), first.month()),
            Period::Holiday(date) => write!(f, "the holiday {date}"),
        }
    }
}

impl CalendarDetector {
    /// A detector before the first row.
    ///
    /// # Errors
    /// When a setting is out of range, a holiday is no date, or the settings contradict each other.
    pub fn new(config: &CalendarConfig) -> Result<Self> {
        config.validate()?;
        Ok(CalendarDetector {
            period: config.period,
            offset: TimeDelta::minutes(config.offset_minutes.into()),
            week_starts: config.week_starts.into(),
            holidays: config.holidays()?,
            alternate: config.alternate,
            latest: None,
        })
    }

    /// The period of an event; none beyond the years that the calendar has.
    fn period_of(&self, event_time: i64) -> Option<Period> {
        let shown = DateTime::from_timestamp_micros(event_time)?.naive_utc().checked_sub_signed(self.offset)?;
        let date = shown.date();
        if self.holidays.contains(&date) {
            return Some(Period::Holiday(date));
        }
        Some(match self.period {
            CalendarPeriod::Hourly => Period::Hour(date.and_hms_opt(shown.hour(), 0, 0)?),
            CalendarPeriod::Daily => Period::Day(date),
            CalendarPeriod::Weekly => Period::Week(date.week(self.week_starts).checked_first_day()?),
            CalendarPeriod::Monthly => Period::Month(date.with_day(1)?),
        })
    }

    fn is_boundary(&self, before: Period, after: Period) -> bool {
        match self.alternate {
            Alternate::Each => before != after,
            Alternate::Weekend => before.is_working_day() != after.is_working_day(),
        }
    }
}

impl BoundaryDetector for CalendarDetector {
    fn name(&self) -> &str {
        NAME
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Verdict {
        let Some(event_time) = observation.event_time else { return Verdict::Stable };
        if self.latest.is_some_and(|latest| event_time < latest) {
            return Verdict::Stable;
        }
        let Some(after) = self.period_of(event_time) else { return Verdict::Stable };
        let before = self.latest.replace(event_time).and_then(|latest| self.period_of(latest));
        match before {
            Some(before) if self.is_boundary(before, after) => {
                Verdict::boundary(observation.index, NAME, format!("the event time went from {before} to {after}"))
            }
            _ => Verdict::Stable,
        }
    }

    fn reset(&mut self) {
        // The current period stays: the row at which a boundary is noticed belongs to the new task.
    }
}

impl Stateful for CalendarDetector {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.latest)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let latest: Option<i64> = state::decode(TAG, VERSION, bytes)?;
        if latest.is_some_and(|latest| self.period_of(latest).is_none()) {
            return Err(Error::user("the saved state of a detector is damaged").with("detector", NAME));
        }
        self.latest = latest;
        Ok(())
    }
}
