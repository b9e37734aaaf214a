//! Tables with aligned columns.

/// Alignment of a column: text to the left, numbers to the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Formats rows under their headings, with two spaces between columns and no trailing spaces.
pub(super) fn table<const N: usize>(headings: [(&str, Align); N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].0.chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(&headings).zip(widths).map(|((cell, (_, align)), width)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(headings.map(|(heading, _)| heading))];
    lines.extend(rows.iter().map(|row| line(std::array::from_fn(|column| row[column].as_str()))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_aligned_left_and_numbers_right() {
        let rows = [["shop:1".to_owned(), "5".to_owned()], ["s".to_owned(), "150.75".to_owned()]];
        let text = table([("account", Align::Left), ("amount", Align::Right)], &rows);
        assert_eq!(text, "account  amount\nshop:1        5\ns        150.75");
    }
}
