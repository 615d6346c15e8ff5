//! Tables in a frame of `+`, `-` and `|`, as calicoctl prints those of address management.

/// A table: a heading and an alignment for each column, and rows of as many cells.
pub fn write(headings: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].0.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let rule: String =
        widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).chain(["+\n".to_owned()]).collect();
    let line = |cells: Vec<(&str, Align)>| -> String {
        let padded = cells.into_iter().zip(&widths).map(|((cell, align), &width)| match align {
            Align::Left => format!("| {cell:<width$} "),
            Align::Right => format!("| {cell:>width$} "),
        });
        padded.chain(["|\n".to_owned()]).collect()
    };
    let mut out = rule.clone();
    out += &line(headings.iter().map(|(heading, _)| (*heading, Align::Left)).collect());
    out += &rule;
    for row in rows {
        out += &line(row.iter().zip(headings).map(|(cell, (_, align))| (cell.as_str(), *align)).collect());
    }
    if !rows.is_empty() {
        out += &rule;
    }
    out
}

/// Where a cell's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Left.
    Left,
    /// Right.
    Right,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_left_or_right_in_the_frame_and_headings_left() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), "12345".to_owned()]];
        assert_eq!(
            write(&[("NAME", Align::Left), ("N", Align::Right)], &rows),
            "+------+-------+\n| NAME | N     |\n+------+-------+\n| a    |     1 |\n| bcd  | 12345 |\n+------+-------+\n"
        );
        assert_eq!(write(&[("A", Align::Left)], &[]), "+---+\n| A |\n+---+\n");
    }
}
