//! Aligned columns for people.

/// Columns are separated by two spaces; the last one is not padded.
const GAP: &str = "  ";

/// Rows under a heading.
#[derive(Debug)]
pub(crate) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no rows.
    pub(crate) fn new(heading: &[&'static str]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    /// Adds a row. Cells beyond the heading are dropped, missing ones are empty. Line breaks and control characters
    /// in a cell are shown as such, so that one row is one line and no cell can steer a terminal.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> =
            cells.into_iter().take(self.heading.len()).map(|cell| visible(&cell)).collect();
        row.resize(self.heading.len(), String::new());
        self.rows.push(row);
    }

    /// The text, one line a row, ending with a line break.
    pub(crate) fn render(&self) -> String {
        let heading: Vec<String> = self.heading.iter().map(|cell| (*cell).to_owned()).collect();
        let widths: Vec<usize> = (0..heading.len())
            .map(|column| {
                let cells = std::iter::once(&heading).chain(&self.rows);
                cells.filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            for (cell, width_of_column) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width_of_column.saturating_sub(width(cell))));
                line.push_str(GAP);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Pairs of a name and a value, values aligned; what `describe` prints.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<(&str, String)> = pairs.into_iter().collect();
    let widest = pairs.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in pairs {
        let pad = " ".repeat(widest.saturating_sub(width(name)));
        let indent = format!("\n{}", " ".repeat(widest + 3));
        let value: Vec<String> = value.trim_end().lines().map(visible).collect();
        text.push_str(format!("{name}:{pad}  {}", value.join(&indent)).trim_end());
        text.push('\n');
    }
    text
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// The same text with control characters escaped.
pub(crate) fn visible(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "STATE", "UNTIL"]);
        table.row(["ada".into(), "active".into(), "10:30".into()]);
        table.row(["grace.hopper".into(), "denied".into()]);
        insta::assert_snapshot!(table.render(), @r"
        NAME          STATE   UNTIL
        ada           active  10:30
        grace.hopper  denied
        ");
    }

    #[test]
    fn a_cell_cannot_break_the_line_or_steer_the_terminal() {
        let mut table = Table::new(&["SQL"]);
        table.row(["select 1\n\u{1b}[2J".into()]);
        assert_eq!(table.render(), "SQL\nselect 1\\n\\u{1b}[2J\n");
    }

    #[test]
    fn values_of_pairs_are_aligned_over_their_lines() {
        let text = pairs([("Name", "orders".to_owned()), ("Findings", "one\ntwo\n".to_owned())]);
        assert_eq!(text, "Name:      orders\nFindings:  one\n           two\n");
    }
}
