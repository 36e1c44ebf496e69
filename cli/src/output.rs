//! The only place that prints: tables for people, JSON and YAML for programs.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

use crate::failure::Failure;
use crate::settings;
use crate::yaml;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs; standard output is one JSON value.
    Json,
    /// Resources as `apply` takes them; everything else as it is.
    Yaml,
}

/// Standard output and standard error of this run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    is_coloured: bool,
}

impl Output {
    /// Prints in `format`; coloured only on a terminal.
    #[must_use]
    pub(crate) fn new(format: Format) -> Self {
        let is_coloured = std::io::stdout().is_terminal() && !settings::refuses_colour();
        Self { format, is_coloured }
    }

    /// How results are to be printed.
    #[must_use]
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Whether people read it.
    #[must_use]
    pub(crate) fn is_for_people(&self) -> bool {
        self.format == Format::Table
    }

    /// Prints a value as JSON, or as YAML where that was asked for.
    pub(crate) fn value(&self, value: &Value) -> Result<(), Failure> {
        match self.format {
            Format::Yaml => self.text(&yaml::document(value)),
            Format::Json | Format::Table => self.line(&format!("{value:#}")),
        }
    }

    /// Prints documents one after another, as a resource file has them.
    pub(crate) fn documents(&self, documents: &[Value]) -> Result<(), Failure> {
        self.text(&yaml::documents(documents))
    }

    /// Prints a table; a sentence in its place where it has no rows.
    pub(crate) fn table(
        &self,
        header: &[&str],
        rows: Vec<Vec<String>>,
        if_empty: &str,
    ) -> Result<(), Failure> {
        if rows.is_empty() {
            return self.line(if_empty);
        }
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(header.to_vec());
        for row in rows {
            table.add_row(row.iter().map(|cell| printable(cell)).collect::<Vec<_>>());
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        self.line(&table.trim_fmt())
    }

    /// Prints a line that may come from elsewhere: what would steer a terminal is made visible.
    pub(crate) fn line(&self, line: &str) -> Result<(), Failure> {
        self.raw(&format!("{}\n", printable(line)))
    }

    /// Prints a text with its own line ends.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        self.raw(&printable(text))
    }

    /// Prints a unified diff: what goes in red, what comes in green.
    pub(crate) fn diff(&self, diff: &str) -> Result<(), Failure> {
        if !self.is_coloured {
            return self.text(diff);
        }
        let mut text = String::with_capacity(diff.len() + 64);
        for line in printable(diff).split_inclusive('\n') {
            let (bare, end) = line.strip_suffix('\n').map_or((line, ""), |bare| (bare, "\n"));
            let colour = match bare.as_bytes() {
                [b'-', b'-', b'-', ..] | [b'+', b'+', b'+', ..] => "\u{1b}[1m",
                [b'-', ..] => "\u{1b}[31m",
                [b'+', ..] => "\u{1b}[32m",
                [b'@', ..] => "\u{1b}[36m",
                _ => "",
            };
            let reset = if colour.is_empty() { "" } else { "\u{1b}[0m" };
            text.push_str(&format!("{colour}{bare}{reset}{end}"));
        }
        self.raw(&text)
    }

    /// Prints bytes for a program, such as a completion script.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::Write)
    }

    /// Asks something that is meant to be answered with yes; no where nobody is there to answer.
    pub(crate) fn confirms(&self, question: &str) -> bool {
        if !std::io::stdin().is_terminal() {
            return false;
        }
        // Nobody can be asked without it.
        let _ = write!(std::io::stderr().lock(), "{} [Y/n] ", printable(question));
        let mut answer = String::new();
        let is_answered = std::io::stdin().read_line(&mut answer).is_ok_and(|bytes| bytes > 0);
        is_answered && !answer.trim_start().starts_with(['n', 'N'])
    }

    /// Tells people something that is not the result, on standard error.
    pub(crate) fn note(&self, text: &str) {
        // Nobody is left to hear that standard error is closed.
        let _ = writeln!(std::io::stderr().lock(), "{}", printable(text));
    }
}

/// Prints why a run failed, on standard error.
pub(crate) fn failure(failure: &Failure) {
    // As above.
    let _ = writeln!(std::io::stderr().lock(), "{}", printable(&failure.render()));
}

/// A text without what would steer a terminal; line ends and tabs stay.
fn printable(text: &str) -> String {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(steers) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| if steers(c) { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_made_visible() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\td\u{9b}"), "a\\u{1b}[2Jb\nc\td\\u{9b}");
    }
}
