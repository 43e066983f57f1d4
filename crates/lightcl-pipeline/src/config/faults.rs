//! Mistakes in a configuration, each shown where it stands.

use super::document::Origin;
use super::secrets::{line_may_hold_secret, names_secret};
use lightcl_core::Error;
use std::fmt::Write;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub origin: Origin,
    pub message: String,
}

impl Fault {
    pub fn new(origin: Origin, message: impl Into<String>) -> Self {
        Fault { origin, message: message.into() }
    }
}

/// All mistakes found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub fn add(&mut self, origin: &Origin, message: impl Into<String>) {
        self.0.push(Fault::new(origin.clone(), message));
    }

    pub fn extend(&mut self, others: Faults) {
        self.0.extend(others.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// One user error that shows every mistake: those in the file in order, then those of overrides.
    pub fn into_error(mut self, file: &str, text: &str) -> Error {
        self.0.sort_by(|a, b| a.origin.cmp(&b.origin));
        self.0.dedup();
        let mut message = match self.0.len() {
            1 => String::new(),
            count => format!("{count} mistakes in the configuration\n"),
        };
        for (number, fault) in self.0.iter().enumerate() {
            if number > 0 {
                message.push('\n');
            }
            show(&mut message, fault, file, text);
        }
        Error::user(message)
    }
}

impl FromIterator<Fault> for Faults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        Faults(faults.into_iter().collect())
    }
}

fn show(shown: &mut String, fault: &Fault, file: &str, text: &str) {
    let message = &fault.message;
    // Writing to a String cannot fail.
    let _ = match &fault.origin {
        Origin::File { start, end } => {
            let place = Place::of(text, *start);
            if line_may_hold_secret(text, *start) {
                // Where the mistake is has to be enough.
                let _ = write!(shown, "{file}:{}:{}: {message}", place.line, place.column);
                return;
            }
            let number = place.line.to_string();
            let margin = " ".repeat(number.len());
            // A mark never runs past the end of its line.
            let room = place.content.chars().count().saturating_sub(place.column - 1).max(1);
            let marked = text.get(*start..*end).map_or(1, |marked| marked.chars().count());
            let mark = "^".repeat(marked.clamp(1, room));
            let indent: String =
                place.content.chars().take(place.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(
                shown,
                "{file}:{number}:{}: {message}\n {margin} |\n {number} | {}\n {margin} | {indent}{mark}",
                place.column, place.content
            )
        }
        Origin::Environment(name) => write!(shown, "environment variable {name}: {message}"),
        Origin::CommandLine(option) => match option.split_once('=') {
            Some((key, _)) if names_secret(key) => write!(shown, "{key}=..: {message}"),
            _ => write!(shown, "{option}: {message}"),
        },
        Origin::Default => write!(shown, "{file}: {message}"),
    };
}

/// A place in a text, as editors count: from 1, in characters.
pub(super) struct Place<'a> {
    pub line: usize,
    pub column: usize,
    pub content: &'a str,
}

impl<'a> Place<'a> {
    pub fn of(text: &'a str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[offset..].find('\n').map_or(text.len(), |newline| offset + newline);
        Place {
            line: text[..start].matches('\n').count() + 1,
            column: text[start..offset].chars().count() + 1,
            content: text[start..end].trim_end_matches('\r'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_under_its_line() {
        let text = "a = 1\n\tbß = 22\n";
        let start = text.find("22").unwrap();
        let faults = Faults::from_iter([Fault::new(Origin::File { start, end: start + 2 }, "too large")]);
        let error = faults.into_error("p.toml", text);
        assert_eq!(error.message(), "p.toml:2:7: too large\n   |\n 2 | \tbß = 22\n   | \t     ^^");
    }

    #[test]
    fn a_line_that_may_hold_a_secret_is_not_shown() {
        let text = "[source.client]\nsasl.password = hunter2\n";
        let start = text.find("hunter2").unwrap();
        let faults = Faults::from_iter([
            Fault::new(Origin::File { start, end: start + 7 }, "not TOML"),
            Fault::new(Origin::CommandLine("--set source.client.sasl.password=hunter2".to_owned()), "no"),
        ]);
        let message = faults.into_error("p.toml", text).message().to_owned();
        assert!(message.contains("p.toml:2:17: not TOML\n--set source.client.sasl.password=..: no"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn mistakes_are_counted_and_come_in_order_of_the_file() {
        let faults = Faults::from_iter([
            Fault::new(Origin::CommandLine("--set a=1".to_owned()), "third"),
            Fault::new(Origin::File { start: 4, end: 5 }, "second"),
            Fault::new(Origin::File { start: 0, end: 1 }, "first"),
        ]);
        let message = faults.into_error("p.toml", "a = b").message().to_owned();
        assert!(message.starts_with("3 mistakes"), "{message}");
        let places: Vec<_> = ["first", "second", "--set a=1: third"].iter().map(|m| message.find(m).unwrap()).collect();
        assert!(places.is_sorted(), "{message}");
    }

    #[test]
    fn a_place_past_the_end_is_the_end() {
        let place = Place::of("a\nb", 99);
        assert_eq!((place.line, place.column, place.content), (2, 2, "b"));
        assert_eq!(Place::of("", 0).line, 1);
        assert_eq!(Place::of("ü", 1).column, 1);
    }
}
