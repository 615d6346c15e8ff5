//! Tables as Go's tabwriter lays them out for calicoctl: cells at least 5 wide, 3 spaces behind the longest of a column,
//! behind the last one too.

use std::borrow::Cow;

use serde_json::Value;
use tortie_store::resources::Client;

use super::columns::Column;

const MINIMUM: usize = 5;
const PADDING: usize = 3;

/// The table of `objects`, a heading and a line each, with a newline at the end of each line.
pub fn write<'a>(
    client: &Client,
    columns: &[Column],
    objects: impl Iterator<Item = Cow<'a, Value>>,
) -> String {
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|column| column.heading.to_owned()).collect()];
    rows.extend(objects.map(|object| {
        columns.iter().map(|column| column.cell.text(client, &object).replace('\n', " ")).collect()
    }));
    lay_out(&rows)
}

fn lay_out(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        (longest + PADDING).max(MINIMUM)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths) {
            out.push_str(cell);
            out.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_three_spaces_behind_the_longest_and_are_five_wide_at_least() {
        let rows = [["NAME", "N", "X"], ["a", "", "longer"], ["é", "1", ""]];
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|c| (*c).to_owned()).collect()).collect();
        assert_eq!(lay_out(&rows), "NAME   N    X        \na           longer   \né      1             \n");
    }
}
