//! Tables without borders: columns that align, the last one wrapped to the terminal, states in colour.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table as Grid, Width, presets};

use super::console::{Colour, Style};

/// The least width of the last column, in characters; a narrower terminal wraps by itself.
const LAST_WIDTH_MIN: u16 = 20;

/// Between two columns, in characters.
const GAP: u16 = 2;

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table in the making.
#[derive(Debug)]
pub(crate) struct Table {
    columns: &'static [(&'static str, Align)],
    grid: Grid,
}

impl Table {
    /// A table with these columns, of which the last one may be long.
    pub(crate) fn new(columns: &'static [(&'static str, Align)]) -> Self {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING);
        grid.set_header(Row::from(columns.iter().map(|(name, _)| *name).collect::<Vec<_>>()));
        Self { columns, grid }
    }

    /// Adds a row with a cell for each column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns.len(), "a cell for each column");
        self.grid.add_row(cells.map(one_line));
    }

    /// The lines of the table, the header first.
    pub(crate) fn lines(mut self, style: Style) -> Vec<String> {
        let last = self.columns.len() - 1;
        for (column, (index, (_, align))) in self.grid.column_iter_mut().zip(self.columns.iter().enumerate())
        {
            column.set_padding((0, if index == last { 0 } else { GAP }));
            column.set_cell_alignment(match align {
                Align::Left => CellAlignment::Left,
                Align::Right => CellAlignment::Right,
            });
            column.set_constraint(if index == last {
                ColumnConstraint::LowerBoundary(Width::Fixed(LAST_WIDTH_MIN))
            } else {
                ColumnConstraint::ContentWidth
            });
        }
        match style.width {
            Some(width) => {
                self.grid.set_content_arrangement(ContentArrangement::Dynamic);
                self.grid.set_width(width);
            }
            None => {
                self.grid.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        let mut lines: Vec<String> = self.grid.lines().map(|line| line.trim_end().to_owned()).collect();
        if style.colour {
            colour(&mut lines, style);
        }
        lines
    }
}

/// Text from the outside stays on its line and cannot move the cursor.
fn one_line(text: String) -> String {
    if text.contains(char::is_control) {
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    } else {
        text
    }
}

/// Colours the words under the header STATE, whose place is the same in every line: only the last column may be
/// anything but ASCII.
fn colour(lines: &mut [String], style: Style) {
    let Some((header, rows)) = lines.split_first_mut() else {
        return;
    };
    if let Some(place) = header.find("STATE") {
        for line in rows {
            let Some(rest) = line.get(place..) else {
                continue;
            };
            let word = rest.split(' ').next().unwrap_or_default().to_owned();
            if let Some(colour) = Colour::of_state(&word) {
                line.replace_range(place..place + word.len(), &style.paint(colour, &word));
            }
        }
    }
    *header = style.paint(Colour::Bold, header);
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [(&str, Align); 3] =
        [("NAME", Align::Left), ("STATE", Align::Left), ("REASON", Align::Left)];

    fn table() -> Table {
        let mut table = Table::new(&COLUMNS);
        table.row(["orders".into(), "running".into(), "the queue is empty\nand all is well".into()]);
        table.row(["a-longer-name".into(), "backoff".into(), String::new()]);
        table
    }

    #[test]
    fn columns_align_and_nothing_is_wrapped_off_a_terminal() {
        let lines = table().lines(Style::default());
        assert_eq!(
            lines,
            [
                "NAME           STATE    REASON",
                "orders         running  the queue is empty and all is well",
                "a-longer-name  backoff"
            ]
        );
    }

    #[test]
    fn the_last_column_is_wrapped_to_the_terminal() {
        let lines = table().lines(Style { colour: false, width: Some(46), height: None });
        assert_eq!(
            lines,
            [
                "NAME           STATE    REASON",
                "orders         running  the queue is empty and",
                "                        all is well",
                "a-longer-name  backoff"
            ]
        );
    }

    #[test]
    fn states_and_the_header_are_coloured() {
        let lines = table().lines(Style { colour: true, width: None, height: None });
        assert_eq!(lines[0], "\x1b[1mNAME           STATE    REASON\x1b[0m");
        assert!(lines[1].contains(" \x1b[32mrunning\x1b[0m "), "{}", lines[1]);
        assert!(lines[2].ends_with(" \x1b[31mbackoff\x1b[0m"), "{}", lines[2]);
    }

    #[test]
    fn what_a_daemon_says_cannot_move_the_cursor() {
        let mut table = Table::new(&COLUMNS);
        table.row(["a".into(), "failed".into(), "\x1b[2Jgone".into()]);
        assert!(!table.lines(Style::default())[1].contains('\x1b'));
    }
}
