//! The order in which go-yaml writes keys: letters by code point, digits as numbers.

use std::cmp::Ordering;

use super::emit::Layout;

/// Compares two keys as go-yaml sorts them; v3 puts a letter before anything else when digits stand before it.
///
/// It is no total order for keys that mix zeros, digits and letters; see [`sort_naturally`].
pub fn natural_order(layout: Layout, a: &str, b: &str) -> Ordering {
    let common = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let boundary = (0..=common).rev().find(|i| a.is_char_boundary(*i) && b.is_char_boundary(*i)).unwrap_or(0);
    let (before, rest_a) = a.split_at_checked(boundary).unwrap_or(("", a));
    let rest_b = b.get(boundary..).unwrap_or(b);
    let (Some(first_a), Some(first_b)) = (rest_a.chars().next(), rest_b.chars().next()) else {
        return rest_a.len().cmp(&rest_b.len());
    };
    let letter_first = layout == Layout::V3 && before.chars().next_back().is_some_and(is_digit);
    match (is_letter(first_a), is_letter(first_b)) {
        (true, true) => return first_a.cmp(&first_b),
        (true, false) => return if letter_first { Ordering::Less } else { Ordering::Greater },
        (false, true) => return if letter_first { Ordering::Greater } else { Ordering::Less },
        (false, false) => {}
    }
    let mut start = 0i64;
    if first_a == '0' || first_b == '0' {
        let digits_before = before.chars().rev().take_while(|c| is_digit(*c));
        start = i64::from(digits_before.clone().any(|c| c != '0'));
    }
    let (number_a, length_a) = digit_run(rest_a, start);
    let (number_b, length_b) = digit_run(rest_b, start);
    number_a.cmp(&number_b).then(length_a.cmp(&length_b)).then(first_a.cmp(&first_b))
}

fn is_letter(character: char) -> bool {
    character.is_alphabetic()
}

fn is_digit(character: char) -> bool {
    character.is_ascii_digit() || (!character.is_ascii() && character.is_numeric())
}

fn digit_run(text: &str, start: i64) -> (i64, usize) {
    let digits = text.chars().take_while(|c| is_digit(*c));
    digits.fold((start, 0), |(number, length), c| {
        let digit = i64::from(u32::from(c)) - i64::from(b'0');
        (number.wrapping_mul(10).wrapping_add(digit), length + 1)
    })
}

/// Sorts by [`natural_order`] of the keys: stable, and safe although the order is not total.
pub fn sort_naturally<T: Copy>(layout: Layout, items: &mut Vec<T>, key: impl Fn(&T) -> &str) {
    let ordered = |a: &T, b: &T| natural_order(layout, key(a), key(b)) != Ordering::Greater;
    if items.is_sorted_by(ordered) {
        return;
    }
    let mut width = 1;
    while width < items.len() {
        let mut merged = Vec::with_capacity(items.len());
        for pair in items.chunks(width * 2) {
            let (left, right) = pair.split_at(width.min(pair.len()));
            merge(&mut merged, left, right, &ordered);
        }
        *items = merged;
        width *= 2;
    }
}

fn merge<T: Copy>(into: &mut Vec<T>, left: &[T], right: &[T], ordered: &impl Fn(&T, &T) -> bool) {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let from = if ordered(a, b) { &mut left } else { &mut right };
        into.extend(from.next().copied());
    }
    into.extend(left.copied());
    into.extend(right.copied());
}
