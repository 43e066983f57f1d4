//! Where statements end.

/// Looks at text line by line and knows whether its last statement is complete: it ends with `;` outside of quotes and
/// comments.
#[derive(Debug, Default)]
pub(super) struct Ends {
    within: Within,
    /// The last character that counts.
    last: Option<char>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Within {
    #[default]
    Nothing,
    Quotes(char),
    /// Comments of this kind may hold others.
    Comments(u32),
}

impl Ends {
    pub fn look_at(&mut self, line: &str) {
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            let next = characters.peek().copied();
            match (self.within, character) {
                (Within::Nothing, '-') if next == Some('-') => break,
                (Within::Nothing, '/') if next == Some('*') => {
                    characters.next();
                    self.within = Within::Comments(1);
                }
                (Within::Nothing, '\'' | '"' | '`') => {
                    (self.within, self.last) = (Within::Quotes(character), Some(character));
                }
                (Within::Nothing, other) if other.is_whitespace() => {}
                (Within::Nothing, other) => self.last = Some(other),
                // A quote that is doubled ends here and begins again with the next character.
                (Within::Quotes(quote), other) if other == quote => self.within = Within::Nothing,
                (Within::Quotes(_), _) => {}
                (Within::Comments(depth), '/') if next == Some('*') => {
                    characters.next();
                    self.within = Within::Comments(depth + 1);
                }
                (Within::Comments(depth), '*') if next == Some('/') => {
                    characters.next();
                    self.within = if depth == 1 { Within::Nothing } else { Within::Comments(depth - 1) };
                }
                (Within::Comments(_), _) => {}
            }
        }
    }

    pub fn is_complete(&self) -> bool {
        self.within == Within::Nothing && self.last == Some(';')
    }

    /// Whether nothing but spaces and comments was seen.
    pub fn is_blank(&self) -> bool {
        self.within == Within::Nothing && self.last.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(lines: &[&str]) -> bool {
        let mut ends = Ends::default();
        lines.iter().for_each(|line| ends.look_at(line));
        ends.is_complete()
    }

    #[test]
    fn a_statement_ends_with_a_semicolon_that_counts() {
        for lines in [
            &["select 1;"][..],
            &["select 1", "  ;  "],
            &["select 1; -- done"],
            &["select ';", "'';' ; /* a ; /* b */ */"],
            &["select \"a;b\";"],
        ] {
            assert!(complete(lines), "{lines:?}");
        }
        for lines in [
            &["select 1"][..],
            &["select 1; select"],
            &["-- select 1;"],
            &["select ';"],
            &["select 'it''s;"],
            &["select 1 /* ;", "; /* */ ;"],
            &[""],
        ] {
            assert!(!complete(lines), "{lines:?}");
        }
    }

    #[test]
    fn comments_and_spaces_are_blank() {
        let mut ends = Ends::default();
        ends.look_at("  -- nothing here");
        ends.look_at("/* nor here */");
        assert!(ends.is_blank() && !ends.is_complete());
        ends.look_at("x");
        assert!(!ends.is_blank());
    }
}
