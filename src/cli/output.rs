//! What is printed: lines, tables and fields for people, or one JSON object a line.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

use super::{
    Failure,
    json::{self, Named},
};

/// Headings.
pub(super) const HEAD: Style = Style::new().bold();
/// Less important.
pub(super) const DIM: Style = Style::new().dimmed();
/// As it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Worth a look.
pub(super) const WARN: Style = AnsiColor::Yellow.on_default();
/// Wrong.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
/// As it is.
pub(super) const PLAIN: Style = Style::new();

/// The longest cell of a table, in characters.
const MAX_CELL: usize = 60;

/// Where a command prints.
pub(super) struct Output {
    out: Box<dyn Write>,
    colour: bool,
    /// One JSON object a line instead of text for people.
    pub(super) json: bool,
    /// The zone in which times are shown.
    pub(super) zone: TimeZone,
}

impl Output {
    /// Standard output. `Auto` colours only a terminal, and heeds `NO_COLOR`.
    pub(super) fn stdout(json: bool, choice: ColorChoice) -> Self {
        let choice = match choice {
            ColorChoice::Auto => AutoStream::choice(&io::stdout()),
            other => other,
        };
        let colour = !json && choice != ColorChoice::Never;
        Self { out: Box::new(io::stdout().lock()), colour, json, zone: TimeZone::system() }
    }

    /// A line as it is.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}")?;
        Ok(())
    }

    /// A line as it is, out at once: for streams.
    pub(super) fn line_now(&mut self, text: &str) -> Result<(), Failure> {
        self.line(text)?;
        self.out.flush()?;
        Ok(())
    }

    /// Bytes as they are, without an end of line.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes)?;
        self.out.flush()?;
        Ok(())
    }

    /// A message as one line of JSON.
    pub(super) fn json<T: Named>(&mut self, message: &T) -> Result<(), Failure> {
        self.line_now(&json::write(message))
    }

    /// Text in this style, where styles are shown.
    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        if self.colour && style != PLAIN { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Labels and values in two columns, without those that have no value.
    pub(super) fn fields(&mut self, fields: &[(&str, Cell)]) -> Result<(), Failure> {
        let width = fields.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
        for (label, cell) in fields.iter().filter(|(_, cell)| !cell.text.is_empty()) {
            let label = self.paint(DIM, &format!("{label:width$}"));
            let line = format!("{label}  {}", self.paint(cell.style, &cell.text));
            self.line(&line)?;
        }
        Ok(())
    }
}

/// A text for one line and one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    style: Style,
    whole: bool,
}

impl Cell {
    /// In this style. Control characters are taken out.
    pub(super) fn new(style: Style, text: impl AsRef<str>) -> Self {
        Self { text: clean(text.as_ref()), style, whole: false }
    }

    /// Not shortened, however long it is.
    pub(super) fn whole(self) -> Self {
        Self { whole: true, ..self }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(PLAIN, text)
    }
}

/// A table that is printed page by page, the head once.
pub(super) struct Table {
    head: &'static [&'static str],
    widths: Vec<usize>,
    begun: bool,
}

impl Table {
    /// With these columns.
    pub(super) fn new(head: &'static [&'static str]) -> Self {
        Self { head, widths: head.iter().map(|word| word.len()).collect(), begun: false }
    }

    /// Prints these rows under those of earlier pages.
    pub(super) fn page(&mut self, output: &mut Output, rows: &[Vec<Cell>]) -> Result<(), Failure> {
        for (column, width) in self.widths.iter_mut().enumerate() {
            let longest = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count());
            *width = longest.max().unwrap_or_default().min(MAX_CELL).max(*width);
        }
        if !self.begun {
            self.begun = true;
            let head: Vec<_> = self.head.iter().map(|word| Cell::new(HEAD, word)).collect();
            self.row(output, &head)?;
        }
        rows.iter().try_for_each(|row| self.row(output, row))
    }

    fn row(&self, output: &mut Output, row: &[Cell]) -> Result<(), Failure> {
        let mut line = String::new();
        let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or_default();
        for (index, (cell, width)) in row.iter().zip(&self.widths).enumerate().take(last + 1) {
            let text = if cell.whole { cell.text.clone() } else { shorten(&cell.text, MAX_CELL) };
            line.push_str(&output.paint(cell.style, &text));
            if index < last {
                let padding = width.saturating_sub(text.chars().count()) + 2;
                line.extend(std::iter::repeat_n(' ', padding));
            }
        }
        output.line(&line)
    }
}

/// The text without what could move the cursor, change colours or turn the direction of writing. Line ends become spaces.
pub(super) fn clean(text: &str) -> String {
    let direction =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c })
        .filter(|c| !c.is_control() && !direction(*c))
        .collect()
}

fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{cell::RefCell, rc::Rc};

    use super::*;

    #[derive(Clone, Default)]
    pub(in crate::cli) struct Buffer(Rc<RefCell<Vec<u8>>>);

    impl Buffer {
        pub(in crate::cli) fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }

        pub(in crate::cli) fn output(&self, json: bool, colour: bool) -> Output {
            Output { out: Box::new(self.clone()), colour, json, zone: TimeZone::UTC }
        }
    }

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn tables_align_and_have_one_head() {
        let buffer = Buffer::default();
        let mut output = buffer.output(false, false);
        let mut table = Table::new(&["ID", "SUBJECT", "AT"]);
        table.page(&mut output, &[vec!["a".into(), "Grüße\u{1b}[2J".into(), "now".into()]]).unwrap();
        table.page(&mut output, &[vec!["bbbb".into(), "".into(), "".into()]]).unwrap();
        table.page(&mut output, &[vec!["c".into(), "x".repeat(80).into(), "y".into()]]).unwrap();
        let long = format!("{}…", "x".repeat(59));
        assert_eq!(buffer.text(), format!("ID  SUBJECT   AT\na   Grüße[2J  now\nbbbb\nc     {long}  y\n"));
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        assert_eq!(Buffer::default().output(false, false).paint(BAD, "x"), "x");
        assert_eq!(Buffer::default().output(false, true).paint(BAD, "x"), "\u{1b}[31mx\u{1b}[0m");
    }

    #[test]
    fn nothing_in_a_text_can_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}]0;t\u{7}\u{202e}b\r\nc\u{9b}1m"), "a]0;tb  c1m");
    }
}
